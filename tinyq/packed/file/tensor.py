"""Encode the weights of one product as the file stores them, and decode them."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import BadInput
from tinyq.packed.file.bit_packing import SCHEMES, choose_scheme, decode

FLOAT, BYTES = "f32", "i8"          # schemes without codes: float weights; integers -127 to 127
MAX_BYTE = 127


@dataclass(frozen=True, eq=False)
class EncodedTensor:
    """Weights w = scale * level, rows first, and the affine applied to their product.

    data: (rows, row bytes) uint8 encoded codes; (rows, k) int8 for "i8", float32 for "f32". levels: (n,) float32
    ascending, None where the data are the levels. scale: (1,) or (rows,) float32. affine: (2, rows) float32, factor and
    offset of the sums over unscaled levels.
    """

    scheme: str
    shape: tuple[int, ...]
    data: np.ndarray
    levels: np.ndarray | None
    scale: np.ndarray
    affine: np.ndarray

    @property
    def rows(self) -> int:
        """Number of outputs."""
        return self.shape[0]

    @property
    def k(self) -> int:
        """Weights per row."""
        return int(np.prod(self.shape[1:], dtype=np.int64))

    def codes(self) -> np.ndarray | None:
        """Decode the codes (rows, k) uint8; None where the data are the levels. BadInput for a code without a level."""
        return None if self.levels is None else decode(self.data, SCHEMES[self.scheme], self.k, len(self.levels))

    def unscaled(self) -> np.ndarray:
        """Return the level of each weight, float32 in the weights' shape."""
        codes = self.codes()
        values = self.data if codes is None or self.levels is None else self.levels[codes]
        return values.astype(np.float32, copy=False).reshape(self.shape)

    def effective(self) -> np.ndarray:
        """Return the weights, scale * level."""
        return self.scale.reshape(-1, *[1] * (len(self.shape) - 1)) * self.unscaled()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that the file stores under the tensor's name."""
        kept = {"data": self.data, "scale": self.scale, "affine": self.affine}
        return kept if self.levels is None else {**kept, "levels": self.levels}

    @property
    def code_bits(self) -> float:
        """Bits per weight, without padding and scales."""
        if self.scheme == "t243":
            return 1.6
        return 8 * self.data.itemsize if self.levels is None else 3 if self.scheme == "p3" else int(self.scheme[1:])


def encode_levels(w: np.ndarray, levels: np.ndarray, scale: np.ndarray, affine: np.ndarray,
                  trits: bool = False) -> EncodedTensor:
    """Encode unscaled float32 weights w, each of them a level. trits: store three levels at 1.6 bits per weight."""
    scheme, rows = choose_scheme(len(levels), trits), len(w)
    codes = np.searchsorted(levels, w.reshape(rows, -1)).astype(np.uint8)
    assert np.array_equal(levels[codes], w.reshape(rows, -1))
    return EncodedTensor(scheme.name, w.shape, scheme.encode(codes), levels, scale, affine)


def encode_floats(w: np.ndarray, affine: np.ndarray) -> EncodedTensor:
    """Store float32 weights unchanged."""
    data = np.ascontiguousarray(w.reshape(len(w), -1))
    return EncodedTensor(FLOAT, w.shape, data, None, np.ones(1, np.float32), affine)


def encode_bytes(w: np.ndarray, affine: np.ndarray) -> EncodedTensor:
    """Round float32 weights to 255 evenly spaced values per filter, up to its largest magnitude.

    A filter of tiny weights uses the smallest float32 as its step, which represents them exactly.
    """
    rows = w.reshape(len(w), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    least = np.finfo(np.float32).smallest_subnormal
    scale = np.where(largest > 0, np.maximum((largest / MAX_BYTE).astype(np.float32), least), np.float32(1))
    data = np.rint(rows / scale.astype(np.float64)[:, None]).clip(-MAX_BYTE, MAX_BYTE).astype(np.int8)
    wide = affine.astype(np.float64)
    affine = np.stack([wide[0] * scale, wide[1]]).astype(np.float32)
    return EncodedTensor(BYTES, w.shape, data, None, scale, affine)


def expected_arrays(scheme: str, shape: tuple[int, ...], levels: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return {name: (shape, dtype)} of a tensor's arrays without its scale; KeyError for an unknown scheme."""
    rows, k = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    affine: dict[str, tuple[tuple[int, ...], type]] = {"affine": ((2, rows), np.float32)}
    if scheme in (FLOAT, BYTES):
        return {"data": ((rows, k), np.float32 if scheme == FLOAT else np.int8), **affine}
    if not 2 <= levels <= SCHEMES[scheme].max_levels:
        raise KeyError(scheme)
    return {"data": ((rows, SCHEMES[scheme].row_bytes(k)), np.uint8), "levels": ((levels,), np.float32), **affine}


def check_tensor(tensor: EncodedTensor) -> None:
    """Raise BadInput for values that no encoder writes."""
    if not (tensor.scale > 0).all():
        raise BadInput("a scale is not above zero")
    if tensor.levels is not None and not (np.diff(tensor.levels) > 0).all():
        raise BadInput("its levels do not ascend")
    if tensor.scheme == BYTES and tensor.data.size and tensor.data.min() < -MAX_BYTE:
        raise BadInput("a weight is below -127")
    tensor.codes()
