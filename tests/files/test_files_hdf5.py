import h5py
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5
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


def soft_link(file, secret):
    file["w"] = h5py.SoftLink("/elsewhere")


def external_link(file, secret):
    file["w"] = h5py.ExternalLink(str(secret), "w")


def external_storage(file, secret):
    file.create_dataset("w", (4,), "f4", external=[(str(secret), 0, 16)])


def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "w", (4,))
    file.create_virtual_dataset("w", layout)


def compressed(file, secret):
    file.create_dataset("w", data=np.ones(4, "f4"), compression="gzip")


def never_written(file, secret):
    file.create_dataset("w", (4,), "f4", chunks=(2,))


def big_endian(file, secret):
    file["w"] = np.ones(4, ">f4")


def text(file, secret):
    file.create_dataset("w", (4,), h5py.string_dtype())


def huge(file, secret):
    file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,))


def named_type(file, secret):
    file["w"] = np.dtype("f4")


def no_shape(file, secret):
    file["w"] = h5py.Empty("f4")


def time(file, secret):
    h5py.h5d.create(file.id, b"w", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((4,)))


@pytest.mark.parametrize("plant", [soft_link, external_link, external_storage, virtual, compressed, never_written,
                                   big_endian, text, huge, named_type, no_shape, time],
                         ids=lambda plant: plant.__name__)
def test_a_file_that_is_not_what_it_seems_is_refused(tmp_path, plant):
    secret = tmp_path / "secret.h5"
    hdf5.write(secret, {"w": np.ones(4, np.float32)}, {})
    with h5py.File(tmp_path / "f.h5", "w") as file:
        plant(file, secret)
    with pytest.raises(BadInput, match="w "):
        read(tmp_path / "f.h5", {"w": Spec((4,), np.dtype(np.float32))})


def test_a_group_that_contains_itself_does_not_hang(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(BadInput, match="more groups"):
        read(tmp_path / "f.h5", {})


def test_an_attribute_that_is_no_text_or_number_is_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["long"] = "variable length text lies on a heap"
    with hdf5.Reader(tmp_path / "f.h5") as file, pytest.raises(BadInput, match="attribute long"):
        file.attributes()


def test_a_filter_that_keeps_the_size_is_refused_as_well(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("w", data=np.ones(4, "f4"), chunks=(4,), fletcher32=True)    # more bytes than plain
    with pytest.raises(BadInput, match="w is compressed or filtered"):
        read(tmp_path / "f.h5", {"w": Spec((4,), np.dtype(np.float32))})


def test_an_attribute_of_nothing_is_refused(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["nothing"] = h5py.Empty("f4")
    with hdf5.Reader(tmp_path / "f.h5") as file, pytest.raises(BadInput, match="attribute nothing is neither"):
        file.attributes()


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError])
def test_whatever_h5py_raises_for_a_damaged_file_is_bad_input(path, monkeypatch, kind):
    def refuse(image):
        raise kind("truncated")

    monkeypatch.setattr(h5py.h5f, "open_file_image", refuse)
    with pytest.raises(BadInput, match=r"f\.h5: not an HDF5 file, or damaged"):
        hdf5.Reader(path)


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
