"""Dropout (Srivastava et al., 2014) with its mask handed in, so that no draw happens here."""
import numpy as np

from tinyq.autodiff.primitives import OutputAndVJPs, primitive


@primitive
def dropout(x: np.ndarray, *, p: float, mask: np.ndarray) -> OutputAndVJPs:
    """x / (1 - p) where the boolean array `mask` holds, 0 elsewhere; p is the probability of being dropped."""
    if mask.shape != x.shape:
        raise ValueError(f"the mask is {mask.shape}")
    zero = x.dtype.type(0)
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    return np.where(mask, x * scale, zero), (lambda g: np.where(mask, g * scale, zero),)
