"""Weight files of other programs: what they hold is read to the bit, and what they want to run is not."""
import io
import json
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import safetensors
from tinyq.files.foreign import opening


def foreign_read(path):
    """The arrays of the one set of weights in a file."""
    file = opening.open_weights(path)
    key, = file.keys
    return file.read(key)


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
    np.testing.assert_array_equal(foreign_read(path)["w"], [[1, 4], [2, 5]])


@pytest.mark.parametrize("pickled, reason", [
    (pickle.dumps({"w": Hostile(print, "run")}, 2), r"holds no state_dict, but 'w' .an object of __builtin__.print"),
    (pickle.dumps({"w": Hostile(eval, "1")}, 4), "an object of builtins.eval"),
    (b"cos\nsystem\n(X\x02\x00\x00\x00lstR.", "an object of os.system"),
    (b"(X\x02\x00\x00\x00lsios\nsystem\n.", "an object of os.system"),
    (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "an object of os.system"),
    (tensor().replace(b"s.", b"sX\x01\0\0\0vcos\nsystem\n)Rs."), "'v' is an object of os.system, not a tensor"),
    (tensor().replace(b"s.", b"s)K\x01s."), "name that is not a text"),
    (b"\x80\x02}X\x01\x00\x00\x00w(ctorch\nFloatStorage\n)Rs.", "calls something that is not a function"),
    (b"\x80\x02" + b"]" * 100_000, "ends too early"),
    (b"\x80\x02}.", "holds no state_dict; save"),
    (b"\x80\x02}X\x01\x00\x00\x00wK\x01s.", "holds no state_dict, but 'w' .a number"),
    (b"\x80\x02})K\x01s.", "holds no state_dict; save"),
    (b"\x80\x02]q\x00h\x00a.", "holds no state_dict, but a list"),
    (b"\x80\x02\x8f.", "but a list"), (b"\x80\x02C\x01x.", "but bytes"), (b"\x80\x02N.", "but None"),
    (b"\x80\x02ctorch\nFloatStorage\n.", "but another object"),
    (b"\x80\x02X\x01\x00\x00\x00xQ.", "a reference does not name a storage"),
    (b"\x80\x02]K\x01a\x94Q.", "a reference does not name a storage"),
    (b"\x80\x02X\x07\x00\x00\x00storage\x85Q.", "a reference does not name a storage"),
    (b"\x80\x02X\x06\x00\x00\x00module\x85Q.", "an object of module"),
    (tensor(count=-1), "is malformed"), (tensor(count=1 << 50), "is malformed"),
    (tensor(count=1 << 40), "a storage has 24 bytes, not 4398046511104"),
    (tensor().replace(b"tQ", b"X\x01\x00\x00\x00vtQ"), "the view of a storage is malformed"),
    (tensor().replace(b"tQ", b"(K\x01K\x01K\x09ttQ"), "a view of a storage reaches beyond it"),
    (tensor().replace(b"tQ", b"(K\x01K\x01K\x02ttQ"), "a tensor reaches beyond its storage"),
    (tensor(count=7), "a storage has 24 bytes, not 28"),
    (tensor(shape=(2, 4)), "reaches beyond its storage"),
    (tensor(shape=(1 << 40, 3), strides=(0, 1)), "larger than the file"),
    (tensor(offset=-1), "is malformed"), (tensor(offset=1 << 60), "is malformed"),
    (tensor(strides=(1,)), "do not fit"),
    (tensor(key="../../etc/passwd"), "is missing"),
    (tensor(kind="QInt8Storage"), "its tensors are of a QInt8Storage, which is not supported"),
    (tensor(kind="NoStorage"), "the description of a storage is malformed"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01K\x01K\x01tR.", "description of a tensor is malformed"),
    (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "a call has unsuitable arguments"),
], ids=lambda value: "" if isinstance(value, bytes) else value.replace(" ", "-"))
def test_a_broken_or_hostile_pickle_is_refused_and_nothing_is_run(tmp_path, capfd, pickled, reason):
    path = saved_as_torch_would(tmp_path / "a.pth", pickled, [("0", VALUES.tobytes())])
    with pytest.raises(BadInput, match=reason):
        foreign_read(path)
    assert capfd.readouterr().out == ""


def test_one_storage_described_in_two_ways_is_refused(tmp_path):
    other = tensor(name="v", count=5).removeprefix(b"\x80\x02}")
    path = saved_as_torch_would(tmp_path / "a.pth", tensor().replace(b"s.", b"s" + other), [("0", VALUES.tobytes())])
    with pytest.raises(BadInput, match="a storage is described in two ways"):
        foreign_read(path)


def test_hostile_objects_beside_the_weights_stay_inert(tmp_path, capfd):
    weights = tensor().removeprefix(b"\x80\x02").removesuffix(b".")
    pickled = (b"\x80\x02}X\x01\0\0\0xcos\nsystem\n(X\x08\0\0\0echo runtRsX\x05\0\0\0model" + weights + b"s.")
    path = saved_as_torch_would(tmp_path / "a.pth", pickled, [("0", VALUES.tobytes())])
    file = opening.open_weights(path)
    assert file.keys == ["model"] and file.read("model")["w"].shape == (2, 3) and capfd.readouterr().out == ""


def test_a_broken_or_hostile_archive_is_refused(tmp_path):
    good = saved_as_torch_would(tmp_path / "good.pth", tensor(), [("0", VALUES.tobytes())]).read_bytes()
    bomb = saved_as_torch_would(tmp_path / "bomb.pth", tensor(), [("0", bytes(10**7))], zipfile.ZIP_DEFLATED)
    with pytest.raises(BadInput, match="compressed"):
        foreign_read(bomb)
    for cut in range(1, len(good), 7):
        (tmp_path / "cut.pth").write_bytes(good[:cut])
        with pytest.raises(BadInput, match="cut.pth: (not readable as PyTorch weights|is a text)"):
            foreign_read(tmp_path / "cut.pth")
    with zipfile.ZipFile(tmp_path / "two.pth", "w") as archive:
        archive.writestr("a/data.pkl", tensor())
        archive.writestr("b/data.pkl", tensor())
    with pytest.raises(BadInput, match="one folder with one data.pkl"):
        foreign_read(tmp_path / "two.pth")
    with pytest.raises(BadInput, match="cannot be read"):
        foreign_read(tmp_path / "none.pth")


def test_attributes_of_an_object_are_passed_over(tmp_path):
    pickled = tensor().replace(b"s.", b"s" + b"}b" + b".")
    path = saved_as_torch_would(tmp_path / "a.pth", pickled, [("0", VALUES.tobytes())])
    assert list(foreign_read(path)) == ["w"]


def test_bfloat16_is_the_upper_half_of_a_float(tmp_path):
    halves = (VALUES.view("<u4") >> 16).astype("<u2")
    path = saved_as_torch_would(tmp_path / "a.pth", tensor(kind="BFloat16Storage"), [("0", halves.tobytes())])
    np.testing.assert_array_equal(foreign_read(path)["w"].reshape(-1), VALUES)


@pytest.mark.parametrize("order, readable", [(b"little", True), (b"big", False)])
def test_numbers_of_another_byte_order_are_refused(tmp_path, order, readable):
    path = saved_as_torch_would(tmp_path / "a.pth", tensor(), [("0", VALUES.tobytes())])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/byteorder", order)
    if readable:
        assert foreign_read(path)["w"].shape == (2, 3)
    else:
        with pytest.raises(BadInput, match="its numbers are not little-endian; load it with torch.load"):
            foreign_read(path)


MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + b"\x80\x02M\xe9\x03."
LITTLE, KEYS = b"\x80\x02}X\x0d\0\0\0little_endian\x88s.", b"\x80\x02]X\x01\0\0\x000a."


def legacy(magic=MAGIC, system=LITTLE, pickled=None, keys=KEYS, count=6, data=None):
    data = VALUES.tobytes() if data is None else data
    return magic + system + (tensor() if pickled is None else pickled) + keys + struct.pack("<q", count) + data


def test_the_older_format_is_read(tmp_path):
    (tmp_path / "a.pth").write_bytes(legacy())
    np.testing.assert_array_equal(foreign_read(tmp_path / "a.pth")["w"].reshape(-1), VALUES)


@pytest.mark.parametrize("changes, reason", [
    (dict(magic=b"\x80\x02K\x01.\x80\x02K\x01."), "its first bytes are not those of such a file"),
    (dict(magic=MAGIC.replace(b"M\xe9\x03", b"M\xea\x03")), "its version is not one of PyTorch's"),
    (dict(system=LITTLE.replace(b"\x88", b"\x89")), "not little-endian"), (dict(system=b"\x80\x02]."), "little-endian"),
    (dict(keys=b"\x80\x02}."), "list of storages"), (dict(keys=b"\x80\x02]X\x01\0\0\x001a."), "list of storages"),
    (dict(keys=b"\x80\x02]."), "storage 0 is missing"), (dict(count=7), "size of storage 0 does not"),
    (dict(data=b""), "too early")])
def test_a_broken_file_of_the_older_format_is_refused(tmp_path, changes, reason):
    (tmp_path / "a.pth").write_bytes(legacy(**changes))
    with pytest.raises(BadInput, match=reason):
        foreign_read(tmp_path / "a.pth")


def test_the_older_format_of_python_2_is_read(tmp_path):
    """Its texts have instructions of their own, and its OrderedDict is made of pairs."""
    old = tensor().replace(b"X\x01\0\0\0w", b"U\x01w").replace(b"X\x07\0\0\0storage", b"U\x07storage").replace(
        b"X\x01\0\0\x000", b"U\x010").replace(b"_v2", b"").replace(b"\x89ccollections\nOrderedDict\n)R", b"")
    assert old.count(b"U") == 3 and b"_rebuild_tensor\n" in old            # as PyTorch 0.1 to 0.3 saved it
    pairs = b"\x80\x02ccollections\nOrderedDict\n](](U\x01w" + old[old.index(b"ctorch._utils"):-2] + b"ee\x85R."
    for pickled in (old, pairs):
        (tmp_path / "a.pth").write_bytes(legacy(system=LITTLE.replace(b"X\x0d\0\0\0", b"U\x0d"), pickled=pickled,
                                                keys=b"\x80\x02]U\x010a."))
        np.testing.assert_array_equal(foreign_read(tmp_path / "a.pth")["w"].reshape(-1), VALUES)


def test_a_tensor_of_a_part_of_a_storage_is_read(tmp_path):
    viewed = tensor(shape=(2,), strides=(1,), offset=1).replace(b"tQ", b"(U\x01vK\x02K\x03ttQ")
    (tmp_path / "a.pth").write_bytes(legacy(pickled=viewed))
    assert foreign_read(tmp_path / "a.pth")["w"].tolist() == [3, 4]


@pytest.mark.parametrize("wrapped", [
    b"ctorch._utils\n_rebuild_parameter\n(%s\x89NtR", b"ctorch.nn.parameter\nParameter\n%s\x85R(\x89\x89Ntb",
    b"ctorch.autograd.variable\nVariable\n%s\x85R", b"ctorch._utils\n_rebuild_parameter_with_state\n(%s\x89N}tR"])
def test_parameters_are_their_tensors(tmp_path, wrapped):
    inner = tensor()[tensor().index(b"ctorch._utils"):-2]
    path = saved_as_torch_would(tmp_path / "a.pth", b"\x80\x02}X\x01\0\0\0w" + wrapped.replace(b"%s", inner) + b"s.",
                                [("0", VALUES.tobytes())])
    assert foreign_read(path)["w"].shape == (2, 3)


def test_a_tensor_with_attributes_of_its_own_is_read_and_that_of_an_unknown_function_is_not(tmp_path):
    call = tensor()[tensor().index(b"ctorch._utils"):-3]                    # without the last call
    own = b"ctorch._tensor\n_rebuild_from_type_v2\n(" + call.replace(b"\n(", b"\nctorch\nTensor\n(", 1) + b"}tR"
    path = saved_as_torch_would(tmp_path / "a.pth", b"\x80\x02}X\x01\0\0\0w" + own + b"s.", [("0", VALUES.tobytes())])
    assert foreign_read(path)["w"].shape == (2, 3)
    unknown, bare = own.replace(b"_rebuild_tensor_v2", b"_unknown"), b"ctorch._tensor\n_rebuild_from_type_v2\n(NN]NtR"
    for other in (unknown, bare):
        saved_as_torch_would(path, b"\x80\x02}X\x01\0\0\0w" + other + b"s.")
        with pytest.raises(BadInput, match="'w' .an object of torch.Tensor"):
            foreign_read(path)


def held_in_a_pickle(data):
    """A plain pickle of {"w": tensor}, whose storage was saved on its own into bytes."""
    return (b"\x80\x04}\x8c\x01wctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nB"
            + struct.pack("<I", len(data)) + data + b"\x85RK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tRs.")


def test_a_plain_pickle_of_tensors_is_read(tmp_path):
    storage = tensor()[tensor().index(b"(X\x07\0\0\0storage"):tensor().index(b"tQ") + 2]
    (tmp_path / "a.pkl").write_bytes(held_in_a_pickle(legacy(pickled=b"\x80\x02" + storage + b".")))
    np.testing.assert_array_equal(foreign_read(tmp_path / "a.pkl")["w"], VALUES.reshape(2, 3))


@pytest.mark.parametrize("data, reason", [
    (b"", "ends too early"), (b"N.", "a storage inside a pickle is malformed"),
    (legacy(), "a storage inside a pickle is malformed"), (held_in_a_pickle(legacy()), "inside a pickle is malformed")])
def test_a_plain_pickle_with_a_broken_storage_is_refused(tmp_path, data, reason):
    (tmp_path / "a.pkl").write_bytes(held_in_a_pickle(data))
    with pytest.raises(BadInput, match=reason):
        foreign_read(tmp_path / "a.pkl")


def test_a_tensor_whose_storage_is_inert_is_inert(tmp_path):
    pickled = pickle.dumps({"v": 1}, 2)[:-1] + b"X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(cx\ny\nK\x01NNtRs."
    path = saved_as_torch_would(tmp_path / "a.pth", pickled)
    with pytest.raises(BadInput, match="'w' .an object of x.y"):
        foreign_read(path)


SYSTEM = pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {}}, 2)
STORAGE = (pickle.dumps(1, 2) + b"\x80\x02U\x017U\x03cpuctorch\nFloatStorage\n\x87." + struct.pack("<q", 6)
           + VALUES.tobytes())
TENSOR = pickle.dumps(1, 2) + b"\x80\x02K\x09U\x017ctorch\nFloatTensor\n\x87."
PLACE = struct.pack("<ii", 2, 0) + struct.pack("<5q", 2, 3, 3, 1, 0)
OBJECT = b"\x80\x02ccollections\nOrderedDict\n)RX\x01\0\0\0wX\x01\0\0\x009Qs."


def tarred(path, **changes):
    members = {"sys_info": SYSTEM, "storages": STORAGE + pickle.dumps([], 2), "tensors": TENSOR + PLACE,
               "pickle": OBJECT} | changes
    with tarfile.open(path, "w:") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_the_oldest_format_a_tar_is_read(tmp_path):
    np.testing.assert_array_equal(foreign_read(tarred(tmp_path / "a.pth"))["w"], VALUES.reshape(2, 3))
    views = pickle.dumps([(8, "7", 2, 3)], 2)
    place = struct.pack("<ii", 1, 0) + struct.pack("<3q", 3, 1, 0)
    part = tarred(tmp_path / "b.pth", storages=STORAGE + views, tensors=TENSOR.replace(b"U\x017", b"K\x08") + place)
    assert foreign_read(part)["w"].tolist() == [2, 3, 4]
    source = OBJECT.replace(b"Qs.", b"QsX\x01\0\0\0v(X\x01\0\0\0mNtQs.")       # a class with its source
    with pytest.raises(BadInput, match="'v' is an object of .'m',., not a tensor"):
        foreign_read(tarred(tmp_path / "c.pth", pickle=source))


@pytest.mark.parametrize("changes, reason", [
    (dict(sys_info=pickle.dumps({"little_endian": False}, 2)), "not little-endian"),
    (dict(sys_info=pickle.dumps([], 2)), "not little-endian"),
    (dict(storages=pickle.dumps("x", 2)), "a number of parts is missing"),
    (dict(storages=pickle.dumps(1, 2) + pickle.dumps("x", 2)), "the description of a part is malformed"),
    (dict(storages=pickle.dumps(1, 2) + pickle.dumps((1, 2, 3), 2)), "the description of a storage is malformed"),
    (dict(storages=pickle.dumps(1 << 40, 2)), "ends too early"),
    (dict(storages=STORAGE + pickle.dumps(["x"], 2)), "the view of a storage is malformed"),
    (dict(storages=STORAGE + pickle.dumps([(8, "6", 0, 1)], 2)), "the view of a storage is malformed"),
    (dict(storages=STORAGE + pickle.dumps([(8, "7", 0, 9)], 2)), "a view of a storage reaches beyond it"),
    (dict(storages=STORAGE + pickle.dumps(None, 2), tensors=TENSOR + PLACE[:-9]), "ends too early"),
    (dict(tensors=TENSOR + struct.pack("<ii", 9, 0)), "the description of a tensor is malformed"),
    (dict(tensors=TENSOR.replace(b"U\x017", b"U\x016") + PLACE), "the description of a tensor is malformed"),
    (dict(pickle=OBJECT.replace(b"\x009Q", b"\x008Q")), "a reference does not name a tensor"),
    (dict(pickle=b"\x80\x02cos\nsystem\n(X\x02\0\0\0lstR."), "an object of os.system"),
])
def test_a_broken_tar_is_refused(tmp_path, changes, reason):
    with pytest.raises(BadInput, match=reason):
        foreign_read(tarred(tmp_path / "a.pth", **changes))


def test_a_sparse_member_of_a_tar_is_not_unpacked(tmp_path):
    path = tarred(tmp_path / "a.pth")
    data = bytearray(path.read_bytes())
    at = data.index(b"storages\0")
    data[at + 156:at + 157] = b"S"                      # its real size, in octal, may be anything
    data[at + 148:at + 156] = b"        "
    data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])
    path.write_bytes(data)
    with pytest.raises(BadInput, match="without storages|not readable as PyTorch"):
        foreign_read(path)


def test_flipped_bytes_never_do_worse_than_a_refusal(tmp_path):
    good = saved_as_torch_would(tmp_path / "good.pth", tensor(), [("0", VALUES.tobytes())]).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(good)
        for at in random.integers(0, len(data), 3):
            data[at] = random.integers(0, 256)
        (tmp_path / "mutant.pth").write_bytes(data)
        try:
            foreign_read(tmp_path / "mutant.pth")
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


def test_a_header_longer_than_the_file_is_refused(tmp_path):
    for data in (b"", b"1234567", struct.pack("<Q", 1 << 60), struct.pack("<Q", 100) + b"{}"):
        (tmp_path / "a.safetensors").write_bytes(data)
        with pytest.raises(BadInput, match="a.safetensors: not readable as safetensors"):
            safetensors.read(tmp_path / "a.safetensors")
