"""Find the unit of a tensor's levels: the largest power of two that all are whole multiples of."""
import numpy as np

from tinyq.packed.file.tensor import BYTES, FLOAT, MAX_BYTE, EncodedTensor


def unit_of(tensor: EncodedTensor) -> float | None:
    """Return the unit; None for float weights, and for levels that are no whole multiples of up to 127."""
    if tensor.scheme == FLOAT:
        return None
    if tensor.scheme == BYTES or tensor.levels is None:
        return 1.0
    units = 2.0 ** np.arange(30, -31, -1)
    fitting = [u for u in units if (tensor.levels / u == np.rint(tensor.levels / u)).all()]
    if not fitting or np.abs(tensor.levels / fitting[0]).max() > MAX_BYTE:
        return None
    return float(fitting[0])


def integer_levels_of(tensor: EncodedTensor, unit: float) -> np.ndarray:
    """Return the weights as whole multiples of the unit, int8 in the weights' shape."""
    return (tensor.unscaled() / np.float32(unit)).astype(np.int8)
