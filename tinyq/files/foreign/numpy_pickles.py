"""Build NumPy's arrays and scalars out of pickles, without NumPy's own unpickling."""
import math
from collections.abc import Mapping

import numpy as np

from tinyq.files.foreign.pickle_objects import CONTAINERS, Inert
from tinyq.files.foreign.pickle_texts import Unreadable

_KINDS = "biuf"                         # booleans, integers, floats


class Type:
    """A dtype; its byte order comes with its state."""

    def __init__(self, name: object, *others: object):
        """name: such as "f8" or "|u1"."""
        try:
            self.dtype: np.dtype | None = np.dtype(name) if type(name) is str and len(name) < 8 else None
        except TypeError:
            self.dtype = None
        if self.dtype is not None and self.dtype.kind not in _KINDS:
            self.dtype = None

    def build(self, state: object) -> None:
        """Take the byte order of (version, order, ...)."""
        if type(state) is tuple and len(state) > 1 and state[1] in ("<", ">") and self.dtype is not None:
            self.dtype = self.dtype.newbyteorder(state[1])


class Array:
    """An array, whose values come with its state."""

    def __init__(self, *others: object):
        """others: of NumPy's _reconstruct, which say nothing."""
        self.values: np.ndarray | None = None

    def build(self, state: object) -> None:
        """Take (version, shape, type, is Fortran, bytes); leave the array empty for types that are no numbers."""
        if type(state) is not tuple or len(state) != 5:
            raise Unreadable("the state of a NumPy array is malformed")
        _, shape, kind, fortran, data = state
        if isinstance(kind, Type) and kind.dtype is not None and isinstance(data, bytes | str):
            self.values = _array(data, kind.dtype, shape, "F" if fortran is True else "C")


def _array(data, dtype, shape, order):
    data = data.encode() if isinstance(data, str) else data     # a str of Python 2 whose bytes happened to be UTF-8
    if type(shape) is not tuple or len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise Unreadable("the shape of a NumPy array is malformed")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise Unreadable("the bytes of a NumPy array do not fit its shape")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def _from_buffer(data: object, kind: object, shape: object, order: object) -> Array:
    """Build an array of pickle protocol 5."""
    array = Array()
    array.build((1, shape, kind, order == "F", data))
    return array


def _scalar(*arguments: object) -> object:
    return Inert("numpy.scalar")


_MODULES = "numpy.core.multiarray", "numpy._core.multiarray"
NUMPY: Mapping[str, object] = {
    **CONTAINERS, "numpy ndarray": Array, "numpy dtype": Type,
    **{f"{module} _reconstruct": Array for module in _MODULES}, **{f"{module} scalar": _scalar for module in _MODULES},
    **{f"{module} _frombuffer": _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
}
