"""Convolve and compute the input gradient as products of register tiles over packed inputs (conv_plan.py)."""
import numpy as np

from tinyq.kernels.gemm.correlate import correlate
from tinyq.kernels.gemm.pixel_tiles import correlate_pixels, pixels_pay
from tinyq.kernels.gemm.weight_grad import conv2d_weight_grad
from tinyq.kernels.gemm.weight_panels import pack_panels, pack_rows
from tinyq.kernels.geometry.conv_plan import forward_plan, input_grad_plans
from tinyq.kernels.geometry.spans import contiguous

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]


def conv2d(x, w, geometry, scale=None, bias=None):
    """y = scale * (x * w) + bias, the affine a multiply and then an add.

    x (n, c_in, h, w), w (c_out, c_in / groups, kh, kw), scale and bias (c_out,) or None, all float32.
    """
    assert x.shape == geometry.x_shape and w.shape == geometry.w_shape, (x.shape, w.shape, geometry)
    y = np.empty(geometry.output_shape, np.float32)
    c_out = geometry.w_shape[0]
    scale = np.ones(c_out, np.float32) if scale is None else contiguous(scale)
    bias = np.zeros(c_out, np.float32) if bias is None else contiguous(bias)
    plan, groups = forward_plan(geometry), geometry.groups
    _products(x, w, groups, c_out // groups, geometry.products, plan.weight_index, plan, scale, bias, y)
    return y


def conv2d_input_grad(g, w, geometry):
    """The gradient at x (n, c_in, h, w) from g, the one at y (n, c_out, oh, ow); float32."""
    assert g.shape == geometry.output_shape and w.shape == geometry.w_shape, (g.shape, w.shape, geometry)
    plans = input_grad_plans(geometry)
    every_phase = len(plans) == geometry.stride[0] * geometry.stride[1]
    gx = (np.empty if every_phase else np.zeros)(geometry.x_shape, np.float32)
    c_in = geometry.w_shape[1]
    one, zero = np.ones(geometry.x_shape[1], np.float32), np.zeros(geometry.x_shape[1], np.float32)
    kernel = w.shape[2] * w.shape[3]
    for plan in plans:
        c_out, tap = np.divmod(plan.weight_index, kernel)
        _products(g, w, geometry.groups, c_in, kernel, c_out * (c_in * kernel) + tap, plan, one, zero, gx)
    return gx


def _products(source, w, groups, m, row_step, taps, plan, scale, shift, target):
    """The outputs that the plan names, m a group; row_step, taps: see pack_rows."""
    if plan.fills_target and pixels_pay(plan.rows * plan.columns, m):
        packed = pack_panels(w, groups, m, row_step, taps)
        correlate_pixels(source, packed, m, plan, scale, shift, target)
    else:
        packed = pack_rows(w, groups, m, row_step, taps, plan.block_starts)
        correlate(source, packed, m, plan, scale, shift, target)
