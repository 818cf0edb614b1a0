"""Two-dimensional convolution (cross-correlation, as everywhere in deep learning)."""
from tinyq import kernels
from tinyq.autodiff.primitives import once, primitive
from tinyq.kernels.geometry.conv_geometry import check_channels


@primitive
def conv2d(x, w, scale=None, bias=None, *, stride=1, padding=0, dilation=1, groups=1):
    """y = scale * (x * w) + bias: x (n, c_in, h, w), w (c_out, c_in / groups, kh, kw) -> (n, c_out, oh, ow).

    scale and bias are (c_out,) or None; scale is a constant. The geometry takes a number or a pair (rows, columns).
    """
    geometry = kernels.conv_geometry(x.shape, w.shape, stride, padding, dilation, groups)
    check_channels(len(w), scale=scale, bias=bias)
    scaled = once(lambda g: g if scale is None else kernels.channel_affine(g, scale, None))
    return kernels.conv2d(x, w, geometry, scale, bias), (
        lambda g: kernels.conv2d_input_grad(scaled(g), w, geometry),
        lambda g: kernels.conv2d_weight_grad(scaled(g), x, geometry),
        None,
        kernels.channel_sums)
