"""Weight files of other programs: what they hold is read to the bit, and what they want to run is not."""
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import pickles, safetensors, torch_weights


class Hostile:
    """Its pickle calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def saved_as_torch_would(path, pickled, storages=(), compression=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("m/data.pkl", pickled)
        for key, data in [*storages, *extra]:
            archive.writestr(f"m/data/{key}", data)
    return path


def tensor(offset=0, shape=(2, 3), strides=(3, 1), count=6, name="w", kind="FloatStorage", key="0"):
    """The pickle of {name: tensor}, instruction by instruction."""
    def number(n):
        return b"\x8a\x08" + struct.pack("<q", n)

    def text(value):
        return b"X" + struct.pack("<I", len(value)) + value.encode()

    def numbers(values):
        return b"(" + b"".join(map(number, values)) + b"t"

    kind = b"ctorch\n" + kind.encode() + b"\n"
    storage = b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + b"tQ"
    rebuilt = (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + numbers(shape) + numbers(strides)
               + b"\x89" + b"ccollections\nOrderedDict\n)R" + b"tR")
    return b"\x80\x02}" + text(name) + rebuilt + b"s."


VALUES = np.arange(6, dtype="<f4")


def test_a_tensor_is_a_view_of_its_storage(tmp_path):
    path = saved_as_torch_would(tmp_path / "a.pth", tensor(1, (2, 2), (1, 3)), [("0", VALUES.tobytes())])
    np.testing.assert_array_equal(torch_weights.read(path)["w"], [[1, 4], [2, 5]])


@pytest.mark.parametrize("pickled, reason", [
    (pickle.dumps({"w": Hostile(print, "run")}, 2), "wants to use"),
    (pickle.dumps({"w": Hostile(eval, "1")}, 4), "wants to use"),
    (b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "wants to use os.system"),
    (b"(X\x02\x00\x00\x00lsios\nsystem\n.", "is not needed for weights"),
    (b"\x80\x02}X\x01\x00\x00\x00w(ctorch\nFloatStorage\n)Rs.", "calls something that is not a function"),
    (b"\x80\x02" + b"]" * 100_000, "ends too early"),
    (b"\x80\x02h\x07.", "refers to an object that is missing"),
    (b"\x80\x02\x8a\xff" + bytes(255) + b".", "a number is too long"),
    (b"\x80\x02X\xff\xff\xff\x7fabc", "ends too early"),
    (b"\x80\x02}.", "holds no state_dict"),
    (b"\x80\x02}X\x01\x00\x00\x00wK\x01s.", "'w' is not a tensor"),
    (b"\x80\x02]q\x00h\x00a.", "holds no state_dict"),
    (b"", "ends too early"),
    (b"\x80\x02c" + b"x" * 300, "a name is too long"),
    (b"\x80\x020.", "its stack is empty"),
    (b"\x80\x02(0.", "its stack is empty"),
    (b"\x80\x02}}a.", "a list is missing"),
    (b"\x80\x02}t.", "a mark is missing"),
    (b"\x80\x04K\x01K\x02\x93.", "a name is not a text"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "wants to use os.system"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "a call has unsuitable arguments"),
    (b"\x80\x02q\x00.", "its stack is empty"),
    (b"\x80\x02}(K\x01u.", "a key has no value"),
    (b"\x80\x02}]K\x01s.", "a key is neither a text nor a number"),
    (b"\x80\x02]K\x01a\x94Q.", "a reference does not name a storage"),
    (b"\x80\x02X\x01\x00\x00\x00\xff.", "a text is not UTF-8"),
    (tensor(count=-1), "is malformed"),
    (tensor(count=1 << 40), "larger than the file"),
    (tensor().replace(b"tQ", b"X\x01\x00\x00\x00vtQ"), "a storage is a view of another"),
    (tensor(count=7), "a storage has 24 bytes, not 28"),
    (tensor(shape=(2, 4)), "reaches beyond its storage"),
    (tensor(shape=(1 << 40, 3), strides=(0, 1)), "larger than the file"),
    (tensor(offset=-1), "is malformed"),
    (tensor(strides=(1,)), "do not fit"),
    (tensor(key="../../etc/passwd"), "is missing"),
    (tensor(kind="QInt8Storage"), "wants to use torch.QInt8Storage"),
], ids=lambda value: "" if isinstance(value, bytes) else value.replace(" ", "-"))
def test_a_broken_or_hostile_pickle_is_refused_and_nothing_is_run(tmp_path, capfd, pickled, reason):
    path = saved_as_torch_would(tmp_path / "a.pth", pickled, [("0", VALUES.tobytes())])
    with pytest.raises(BadInput, match=reason):
        torch_weights.read(path)
    assert capfd.readouterr().out == ""


def test_a_broken_or_hostile_archive_is_refused(tmp_path):
    good = saved_as_torch_would(tmp_path / "good.pth", tensor(), [("0", VALUES.tobytes())]).read_bytes()
    bomb = saved_as_torch_would(tmp_path / "bomb.pth", tensor(), [("0", bytes(10**7))], zipfile.ZIP_DEFLATED)
    with pytest.raises(BadInput, match="compressed"):
        torch_weights.read(bomb)
    for cut in range(0, len(good), 7):
        (tmp_path / "cut.pth").write_bytes(good[:cut])
        with pytest.raises(BadInput, match="cut.pth: not readable as PyTorch weights"):
            torch_weights.read(tmp_path / "cut.pth")
    with zipfile.ZipFile(tmp_path / "two.pth", "w") as archive:
        archive.writestr("a/data.pkl", tensor())
        archive.writestr("b/data.pkl", tensor())
    with pytest.raises(BadInput, match="one folder with one data.pkl"):
        torch_weights.read(tmp_path / "two.pth")
    with pytest.raises(BadInput, match="cannot be read"):
        torch_weights.read(tmp_path / "none.pth")


def test_attributes_of_an_object_are_passed_over_and_the_prefix_of_parallel_training_is_taken_off(tmp_path):
    pickled = tensor(name="module.w").replace(b"s.", b"s" + b"}b" + b".")
    path = saved_as_torch_would(tmp_path / "a.pth", pickled, [("0", VALUES.tobytes())])
    assert list(torch_weights.read(path)) == ["w"]


def test_bfloat16_is_the_upper_half_of_a_float(tmp_path):
    halves = (VALUES.view("<u4") >> 16).astype("<u2")
    path = saved_as_torch_would(tmp_path / "a.pth", tensor(kind="BFloat16Storage"), [("0", halves.tobytes())])
    np.testing.assert_array_equal(torch_weights.read(path)["w"].reshape(-1), VALUES)


@pytest.mark.parametrize("order, readable", [(b"little", True), (b"big", False)])
def test_numbers_of_another_byte_order_are_refused(tmp_path, order, readable):
    path = saved_as_torch_would(tmp_path / "a.pth", tensor(), [("0", VALUES.tobytes())])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/byteorder", order)
    if readable:
        assert torch_weights.read(path)["w"].shape == (2, 3)
    else:
        with pytest.raises(BadInput, match="its numbers are not little-endian"):
            torch_weights.read(path)


MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + b"\x80\x02M\xe9\x03."
LITTLE, KEYS = b"\x80\x02}X\x0d\0\0\0little_endian\x88s.", b"\x80\x02]X\x01\0\0\x000a."


def legacy(magic=MAGIC, system=LITTLE, pickled=None, keys=KEYS, count=6, data=None):
    data = VALUES.tobytes() if data is None else data
    return magic + system + (tensor() if pickled is None else pickled) + keys + struct.pack("<q", count) + data


def test_the_older_format_is_read(tmp_path):
    (tmp_path / "a.pth").write_bytes(legacy())
    np.testing.assert_array_equal(torch_weights.read(tmp_path / "a.pth")["w"].reshape(-1), VALUES)


@pytest.mark.parametrize("changes, reason", [
    (dict(magic=b"\x80\x02K\x01.\x80\x02K\x01."), "its first bytes are not those of such a file"),
    (dict(system=LITTLE.replace(b"\x88", b"\x89")), "not little-endian"), (dict(system=b"\x80\x02]."), "little-endian"),
    (dict(keys=b"\x80\x02}."), "list of storages"), (dict(keys=b"\x80\x02]X\x01\0\0\x001a."), "list of storages"),
    (dict(keys=b"\x80\x02]."), "storage 0 is missing"), (dict(count=7), "size of storage 0 does not"),
    (dict(data=b""), "too early")])
def test_a_broken_file_of_the_older_format_is_refused(tmp_path, changes, reason):
    (tmp_path / "a.pth").write_bytes(legacy(**changes))
    with pytest.raises(BadInput, match=reason):
        torch_weights.read(tmp_path / "a.pth")


def test_flipped_bytes_never_do_worse_than_a_refusal(tmp_path):
    good = saved_as_torch_would(tmp_path / "good.pth", tensor(), [("0", VALUES.tobytes())]).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(good)
        for at in random.integers(0, len(data), 3):
            data[at] = random.integers(0, 256)
        (tmp_path / "mutant.pth").write_bytes(data)
        try:
            torch_weights.read(tmp_path / "mutant.pth")
        except BadInput:
            pass


ARRAYS = {"b": np.arange(3, dtype=np.int64), "a.weight": VALUES.reshape(2, 3), "scalar": np.float32(2).reshape(())}


def test_safetensors_come_back_to_the_bit_and_are_the_same_bytes_again(tmp_path):
    for name in ("one", "two"):
        safetensors.write(tmp_path / name, dict(reversed(ARRAYS.items())) if name == "two" else ARRAYS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    for name, array in safetensors.read(tmp_path / "one").items():
        assert array.dtype == ARRAYS[name].dtype and array.shape == ARRAYS[name].shape
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_other_programs_read_what_is_written(tmp_path):
    numpy_reader = pytest.importorskip("safetensors.numpy")
    safetensors.write(tmp_path / "a.safetensors", ARRAYS)
    for name, array in numpy_reader.load_file(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(array, ARRAYS[name])
    numpy_reader.save_file({"half": VALUES.astype(np.float16)}, tmp_path / "b.safetensors")
    np.testing.assert_array_equal(safetensors.read(tmp_path / "b.safetensors")["half"], VALUES)


def entry(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize("header, size, reason", [
    ({"w": entry(0, 8)}, 8, "has 8 bytes, but its shape and dtype need 4"),
    ({"w": entry(0, 4), "v": entry(0, 4)}, 4, "overlap"),
    ({"w": entry(4, 8)}, 8, "gaps"),
    ({"w": entry(0, 4)}, 9, "do not end with the file"),
    ({"w": entry(0, 1 << 40, (1 << 38,))}, 8, "do not end with the file"),
    ({"w": entry(0, 4, (-1,))}, 4, "are not whole numbers"),
    ({"w": entry(0, 4, dtype="F8")}, 4, "its dtype is not one"),
    ({"w": [1]}, 4, "its description breaks the format"),
    ([1], 0, "not a JSON object"),
    ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, 4, "has 3 offsets .must be 2. and 1 axes"),
    ({"w": {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}}, 4, "has 2 offsets .must be 2. and 9 axes"),
    ('{"w": 1, "w": 2}', 0, "occurs twice"),
    ("[" * 100_000, 0, "not readable"),
    (b"\xff\xfe", 0, "not readable"),
], ids=str)
def test_a_broken_safetensors_file_is_refused(tmp_path, header, size, reason):
    text = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(BadInput, match=reason):
        safetensors.read(tmp_path / "a.safetensors")


def test_safetensors_bfloat16_is_the_upper_half_of_a_float(tmp_path):
    text = json.dumps({"w": {"dtype": "BF16", "shape": [6], "data_offsets": [0, 12]}}).encode()
    halves = (VALUES.view("<u4") >> 16).astype("<u2").tobytes()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + halves)
    np.testing.assert_array_equal(safetensors.read(tmp_path / "a.safetensors")["w"], VALUES)


def test_a_pickle_read_without_anything_outside_refers_to_nothing():
    with pytest.raises(pickles.Unreadable, match="refers to an object outside the pickle"):
        pickles.Interpreter(b"\x80\x02K\x01Q.", {}).load()
    assert pickles.Interpreter(b"\x80\x02\x8a\x02\xff\xff.", {}).load() == -1
    assert pickles.Interpreter(b"\x80\x02}q\x00(K\x01K\x02u.", {}).load() == {1: 2}
    assert pickles.Interpreter(b"\x80\x02K\x01K\x02K\x03\x87.", {}).load() == (1, 2, 3)


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    for data in (b"", b"1234567", struct.pack("<Q", 1 << 60), struct.pack("<Q", 100) + b"{}"):
        (tmp_path / "a.safetensors").write_bytes(data)
        with pytest.raises(BadInput, match="a.safetensors: not readable as safetensors"):
            safetensors.read(tmp_path / "a.safetensors")


def test_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    x = torch.arange(24.0).reshape(4, 6)
    state = {"turned": x.t(), "part": x[1:, 2:5], "half": x.half(), "brain": x.bfloat16(), "double": x.double(),
             "count": torch.tensor(3)}
    wrapped = {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(wrapped, buffer, _use_new_zipfile_serialization=zipped)
        (tmp_path / "a.pth").write_bytes(buffer.getvalue())
        found = torch_weights.read(tmp_path / "a.pth")
        assert list(found) == list(state)
        for name, value in state.items():
            np.testing.assert_array_equal(found[name], value.float().numpy())
        assert found["count"].dtype == np.int64 and found["brain"].dtype == np.float32
