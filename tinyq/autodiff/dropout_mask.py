"""Dropout (Srivastava et al., 2014) with a given mask."""
import numpy as np

from tinyq.autodiff.primitives import OutputAndVJPs, primitive


@primitive
def dropout(x: np.ndarray, *, p: float, mask: np.ndarray) -> OutputAndVJPs:
    """Return x / (1 - p) where the boolean array `mask` is True, 0 elsewhere; p: probability of a zero."""
    if mask.shape != x.shape:
        raise ValueError(f"the mask has shape {mask.shape}, not {x.shape}")
    zero = x.dtype.type(0)
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return np.where(mask, x * scale, zero), (lambda g: np.where(mask, g * scale, zero),)
