"""The protocol buffer of an ONNX file: written to equal bytes, read within its own bytes, and never more."""
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyq.errors import BadInput
from tinyq.files.foreign import onnx_model, protobuf
from tinyq.files.foreign.protobuf import BYTES, DOUBLE, FLOAT, INTEGER, TEXT, Field, Malformed, decode, encode

INNER = {"number": Field(1, INTEGER), "text": Field(2, TEXT)}
TABLE = {"integer": Field(1, INTEGER), "float": Field(2, FLOAT), "double": Field(3, DOUBLE), "text": Field(4, TEXT),
         "bytes": Field(5, BYTES), "inner": Field(6, INNER), "integers": Field(7, INTEGER, many=True),
         "floats": Field(8, FLOAT, many=True), "doubles": Field(9, DOUBLE, many=True),
         "texts": Field(10, TEXT, many=True), "inners": Field(300, INNER, many=True)}
FULL = {"integer": -5, "float": 0.5, "double": 0.1, "text": "häuser", "bytes": b"\0\xff", "inner": {"number": 1 << 40},
        "integers": [0, -1, 300, 1 << 62], "floats": [1.5, -2.0], "doubles": [0.1], "texts": ["a", ""],
        "inners": [{"text": "x"}, {}]}


def plain(value):
    """A decoded message with lists for arrays, and without what is absent."""
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items() if not (v is None or len(np.shape(v)) and not len(v))}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, np.ndarray) else bytes(value) if isinstance(value, memoryview) else value


def test_a_message_is_read_as_it_was_written():
    data = encode(FULL, TABLE)
    assert plain(decode(data, TABLE)) == FULL and encode(decode(data, TABLE), TABLE) == data


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_any_integers_are_read_as_they_were_written(numbers):
    assert decode(encode({"integers": numbers}, TABLE), TABLE)["integers"].tolist() == numbers


def test_numbers_may_stand_one_by_one_and_the_last_of_a_single_field_counts():
    data = b"\x38\x05\x38\x06" + b"\x45" + struct.pack("<f", 2) + b"\x08\x01\x08\x02"
    found = decode(data, TABLE)
    assert found["integers"].tolist() == [5, 6] and found["floats"].tolist() == [2] and found["integer"] == 2


def test_unknown_fields_are_skipped_whatever_they_hold():
    nested = b"\xa2\x06\x03\xff\xff\xff"                            # field 100: no message
    others = b"\x98\x06\x05" + b"\x9d\x06abcd" + b"\x99\x06abcdefgh"     # fields 99: a number, four and eight bytes
    assert decode(nested + others + b"\x08\x07", TABLE)["integer"] == 7


@pytest.mark.parametrize("data, said", [
    (b"\x08", "ends within a number"), (b"\x08" + b"\x80" * 11, "longer than ten bytes"), (b"\x22\x05ab", "too early"),
    (b"\x15\x00", "too early"), (b"\x0b", "wire type 3"), (b"\x0d\0\0\0\0", "another type"),
    (b"\x30\x01", "another type"), (b"\x32\x00\x32\x00", "its inner occurs twice"),
    (b"\x42\x03abc", "packed numbers end too early"), (b"\x3a\x02\x01\x80", "packed numbers end too early"),
    (b"\x3a\x0b" + b"\x80" * 10 + b"\x01", "longer than ten bytes"), (b"\x38", "ends within a number")])
def test_malformed_messages_are_named(data, said):
    with pytest.raises(Malformed, match=said):
        decode(data, TABLE)


def test_a_file_has_no_more_fields_than_the_budget(monkeypatch):
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 100)
    decode(b"\x08\x01" * 100, TABLE)
    for data in (b"\x08\x01" * 101, encode({"integers": [1] * 101}, TABLE), encode({"inners": [{}] * 101}, TABLE)):
        with pytest.raises(Malformed, match="more than 100 fields"):
            decode(data, TABLE)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_bytes_do_anything_but_decode_or_fail(noise, place):
    whole = encode(FULL, TABLE)
    for data in (noise, whole[:place], whole[:place] + noise + whole[place:]):
        try:
            decode(data, TABLE)
        except Malformed:
            pass


ARRAYS = [np.float32([[1, 2, 3]]), np.int64([-1, 5]), np.uint8(7), np.int8([[-128], [127]]), np.int32([]),
          np.float64([0.5]), np.float16([0.25, -2]), np.bool_([True, False])]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: str(a.dtype))
def test_an_array_is_read_as_it_was_written(array):
    held = decode(encode(onnx_model.tensor("a", array), onnx_model.TENSOR), onnx_model.TENSOR)
    found = onnx_model.array_of(held)
    np.testing.assert_array_equal(found, array)
    assert found.shape == array.shape and found.dtype in (np.float32, array.dtype)


@pytest.mark.parametrize("kind, low, high", [(onnx_model.INT4, -8, 7), (onnx_model.INT2, -2, 1)])
def test_small_integers_are_packed(kind, low, high):
    array = np.resize(np.arange(low, high + 1), 27).astype(np.int8).reshape(3, 9)
    held = decode(encode(onnx_model.tensor("a", array, kind), onnx_model.TENSOR), onnx_model.TENSOR)
    assert len(held["raw_data"]) == (14 if kind == onnx_model.INT4 else 7)
    np.testing.assert_array_equal(onnx_model.array_of(held), array)


def numbers(kind, field, values, dims=None):
    message = {"dims": [len(values)] if dims is None else dims, "data_type": kind, "name": "a", field: values}
    return decode(encode(message, onnx_model.TENSOR), onnx_model.TENSOR)


@pytest.mark.parametrize("kind, field, values, expected", [
    (onnx_model.FLOAT32, "float_data", [1.5, 2], [1.5, 2]), (onnx_model.INT64, "int64_data", [-1, 3], [-1, 3]),
    (11, "double_data", [0.1], [np.float32(0.1)]), (onnx_model.INT8, "int32_data", [-3, 4], [-3, 4]),
    (10, "int32_data", [0x3C00, 0xC000], [1, -2]), (onnx_model.BFLOAT16, "int32_data", [0x3F80], [1])])
def test_numbers_that_are_fields_are_read(kind, field, values, expected):
    np.testing.assert_array_equal(onnx_model.array_of(numbers(kind, field, values)), expected)


def test_small_integers_that_are_fields_are_read():
    held = numbers(onnx_model.INT4, "int32_data", [0x2F, 0x03], [3])
    assert onnx_model.array_of(held).tolist() == [-1, 2, 3]


def test_halves_of_float32_are_read_from_raw_bytes():
    held = {"dims": [2], "data_type": onnx_model.BFLOAT16, "name": "a", "raw_data": b"\x80\x3f\x00\xc0"}
    found = onnx_model.array_of(decode(encode(held, onnx_model.TENSOR), onnx_model.TENSOR))
    assert found.tolist() == [1, -2]


@pytest.mark.parametrize("changed, said", [
    ({"dims": [3]}, "has not as many bytes"), ({"dims": [1 << 62, 4]}, "has not as many bytes"),
    ({"dims": [-1]}, "has the shape"), ({"dims": [1] * 9}, "has the shape"), ({"data_type": 8}, "data type 8"),
    ({"data_type": onnx_model.INT2}, "has not as many bytes"), ({"data_location": 1}, "lies in another file"),
    ({"external_data": [b"x"]}, "lies in another file"), ({"raw_data": None}, "has not as many bytes"),
    ({"data_type": None}, "data type None")])
def test_tensors_that_do_not_keep_to_their_bytes_are_refused(changed, said):
    held = onnx_model.tensor("a", np.float32([1, 2])) | changed
    with pytest.raises(Malformed, match=f"'a' .*{said}"):
        onnx_model.array_of(decode(encode(held, onnx_model.TENSOR), onnx_model.TENSOR))


def test_a_tensor_without_a_name_is_read():
    held = onnx_model.tensor("a", np.float32([1])) | {"name": None}
    assert onnx_model.array_of(decode(encode(held, onnx_model.TENSOR), onnx_model.TENSOR)).tolist() == [1]


def test_a_model_is_read_with_its_metadata(tmp_path):
    graph = {"name": "g", "node": [{"op_type": "Relu", "input": ["x"], "output": ["y"]}]}
    model = {"ir_version": 8, "graph": graph, "metadata_props": [{"key": "a", "value": "b"}, {}]}
    (tmp_path / "a.onnx").write_bytes(onnx_model.encode_model(model))
    found = onnx_model.read_model(tmp_path / "a.onnx")
    assert found["graph"]["node"][0]["op_type"] == "Relu" and onnx_model.metadata_of(found) == {"a": "b", "": ""}
    assert onnx_model.encode_model(found) == (tmp_path / "a.onnx").read_bytes()


@pytest.mark.parametrize("data, said", [
    (b"\x08\x08", "has no graph"), (b"\x3a\x00", "has no graph"), (b"\x3a\x05ab", "ends too early"), (b"", "no graph")])
def test_a_file_that_is_no_network_is_named(tmp_path, data, said):
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(BadInput, match=f"a.onnx: not readable as ONNX: .*{said}"):
        onnx_model.read_model(tmp_path / "a.onnx")
