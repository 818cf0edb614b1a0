"""Reference of the sums."""
import numpy as np

from tinyq.kernels.geometry.reduction_views import planes, rows_to_sum
from tinyq.kernels.reference.simd.lanes import chunked_sum, plane_sum


def sum(x: np.ndarray, axes: int | tuple[int, ...] | None) -> np.ndarray:
    """Sum over `axes` (a number, several, or None for all), which are dropped; of x's dtype."""
    shape, rows = rows_to_sum(x, axes)
    return np.asarray(chunked_sum(rows).astype(x.dtype)).reshape(shape)


def channel_sums(x: np.ndarray) -> np.ndarray:
    """Sum of each channel of x (n, c, ...): (c,)."""
    return plane_sum(planes(x)).astype(x.dtype)
