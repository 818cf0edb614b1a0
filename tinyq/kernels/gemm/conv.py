"""Convolve and compute the input gradient as products of weights with packed inputs (conv_plan.py, select.py)."""
import numpy as np

from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.select import Driver, convolve, select
from tinyq.kernels.gemm.weight_grad import conv2d_weight_grad
from tinyq.kernels.gemm.weight_panels import WeightRows, pack_panels, pack_rows
from tinyq.kernels.geometry.conv_geometry import ConvGeometry
from tinyq.kernels.geometry.conv_plan import Plan, forward_plan, input_grad_plans
from tinyq.kernels.geometry.spans import NO_IMAGES, contiguous

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad"]


def conv2d(x: np.ndarray, w: np.ndarray, geometry: ConvGeometry, scale: np.ndarray | None = None,
           bias: np.ndarray | None = None) -> np.ndarray:
    """y = scale * (x * w) + bias, the affine a multiply and then an add.

    x (n, c_in, h, w), w (c_out, c_in / groups, kh, kw), scale and bias (c_out,) or None, all float32.
    """
    assert x.shape == geometry.x_shape and w.shape == geometry.w_shape, (x.shape, w.shape, geometry)
    y = np.empty(geometry.output_shape, np.float32)
    c_out = geometry.w_shape[0]
    scale = np.ones(c_out, np.float32) if scale is None else contiguous(scale)
    bias = np.zeros(c_out, np.float32) if bias is None else contiguous(bias)
    plan = forward_plan(geometry)
    rows = WeightRows(groups=geometry.groups, m=c_out // geometry.groups, row_step=geometry.products,
                      taps=plan.weight_index)
    _convolve(x, w, rows, plan, Epilogue(scale, bias, NO_IMAGES, relu=False), y)
    return y


def conv2d_input_grad(g: np.ndarray, w: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """Return the gradient with respect to x (n, c_in, h, w), float32; g: with respect to y (n, c_out, oh, ow)."""
    assert g.shape == geometry.output_shape and w.shape == geometry.w_shape, (g.shape, w.shape, geometry)
    plans = input_grad_plans(geometry)
    every_phase = len(plans) == geometry.stride[0] * geometry.stride[1]
    gx = (np.empty if every_phase else np.zeros)(geometry.x_shape, np.float32)
    channels, c_in, kernel = geometry.x_shape[1], geometry.w_shape[1], w.shape[2] * w.shape[3]
    identity = Epilogue(np.ones(channels, np.float32), np.zeros(channels, np.float32), NO_IMAGES, relu=False)
    for plan in plans:
        c_out, tap = np.divmod(plan.weight_index, kernel)
        rows = WeightRows(groups=geometry.groups, m=c_in, row_step=kernel, taps=c_out * (c_in * kernel) + tap)
        _convolve(g, w, rows, plan, identity, gx)
    return gx


def _convolve(source: np.ndarray, w: np.ndarray, rows: WeightRows, plan: Plan, epilogue: Epilogue,
              target: np.ndarray) -> None:
    """Compute the outputs that the plan names."""
    driver = select(plan, rows.m)
    weights = pack_panels(w, rows) if driver is Driver.PIXELS else pack_rows(w, rows, plan.block_starts)
    convolve(driver, Operands(contiguous(source), weights, rows.m), plan, epilogue, target)
