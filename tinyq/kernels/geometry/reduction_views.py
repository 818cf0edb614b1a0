"""Views of an array that a reduction walks: rows to be summed, or the planes of each channel."""
from collections.abc import Sequence

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple


def rows_to_sum(x: np.ndarray, axes: int | Sequence[int] | None) -> tuple[tuple[int, ...], np.ndarray]:
    """Return (kept shape, rows (results, elements)): each row holds the elements of one sum, in C order.

    axes: a number, a sequence of numbers or None for all; negative ones count from the end. AxisError for an axis
    that does not exist.
    """
    summed = sorted(normalize_axis_tuple(range(x.ndim) if axes is None else axes, x.ndim))
    kept = [a for a in range(x.ndim) if a not in summed]
    shape = tuple(x.shape[a] for a in kept)
    length = int(np.prod([x.shape[a] for a in summed], dtype=np.int64))
    rows = int(np.prod(shape, dtype=np.int64))
    return shape, np.ascontiguousarray(x.transpose(*kept, *summed)).reshape(rows, length)


def planes(x: np.ndarray) -> np.ndarray:
    """View x (n, c, ...) as (n, c, elements per plane)."""
    n, c = x.shape[:2]
    return x.reshape(n, c, int(np.prod(x.shape[2:], dtype=np.int64)))
