"""Views of an array that a reduction walks: rows to be summed, or the planes of each channel."""
import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple


def rows_to_sum(x, axes):
    """(kept shape, array (rows, elements a row)): each row holds, in C order, what is summed into one result.

    axes: a number, a sequence of numbers or None for all; negative ones count from the end. AxisError for one that
    is not there.
    """
    summed = sorted(normalize_axis_tuple(range(x.ndim) if axes is None else axes, x.ndim))
    kept = [a for a in range(x.ndim) if a not in summed]
    shape = tuple(x.shape[a] for a in kept)
    length = int(np.prod([x.shape[a] for a in summed], dtype=np.int64))
    rows = int(np.prod(shape, dtype=np.int64))
    return shape, np.ascontiguousarray(x.transpose(*kept, *summed)).reshape(rows, length)


def planes(x):
    """x (n, c, ...) as (n, c, elements a plane)."""
    n, c = x.shape[:2]
    return x.reshape(n, c, int(np.prod(x.shape[2:], dtype=np.int64)))
