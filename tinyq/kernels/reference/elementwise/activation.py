"""References of a layer's elementwise kernels."""
import numpy as np


def relu(x: np.ndarray) -> np.ndarray:
    """+0 where x <= 0, else x (a NaN stays one)."""
    return np.asarray(np.where(x <= 0, x.dtype.type(0), x), order="C")


def relu_grad(g: np.ndarray, y: np.ndarray) -> np.ndarray:
    """+0 where y <= 0, else g."""
    return np.asarray(np.where(y <= 0, g.dtype.type(0), g), order="C")


def add(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a + b of one shape."""
    assert a.shape == b.shape
    return np.asarray(a + b, order="C")


def channel_affine(x: np.ndarray, scale: np.ndarray | None, shift: np.ndarray | None) -> np.ndarray:
    """x * scale[c] + shift[c]: a multiply, then an add; x (n, c, ...), scale and shift (c,) or None."""
    y = x.copy()
    if scale is not None:
        y = y * along_channels(scale, x.ndim)
    if shift is not None:
        y = y + along_channels(shift, x.ndim)
    return y


def along_channels(values, ndim):
    """Return (c,) shaped to stand against (n, c, ...)."""
    return values.reshape(-1, *[1] * (ndim - 2))
