"""Convolution of images and of sequences (cross-correlation, as everywhere in deep learning)."""
import numpy as np

from tinyq import kernels
from tinyq.autodiff.primitives import OutputAndVJPs, once, primitive
from tinyq.kernels.geometry.conv_geometry import Pair, check_channels


@primitive
def conv2d(x: np.ndarray, w: np.ndarray, scale: np.ndarray | None = None, bias: np.ndarray | None = None, *,
           stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1) -> OutputAndVJPs:
    """Return y = scale * (x * w) + bias, (n, c_out, oh, ow), of x (n, c_in, h, w) and w (c_out, c_in / groups, kh, kw).

    scale and bias are (c_out,) or None; scale gets no gradient. stride, padding and dilation are numbers or pairs
    (rows, columns).
    """
    geometry = kernels.conv_geometry(x.shape, w.shape, stride, padding, dilation, groups)
    check_channels(len(w), scale=scale, bias=bias)
    scaled = once(lambda g: g if scale is None else kernels.channel_affine(g, scale, None))
    return kernels.conv2d(x, w, geometry, scale, bias), (
        lambda g: kernels.conv2d_input_grad(scaled(g), w, geometry),
        lambda g: kernels.conv2d_weight_grad(scaled(g), x, geometry),
        None,
        kernels.channel_sums)


@primitive
def conv1d(x: np.ndarray, w: np.ndarray, scale: np.ndarray | None = None, bias: np.ndarray | None = None, *,
           stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> OutputAndVJPs:
    """Return y, (n, c_out, out), of x (n, c_in, length) and w (c_out, c_in / groups, k), as conv2d of one row."""
    if x.ndim != 3 or w.ndim != 3:
        raise ValueError("the input must be (n, c_in, length) and the weight (c_out, c_in / groups, k)")
    y, (x_vjp, w_vjp, *others) = conv2d.forward(
        x[:, :, None], w[:, :, None], scale, bias, stride=(1, stride), padding=(0, padding), dilation=(1, dilation),
        groups=groups)
    return y[:, :, 0], (lambda g: x_vjp(g[:, :, None])[:, :, 0], lambda g: w_vjp(g[:, :, None])[:, :, 0], *others)
