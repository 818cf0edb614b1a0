"""The arguments of a convolution that travel together: its factors, and what happens to the sums.

Compiled code gets each struct as a plain tuple and names its fields again: numba finds the type of a plain tuple
in a fifth of the time that a NamedTuple takes, which is several microseconds per call.
"""
from typing import NamedTuple

import numpy as np


class Operands(NamedTuple):
    """The factors of a convolution, float32."""

    source: np.ndarray              # (n, groups * channels, h, w)
    weights: np.ndarray             # of weight_panels.py, (groups, tiles, k, MR or NR); in codes: the last axis is 0
    m: int                          # outputs per group


class Epilogue(NamedTuple):
    """y = relu(sums * scale + shift + added): each of the four steps rounds; the last two are optional."""

    scale: np.ndarray               # (groups * m,) float32
    shift: np.ndarray               # (groups * m,) float32
    added: np.ndarray               # of y's shape, or NO_IMAGES
    relu: bool
    first: int = 0                  # the channel of the target that the first output is written to
