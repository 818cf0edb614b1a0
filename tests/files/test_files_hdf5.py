import struct
import time

import h5py
import hostile_hdf5
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5, hdf5_bytes
from tinyq.files.hdf5 import Spec

ARRAYS = {
    "layer1.0.conv1/weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer1.0.conv1/bias": np.float32(2.5),
    "bn/num_batches_tracked": np.int64(3),
    "empty/weight": np.zeros((0, 4), np.float32),
    "codes": np.arange(5, dtype=np.uint8),
}
EXPECTED = {name: Spec.of(array) for name, array in ARRAYS.items()}


@pytest.fixture
def path(tmp_path):
    hdf5.write(tmp_path / "f.h5", ARRAYS, {"/": {"text": "é", "names": ["a", "bc", ""], "none": "", "n": 3, "x": 0.1,
                                                     "empty": []}})
    return tmp_path / "f.h5"


def read(path, expected=EXPECTED, **options):
    with hdf5.Reader(path) as file:
        return file.read(expected, **options)


def test_arrays_and_attributes_come_back_as_they_were(path):
    arrays = read(path)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == np.asarray(array).dtype and arrays[name].shape == np.shape(array)
        assert np.array_equal(arrays[name], array)
    with hdf5.Reader(path) as file:
        assert file.attributes() == {"text": "é", "names": ["a", "bc", ""], "none": "", "n": 3, "x": 0.1, "empty": []}
        assert file.attributes("no/such/group") == {}


def test_the_same_contents_give_the_same_bytes(path, tmp_path):
    assert hdf5.encode(ARRAYS, {}) == hdf5.encode(ARRAYS, {})


def test_any_hdf5_library_reads_the_file(path):
    with h5py.File(path) as file:
        assert np.array_equal(file["layer1.0.conv1/weight"], ARRAYS["layer1.0.conv1/weight"])


def test_every_difference_is_in_one_message(path):
    expected = {**EXPECTED, "codes": Spec((6,), np.dtype(np.uint8)), "missing": Spec((), np.dtype(np.float32))}
    del expected["bn/num_batches_tracked"]
    with pytest.raises(BadInput) as caught:
        read(path, expected)
    message = str(caught.value)
    assert "missing is missing" in message
    assert "codes is uint8 (5,) instead of uint8 (6,)" in message
    assert "bn/num_batches_tracked is not of this model" in message


def test_extra_datasets_are_left_alone_when_allowed(path):
    assert list(read(path, {"codes": EXPECTED["codes"]}, allow_extra=True)) == ["codes"]


def test_a_value_that_is_not_finite_is_named(tmp_path):
    array = np.ones((2, 3), np.float32)
    array[1, 1] = np.nan
    hdf5.write(tmp_path / "f.h5", {"w": array}, {})
    with pytest.raises(BadInput, match="w holds nan at index 4"):
        read(tmp_path / "f.h5", {"w": Spec.of(array)})


# What a file may say without being refused: it changes nothing that is read.
HARMLESS = {"attribute: long", "attributes_by_the_thousand", "superblock version 00", "free-space version 09",
            "free-space version ff", "free-space version 00", "base address 0000000000000000", "end of file 09",
            "end of file 0000000000000000", "behind_a_user_block", "a_reference_as_attribute",
            *(f"attribute: {kind}" for kind in ("of variable length", "nothing", "two axes", "compound", "boolean",
                                                "complex"))}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return hostile_hdf5.corpus(tmp_path_factory.mktemp("corpus"))


def test_a_file_that_is_not_what_it_seems_is_refused(tmp_path, corpus):
    assert len(corpus) >= 60
    for name, data in corpus.items():
        (tmp_path / "f.h5").write_bytes(data)
        try:
            with hdf5.Reader(tmp_path / "f.h5") as file:
                file.attributes()
                arrays = file.read(hostile_hdf5.EXPECTED)
        except BadInput as error:
            assert "f.h5: " in str(error) and name not in HARMLESS, (name, error)
        else:
            assert name in HARMLESS, name
            assert np.array_equal(arrays["w"], np.arange(4)), name


@pytest.mark.parametrize("name, says", [
    ("soft_link", "w is a link; files with links are not read"), ("external_link", "links to other files"),
    ("external_storage", "w keeps its data in another file"), ("virtual", "w keeps its data in another file"),
    ("gzip", "w is compressed or filtered"), ("half_written", "w is damaged (holds only 1 of 2 chunks)"),
    ("contiguous_never_written", "w is damaged (holds only 0 of 16 bytes)"),
    ("big_endian", "w is >f4 (4,) instead of float32 (4,)"),
    ("texts", "w is damaged or unsupported (its type is neither a number nor a fixed-length text)"),
    ("fixed_texts", "w is |S4 (4,) instead of float32 (4,)"), ("named_type", "w is neither a group nor a dataset"),
    ("no_shape", "w is a dataset without a shape"), ("newest_form", "a newer form of HDF5 than tinyq reads"),
    ("not_a_number", "w holds nan at index 2"), ("two_axes", "w is float32 (2, 2) instead of float32 (4,)")])
def test_a_refusal_says_what_is_wrong(tmp_path, corpus, name, says):
    (tmp_path / "f.h5").write_bytes(corpus[name])
    with pytest.raises(BadInput) as caught, hdf5.Reader(tmp_path / "f.h5") as file:
        file.read(hostile_hdf5.EXPECTED)
    assert says in str(caught.value)


def compact(file, array):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    space, kind = h5py.h5s.create_simple(array.shape), h5py.h5t.py_create(array.dtype)
    h5py.h5d.create(file.id, b"compact", kind, space, properties).write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def test_what_h5py_writes_is_read_as_h5py_reads_it(tmp_path):
    rng = np.random.Generator(np.random.Philox(1))
    path = tmp_path / "f.h5"
    with h5py.File(path, "w") as file:
        for kind in ("f2", "f4", "f8", ">f4", ">f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", "?"):
            file[f"types/{kind}"] = rng.integers(0, 2 if kind == "?" else 100, (3, 5)).astype(kind)
        for chunks in ((1, 1), (2, 3), (7, 11), (3, 11)):
            file.create_dataset(f"chunks/{chunks}", data=rng.standard_normal((7, 11)), chunks=chunks)
        file["texts"], file["text"] = np.array([b"ab", b"", b"cde"]), np.bytes_(b"x" * 100_000)
        for i in range(300):
            file[f"many/{i}"] = np.full(i % 5, i)
        file.create_dataset("thousands", data=np.arange(5000), chunks=(1,))
        compact(file, np.arange(6, dtype="f4"))
        for i in range(40):
            file.attrs[f"a{i}"] = [np.bytes_(str(i)), np.float64(i), np.arange(i + 1)][i % 3]
    with hdf5.Reader(path) as file, h5py.File(path) as peer:
        arrays = file.read(file.specs())
        found = []
        peer.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        assert sorted(found) == sorted(arrays)
        for name in found:
            assert arrays[name].dtype == peer[name].dtype and arrays[name].flags.writeable
            np.testing.assert_array_equal(arrays[name], peer[name][()])
        for name, value in file.attributes().items():
            held = peer.attrs[name]
            np.testing.assert_array_equal(value, held.decode() if isinstance(held, bytes) else held)
        assert len(file.attributes()) == 40 and file.attributes("many") == {} == file.attributes("thousands")


def chunked(**options):
    with h5py.File("chunked", "w", driver="core", backing_store=False) as file:
        file.create_dataset("w", data=np.arange(4, dtype="f4"), chunks=(2,), **options)
        file.flush()
        return file.id.get_file_image()


@pytest.mark.parametrize("at, new, says", [
    (-13, b"\x03", "its chunks do not fit its shape"), (-4, b"\0\0\0\0", "its chunks do not fit its shape"),
    (4, b"\x08\0\0\0", "its chunks do not fit its shape")])
def test_a_layout_of_chunks_that_does_not_fit_is_refused(tmp_path, at, new, says):
    data = bytearray(chunked())
    sizes = data.index(struct.pack("<II", 2, 4))             # elements of a chunk, bytes of an element
    place = sizes + at if at > 0 else sizes - 9 if at == -13 else sizes
    data[place:place + len(new)] = new
    (tmp_path / "f.h5").write_bytes(data)
    with pytest.raises(BadInput, match=says):
        read(tmp_path / "f.h5", {"w": Spec((4,), np.dtype("f4"))})


@pytest.mark.parametrize("at, new", [(0, b"\x07"), (4, b"\x01"), (8, b"\x01"), (8, b"\x04"), (8, b"\xff" * 8)])
def test_a_chunk_out_of_its_place_is_refused(tmp_path, at, new):
    data = bytearray(chunked())
    leaf = data.rindex(b"TREE\x01") + 24                     # bytes of the first chunk, its filters, its corner
    data[leaf + at:leaf + at + len(new)] = new
    (tmp_path / "f.h5").write_bytes(data)
    with pytest.raises(BadInput, match="a chunk is filtered or misplaced"):
        read(tmp_path / "f.h5", {"w": Spec((4,), np.dtype("f4"))})


def test_more_parts_than_any_model_has_are_not_looked_at(tmp_path, path, monkeypatch):
    monkeypatch.setattr(hdf5_bytes, "MAX_WORK", 10)
    with pytest.raises(BadInput, match="it has more parts than any model"):
        read(path)


def test_an_attribute_that_is_there_twice_is_refused(tmp_path, path):
    data = path.read_bytes()
    (tmp_path / "f.h5").write_bytes(data.replace(b"names\0", b"text\0\0", 1))
    with hdf5.Reader(tmp_path / "f.h5") as file, pytest.raises(BadInput, match="an attribute appears twice"):
        file.attributes()


def test_attributes_kept_elsewhere_are_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w", libver=("v108", "v108")) as file:
        file.attrs["a"] = 1
    with pytest.raises(BadInput, match="a newer form of HDF5"), hdf5.Reader(tmp_path / "f.h5") as file:
        file.attributes()


def test_a_reader_may_read_again(path):
    with hdf5.Reader(path) as file:
        for _ in range(200):
            assert np.array_equal(file.read(EXPECTED)["codes"], ARRAYS["codes"])


def test_a_dataset_that_claims_more_than_the_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,))
    with hdf5.Reader(tmp_path / "f.h5") as file:
        with pytest.raises(BadInput, match="its datasets are larger than the file"):
            file.read(file.specs())
        stored, messages = file._datasets["w"]
        with pytest.raises(hdf5.Damaged, match="it is larger than the file"):
            file._bytes.values(stored, messages)


def test_thousands_of_groups_with_one_large_heap_are_not_copied_each_time(tmp_path):
    """Every group's heap claims to be the whole file."""
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for i in range(2000):
            file.create_group(f"g{i}")["d"] = np.float32(1)
        file["bytes"] = np.zeros(20 << 20, "u1")
    data = bytearray((tmp_path / "f.h5").read_bytes())
    at = data.find(b"HEAP")
    while at >= 0:
        data[at + 8:at + 16] = struct.pack("<Q", len(data) - struct.unpack("<Q", data[at + 24:at + 32])[0])
        at = data.find(b"HEAP", at + 1)
    (tmp_path / "f.h5").write_bytes(data)
    began = time.monotonic()
    with hdf5.Reader(tmp_path / "f.h5") as file:
        assert len(file.specs()) == 2001
    assert time.monotonic() - began < 5


def test_datasets_that_share_their_bytes_cannot_make_more_of_a_file_than_it_is(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["w"] = np.ones(1 << 18, "f4")
        for i in range(500):
            file[f"w{i}"] = file["w"]
    with hdf5.Reader(tmp_path / "f.h5") as file, pytest.raises(BadInput, match="are larger than the file"):
        file.read(file.specs())


def test_a_group_that_contains_itself_does_not_hang(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(BadInput, match="more groups"):
        read(tmp_path / "f.h5", {})


def test_an_attribute_that_is_no_text_of_fixed_length_nor_a_number_is_passed_over(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["long"] = "variable length text lies on a heap"
        file.attrs["nothing"], file.attrs["epoch"] = h5py.Empty("f4"), 3
    with hdf5.Reader(tmp_path / "f.h5") as file:
        assert file.attributes() == {"epoch": 3}


def test_a_filter_that_keeps_the_size_is_refused_as_well(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("w", data=np.ones(4, "f4"), chunks=(4,), fletcher32=True)    # more bytes than plain
    with pytest.raises(BadInput, match="w is compressed or filtered"):
        read(tmp_path / "f.h5", {"w": Spec((4,), np.dtype(np.float32))})


@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_what_is_no_hdf5_file_is_bad_input(tmp_path, content):
    path = tmp_path / "f.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"f\.h5"):
        hdf5.Reader(path)


def test_a_file_with_flipped_bits_is_read_or_bad_input(path, tmp_path):
    whole, rng = path.read_bytes(), np.random.Generator(np.random.Philox(0))
    outcomes = set()
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(len(whole), size=8)] ^= rng.integers(1, 256, 8).astype(np.uint8)
        (tmp_path / "damaged.h5").write_bytes(damaged.tobytes())
        try:
            with hdf5.Reader(tmp_path / "damaged.h5") as file:
                file.attributes()
                file.read(EXPECTED)
            outcomes.add("read")
        except BadInput as error:
            assert "damaged.h5" in str(error)
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_truncated_file_is_bad_input(path):
    whole = path.read_bytes()
    for length in range(100, len(whole), 500):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput):
            read(path)
