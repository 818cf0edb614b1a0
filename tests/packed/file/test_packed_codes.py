"""Codes in bytes: what is packed comes back, bit for bit, and what no packing makes is refused."""
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.errors import BadInput
from tinyq.levels import parse
from tinyq.packed.file.bit_packing import SCHEMES, choose_scheme, decode
from tinyq.packed.file.tensor import (
    BYTES,
    FLOAT,
    EncodedTensor,
    check_tensor,
    encode_bytes,
    encode_floats,
    encode_levels,
)

LEVELS = {"b1": 2, "b2": 4, "p3": 8, "b4": 16, "b8": 256, "t243": 3}
SETS = ["binary", "ternary", "shift1", "shift2", "-2,-1,0,1,2", "-4,-3,-2,-1,0,1,2,3,4",
        ",".join(map(str, range(-10, 10))), "0.1,0.3", ",".join(map(str, range(256)))]


def drawn(rows, k, levels, seed=0):
    return np.random.Generator(np.random.Philox(seed)).integers(0, levels, (rows, k)).astype(np.uint8)


@pytest.mark.parametrize("k", range(1, 68))
@pytest.mark.parametrize("name", SCHEMES)
def test_codes_come_back(name, k):
    scheme = SCHEMES[name]
    for codes in (drawn(3, k, LEVELS[name], k), np.full((2, k), LEVELS[name] - 1, np.uint8)):
        packed = scheme.encode(codes)
        assert packed.dtype == np.uint8 and packed.shape == (len(codes), scheme.row_bytes(k))
        assert np.array_equal(decode(packed, scheme, k, LEVELS[name]), codes)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(list(SCHEMES)), st.integers(1, 5), st.integers(1, 300), st.integers(0, 2**32))
def test_any_codes_come_back(name, rows, k, seed):
    codes = drawn(rows, k, LEVELS[name], seed)
    assert np.array_equal(decode(SCHEMES[name].encode(codes), SCHEMES[name], k, LEVELS[name]), codes)


def in_words(name, byte):
    """The codes of one byte, by the sentences of the format: the first in the lowest bits, or digits to the base 3."""
    if name == "t243":
        return [byte // 3**i % 3 for i in range(5)]
    bits = {"b1": 1, "b2": 2, "b4": 4, "b8": 8}[name]
    return [int(f"{byte:08b}"[::-1][i:i + bits][::-1], 2) for i in range(0, 8, bits)]


@pytest.mark.parametrize("name", ["b1", "b2", "b4", "b8", "t243"])
def test_every_byte_decodes_as_the_format_says(name):
    for byte in range(243 if name == "t243" else 256):
        expected = in_words(name, byte)
        row = np.array([[byte]], np.uint8)
        assert SCHEMES[name].decode(row, len(expected)).tolist() == [expected]
        assert SCHEMES[name].encode(np.array([expected], np.uint8)).tolist() == [[byte]]


def test_every_byte_of_three_planes_decodes_as_the_format_says():
    for plane in range(3):
        for byte in range(256):
            row = np.zeros((1, 3), np.uint8)
            row[0, plane] = byte
            assert SCHEMES["p3"].decode(row, 8).tolist() == [[(byte >> j & 1) << plane for j in range(8)]]


@pytest.mark.parametrize("k", range(1, 68))
def test_five_trits_a_byte_and_two_bits_a_code_hold_the_same(k):
    codes = drawn(4, k, 3, k)
    trits, bits = SCHEMES["t243"], SCHEMES["b2"]
    there = decode(trits.encode(codes), trits, k, 3)
    back = trits.encode(decode(bits.encode(there), bits, k, 3))
    assert hashlib.sha256(back).digest() == hashlib.sha256(trits.encode(codes)).digest()
    assert np.array_equal(bits.encode(there), bits.encode(codes))


@pytest.mark.parametrize("name", [name for name in SCHEMES if name != "b8"])
def test_bits_beyond_the_last_code_are_refused_one_by_one(name):
    scheme, k = SCHEMES[name], 67
    clean = scheme.encode(drawn(2, k, min(3, LEVELS[name])))
    beyond = 0
    for byte in range(clean.shape[1]):
        for bit in range(8):
            packed = clean.copy()
            packed[1, byte] ^= 1 << bit
            try:
                codes = scheme.decode(packed, k)
            except BadInput as error:
                assert "padding bits" in str(error) or name == "t243" and "242" in str(error)
                beyond += 1
            else:
                assert not np.array_equal(codes, scheme.decode(clean, k))       # no bit is without a meaning
    assert beyond >= {"b1": 5, "b2": 2, "p3": 15, "b4": 4, "t243": 1}[name]


@pytest.mark.parametrize("byte", range(243, 256))
def test_a_byte_that_is_no_five_trits_is_refused(byte):
    with pytest.raises(BadInput, match="above 242"):
        SCHEMES["t243"].decode(np.array([[0, byte]], np.uint8), 10)


@pytest.mark.parametrize("name, levels", [("b2", 3), ("p3", 5), ("p3", 7), ("b4", 9), ("b8", 20)])
def test_a_code_without_a_level_is_refused(name, levels):
    for code in range(levels, LEVELS[name]):
        codes = drawn(2, 9, levels)
        codes[1, 4] = code
        with pytest.raises(BadInput, match=f"code {code} is not one of the {levels} levels"):
            decode(SCHEMES[name].encode(codes), SCHEMES[name], 9, levels)


@pytest.mark.parametrize("levels, plain, trits", [(2, "b1", "b1"), (3, "b2", "t243"), (4, "b2", "b2"), (5, "p3", "p3"),
                                                  (8, "p3", "p3"), (9, "b4", "b4"), (16, "b4", "b4"), (17, "b8", "b8"),
                                                  (256, "b8", "b8")])
def test_a_set_takes_the_smallest_scheme(levels, plain, trits):
    assert choose_scheme(levels).name == plain and choose_scheme(levels, trits=True).name == trits


@pytest.mark.parametrize("shape", [(1, 1), (3, 67), (5, 3, 3, 3), (7, 1, 1, 1), (2, 13, 1, 5)])
@pytest.mark.parametrize("scale", ["layer", "filter", "extreme"])
@pytest.mark.parametrize("text", SETS)
def test_the_effective_weights_are_scale_times_level_to_the_bit(text, scale, shape):
    levels = parse(text).values.astype(np.float32)
    unscaled = levels[drawn(shape[0], int(np.prod(shape[1:])), len(levels), 7)].reshape(shape)
    rng = np.random.Generator(np.random.Philox(3))
    scales = {"layer": np.array([0.0371], np.float32), "filter": rng.uniform(1e-3, 2, shape[0]).astype(np.float32),
              "extreme": np.resize(np.array([1e-38, 1e-30, 1e30], np.float32), shape[0])}[scale]
    for trits in (False, True):
        tensor = encode_levels(unscaled, levels, scales, np.zeros((2, shape[0]), np.float32), trits)
        expected = scales.reshape(-1, *[1] * (len(shape) - 1)) * unscaled
        assert tensor.effective().dtype == np.float32 and tensor.effective().tobytes() == expected.tobytes()
        assert tensor.unscaled().tobytes() == unscaled.tobytes()
        check_tensor(tensor)


def test_weights_as_they_are_come_back():
    w = np.random.Generator(np.random.Philox(1)).standard_normal((4, 3, 5, 5)).astype(np.float32)
    tensor = encode_floats(w, np.ones((2, 4), np.float32))
    assert tensor.scheme == FLOAT and tensor.effective().tobytes() == w.tobytes()


@pytest.mark.parametrize("most", [1, 50, 126, 127, 1000, 1 << 20])
def test_filters_of_denormal_weights_have_a_scale_too(most):
    least = np.finfo(np.float32).smallest_subnormal
    w = np.array([[0, most // 3, -most], [0, 0, 0], [1 << 23, 0, 0]]).astype(np.float32) * least
    affine = np.array([[2.0**120, 1, 1], [0, 0, 0]], np.float32)
    tensor = encode_bytes(w, affine)
    check_tensor(tensor)
    assert np.isfinite(tensor.affine).all() and np.abs(tensor.effective() - w).max() <= 0.5 * tensor.scale.max()
    if most <= 127:
        assert np.array_equal(tensor.effective()[:2], w[:2])
    assert np.abs(tensor.affine[0, :1, None] * tensor.unscaled()[:1] - affine[0, 0] * w[:1]).max() <= (
        0.51 * tensor.affine[0, 0])


def test_weights_in_bytes_are_the_nearest_of_255_values():
    w = np.random.Generator(np.random.Philox(1)).standard_normal((4, 3, 5, 5)).astype(np.float32)
    w[2] = 0                                                            # a filter of zeros
    w[3] *= np.float32(1e-30)
    affine = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    tensor = encode_bytes(w, affine)
    check_tensor(tensor)
    largest = np.abs(w).reshape(4, -1).max(axis=1)
    assert tensor.scheme == BYTES and (np.abs(tensor.data).max(axis=1) == [127, 127, 0, 127]).all()
    assert (np.abs(tensor.effective() - w).reshape(4, -1).max(axis=1) <= largest / 254 * (1 + 1e-5)).all()
    assert np.array_equal(tensor.affine, [affine[0] * tensor.scale, affine[1]])


def held(**changes):
    unscaled = np.array([[-1, 0], [1, 1]], np.float32)
    levels, affine = np.array([-1, 0, 1], np.float32), np.ones((2, 2), np.float32)
    tensor = encode_levels(unscaled, levels, np.ones(1, np.float32), affine)
    return EncodedTensor(**{**{name: getattr(tensor, name) for name in EncodedTensor.__dataclass_fields__}, **changes})


@pytest.mark.parametrize("changes, says", [
    ({"scale": np.zeros(1, np.float32)}, "scale"), ({"scale": -np.ones(2, np.float32)}, "scale"),
    ({"scale": np.full(1, np.nan, np.float32)}, "scale"),
    ({"levels": np.array([1, 0, -1], np.float32)}, "ascend"), ({"levels": np.array([0, 0, 1], np.float32)}, "ascend"),
    ({"levels": np.array([-1, np.nan, 1], np.float32)}, "ascend"),
    ({"data": np.array([[3], [0]], np.uint8)}, "code 3"), ({"data": np.array([[16], [0]], np.uint8)}, "padding bits"),
    ({"scheme": BYTES, "levels": None, "data": np.full((2, 2), -128, np.int8)}, "-127"),
])
def test_values_that_cannot_be_are_refused(changes, says):
    check_tensor(held())
    with pytest.raises(BadInput, match=says):
        check_tensor(held(**changes))
