"""Select the convolution driver of a layer: three compute the same bits, and measured costs choose between them.

SAMPLES (correlate.py): walk the virtual pixels of one packed sample; best where rows of outputs are long.
PANELS (panels.py): gather the outputs of several samples into panels; best for small images.
PIXELS (pixel_tiles.py): tiles of pixels by outputs side by side; best for small planes of many outputs. It packs
weights differently (weight_panels.pack_panels): packed weights fit either this driver or the other two.
"""
from collections.abc import Callable
from enum import Enum

import numpy as np

from tinyq.kernels.gemm.coded_weights import NOT_CODED, Coded
from tinyq.kernels.gemm.correlate import correlate_samples
from tinyq.kernels.gemm.operands import Epilogue, Operands
from tinyq.kernels.gemm.panels import correlate_panels
from tinyq.kernels.gemm.pixel_tiles import correlate_pixels
from tinyq.kernels.geometry.conv_plan import Plan
from tinyq.kernels.simd.vectors import LANES, MR, NR

# Measured: the largest plane of PIXELS, beyond which rows of outputs are long enough for SAMPLES; and how many times
# more lanes than the others' rows it may use.
_MAX_PIXELS, _MAX_IDLE = 56 * 56, 8 / 7
# Measured: copying a piece of a panel costs as much as this many rows of the tile; weights (elements) that stay in the
# second-level cache, and how much longer all tiles take where they do not.
_PIECE_COST, _RESIDENT, _STREAMING_COST = 4, 1 << 17, 1.2


class Driver(Enum):
    """A way to convolve."""

    SAMPLES = "samples"
    PANELS = "panels"
    PIXELS = "pixels"


_RUN: dict[Driver, Callable] = {
    Driver.SAMPLES: correlate_samples,
    Driver.PANELS: correlate_panels,
    Driver.PIXELS: correlate_pixels,
}


def select(plan: Plan, m: int) -> Driver:
    """Choose the fastest driver for m outputs per group; the bits do not depend on it."""
    by_pixels = plan.fills_target and pixels_pay(plan.rows * plan.columns, m)
    return Driver.PIXELS if by_pixels else select_by_rows(plan, m)


def select_by_rows(plan: Plan, m: int) -> Driver:
    """Choose between the drivers that take weights packed by rows."""
    return Driver.PANELS if _panels_pay(plan, m) else Driver.SAMPLES


def pixels_pay(pixels: int | None, m: int) -> bool:
    """Return True if PIXELS is the fastest for m outputs per group of planes of this size; False for None, unknown."""
    return pixels is not None and pixels <= _MAX_PIXELS and -(-m // LANES) * LANES <= -(-m // MR) * MR * _MAX_IDLE


def _panels_pay(plan, m):
    """Return True if gathering costs less than the lanes that virtual pixels waste."""
    pixels = plan.rows * plan.columns
    pieces = NR // LANES + (0 if plan.is_source else NR / plan.columns)
    by_panels = pixels * (m + _PIECE_COST * pieces)
    by_sample = -(-plan.virtual_pixels // LANES) * LANES * m
    if m * len(plan.taps) > _RESIDENT:
        by_sample *= _STREAMING_COST
    return by_panels < by_sample


def convolve(driver: Driver, operands: Operands, plan: Plan, epilogue: Epilogue, target: np.ndarray,
             coded: Coded = NOT_CODED) -> None:
    """Write the outputs that the plan names to target (n, channels, ., .), contiguous.

    Where the plan names all places of target, `added` and the ReLU of the epilogue may be used. coded: the weights in
    codes; only the first three axes of operands.weights are read then.
    """
    if len(operands.source):
        _RUN[driver](operands, plan, epilogue, target, coded)
