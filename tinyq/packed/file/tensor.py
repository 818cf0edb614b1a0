"""One product's weights as the file holds them."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput
from tinyq.packed.file.bit_packing import SCHEMES, scheme_for, unpack

FLOAT, BYTES = "f32", "i8"          # beside the schemes of codes: the weights themselves; integers from -127 to 127
MAX_BYTE = 127


@dataclass(frozen=True, eq=False)
class Tensor:
    """Weights w = scale * level of some shape, rows first, and the affine that follows their product.

    data: (rows, row bytes) uint8 codes of a scheme; (rows, k) int8 for "i8", float32 for "f32". levels: (n,) float32
    ascending, None where the data are the levels. scale: (1,) or (rows,) float32, of the weight. affine: (2, rows)
    float32, what the sums over bare levels are multiplied by, and what is added then.
    """

    scheme: str
    shape: tuple[int, ...]
    data: np.ndarray
    levels: np.ndarray | None
    scale: np.ndarray
    affine: np.ndarray

    @property
    def rows(self) -> int:
        """Outputs."""
        return self.shape[0]

    @property
    def k(self) -> int:
        """Weights a row."""
        return int(np.prod(self.shape[1:], dtype=np.int64))

    def codes(self):
        """(rows, k) uint8, or None where the data are the levels; BadInput where a code stands for no level."""
        return None if self.levels is None else unpack(self.data, SCHEMES[self.scheme], self.k, len(self.levels))

    def bare(self):
        """The levels themselves, float32 of the weight's shape."""
        codes = self.codes()
        values = self.data if codes is None else self.levels[codes]
        return values.astype(np.float32, copy=False).reshape(self.shape)

    def shown(self):
        """The weights, scale * level."""
        return self.scale.reshape(-1, *[1] * (len(self.shape) - 1)) * self.bare()

    def arrays(self) -> dict[str, np.ndarray]:
        """What the file keeps under the tensor's name."""
        kept = {"data": self.data, "scale": self.scale, "affine": self.affine}
        return kept if self.levels is None else {**kept, "levels": self.levels}

    @property
    def code_bits(self) -> float:
        """Bits a weight, without padding and scales."""
        if self.scheme == "t243":
            return 1.6
        return 8 * self.data.itemsize if self.levels is None else 3 if self.scheme == "p3" else int(self.scheme[1:])


def from_levels(w, levels, scale, affine, trits=False) -> Tensor:
    """w holds levels only, float32; see Tensor for the rest. trits: 1.6 bits a weight where there are three levels."""
    scheme, rows = scheme_for(len(levels), trits), len(w)
    codes = np.searchsorted(levels, w.reshape(rows, -1)).astype(np.uint8)
    assert np.array_equal(levels[codes], w.reshape(rows, -1))
    return Tensor(scheme.name, w.shape, scheme.pack(codes), levels, scale, affine)


def from_floats(w, affine) -> Tensor:
    """Weights as they are."""
    return Tensor(FLOAT, w.shape, np.ascontiguousarray(w.reshape(len(w), -1)), None, np.ones(1, np.float32), affine)


def from_floats_in_bytes(w, affine) -> Tensor:
    """Weights as the nearest of 255 evenly spaced values a filter, the largest one's magnitude the outermost.

    Of a filter whose weights are all too small for that the step is the least there is: it then holds them exactly.
    """
    rows = w.reshape(len(w), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    least = np.finfo(np.float32).smallest_subnormal
    scale = np.where(largest > 0, np.maximum((largest / MAX_BYTE).astype(np.float32), least), np.float32(1))
    data = np.rint(rows / scale.astype(np.float64)[:, None]).clip(-MAX_BYTE, MAX_BYTE).astype(np.int8)
    wide = affine.astype(np.float64)
    affine = np.stack([wide[0] * scale, wide[1]]).astype(np.float32)
    return Tensor(BYTES, w.shape, data, None, scale, affine)


def expected_arrays(scheme, shape, levels) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape and dtype of each array of such a tensor but its scale; KeyError for a scheme that does not exist."""
    rows, k = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    affine = {"affine": ((2, rows), np.float32)}
    if scheme in (FLOAT, BYTES):
        return {"data": ((rows, k), np.float32 if scheme == FLOAT else np.int8), **affine}
    if not 2 <= levels <= SCHEMES[scheme].most_levels:
        raise KeyError(scheme)
    return {"data": ((rows, SCHEMES[scheme].row_bytes(k)), np.uint8), "levels": ((levels,), np.float32), **affine}


def check(tensor: Tensor) -> None:
    """BadInput where the values of a tensor cannot be."""
    if not (tensor.scale > 0).all():
        raise BadInput("a scale is not above zero")
    if tensor.levels is not None and not (np.diff(tensor.levels) > 0).all():
        raise BadInput("its levels do not ascend")
    if tensor.scheme == BYTES and tensor.data.size and tensor.data.min() < -MAX_BYTE:
        raise BadInput("a weight is below -127")
    tensor.codes()
