"""MNIST from IDX files, whole and broken."""
import gzip
import io
import math
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tinyq import data
from tinyq.data.local import idx
from tinyq.data.sources.mnist import FILES
from tinyq.errors import BadInput

ALL = (*FILES["train"], *FILES["test"])


def idx_bytes(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_set(folder, train=60, test=10):
    """A small set of MNIST's form; returns its training images and labels."""
    rng = np.random.Generator(np.random.Philox(1))
    for (images, labels), n in zip(reversed(FILES.values()), (test, train), strict=True):
        x, y = rng.integers(0, 256, (n, 28, 28), np.uint8), (np.arange(n) % 10).astype(np.uint8)
        (folder / images).write_bytes(idx_bytes(x))
        (folder / labels).write_bytes(idx_bytes(y))
    return x, y


def test_the_last_training_images_validate(tmp_path):
    x, y = write_set(tmp_path)
    bundle = data.load("mnist", tmp_path, validation=20)
    assert bundle.input_shape == (1, 28, 28)
    np.testing.assert_array_equal(bundle.train.images[:, 0], x[:40])
    np.testing.assert_array_equal(bundle.validation.images[:, 0], x[40:])
    np.testing.assert_array_equal(bundle.validation.labels, y[40:])
    assert len(bundle.test) == 10


def test_zero_validation_folds_it_into_training(tmp_path):
    write_set(tmp_path)
    bundle = data.load("mnist", tmp_path, validation=0)
    assert len(bundle.train) == 60 and bundle.validation is None


def test_plain_and_gzipped_files_and_a_folder_above_are_the_same_data(tmp_path, monkeypatch):
    below = tmp_path / "mnist"
    below.mkdir()
    write_set(below)
    plain = data.load("mnist", below, validation=20).manifest
    for name in ALL:
        (below / f"{name}.gz").write_bytes(gzip.compress((below / name).read_bytes()))
        (below / name).unlink()
    assert data.load("mnist", tmp_path, validation=20).manifest == plain
    monkeypatch.setenv("TINYQ_DATA", str(tmp_path))
    assert data.load("mnist", validation=20).manifest == plain


def test_a_pixel_becomes_what_torchvision_makes_of_it(tmp_path):
    x, _ = write_set(tmp_path)
    got, _ = data.load("mnist", tmp_path, validation=20).train.batch(np.arange(3))
    expected = (x[:3, None].astype(np.float32) / np.float32(255) - np.float32(0.1307)) / np.float32(0.3081)
    assert got.tobytes() == expected.tobytes()


def test_missing_files_say_how_to_fetch_them(tmp_path):
    with pytest.raises(BadInput, match=r"python -m tinyq.data fetch mnist --data-path '?/"):
        data.load("mnist", tmp_path)
    write_set(tmp_path)
    (tmp_path / FILES["test"][1]).unlink()
    with pytest.raises(BadInput, match="t10k-labels.* is missing; fetch it"):
        data.load("mnist", tmp_path, validation=20)


@pytest.mark.parametrize("harm, message", [
    (lambda b: b"\x00\x00\x0d\x03" + b[4:], "starts with 00000d03, an IDX file of bytes in 3 dimensions with 00000803"),
    (lambda b: b"PK\x03\x04" + b[4:], "starts with 504b0304"),
    (lambda b: b"", "starts with , an IDX"),
    (lambda b: b[:9], "ends inside its header"),
    (lambda b: b[:-1], "only 47,039 bytes of data where its header says 47,040"),
    (lambda b: b + b"x", "more bytes of data"),
    (lambda b: b[:4] + b"\xff" * 12 + b[16:], "over the limit"),
    (lambda b: b[:4] + struct.pack(">I", 59) + b[8:-784], "59 images for the 60 labels"),
    (lambda b: b[:4] + struct.pack(">III", 60, 0, 28), "do not belong together"),
], ids=["type", "zip", "empty", "header", "short", "long", "bomb", "count", "flat"])
def test_broken_image_files_are_refused(tmp_path, harm, message):
    write_set(tmp_path)
    path = tmp_path / FILES["train"][0]
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(BadInput, match=message) as caught:
        data.load("mnist", tmp_path, validation=20)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"PK\3\4", b"\0\0\x08\3", b"\0\0\x08\3" + 3 * b"\0\0\0\1"])
def test_a_damaged_file_says_how_to_fetch_it_to_where_it_lies(tmp_path, damage):
    folder = tmp_path / "my data"
    folder.mkdir()
    for name in ("x-idx", "x-idx.gz"):
        (folder / name).write_bytes(damage)
        with pytest.raises(BadInput) as caught:
            idx.read_idx(folder / name, 3)
        assert str(caught.value).endswith(f"fetch it again: python -m tinyq.data fetch mnist --data-path '{folder}'")


@pytest.mark.parametrize("keep", [0, 5, 300, -9])
def test_truncated_gzip_is_refused(tmp_path, keep):
    write_set(tmp_path)
    path = tmp_path / FILES["train"][0]
    (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:keep])
    with pytest.raises(BadInput, match=r"train-images-idx3-ubyte.gz"):
        data.load("mnist", tmp_path, validation=20)


def test_a_flipped_bit_in_gzip_is_refused(tmp_path):
    write_set(tmp_path)
    path = tmp_path / FILES["train"][0]
    packed = bytearray(gzip.compress(path.read_bytes()))
    for position in range(20, len(packed), len(packed) // 12):
        packed[position] ^= 4
        (tmp_path / f"{path.name}.gz").write_bytes(packed)
        with pytest.raises(BadInput, match="train-images"):
            idx.read_idx(tmp_path / f"{path.name}.gz", 3)
        packed[position] ^= 4


def test_a_label_out_of_range_is_named(tmp_path):
    write_set(tmp_path)
    path = tmp_path / FILES["train"][1]
    path.write_bytes(path.read_bytes()[:-3] + b"\x0a\x00\x00")
    with pytest.raises(BadInput, match=r"train-labels.*label 10 of sample 57 is outside 0 ... 9"):
        data.load("mnist", tmp_path, validation=20)


def test_too_few_images_for_the_usual_validation_part(tmp_path):
    write_set(tmp_path)
    with pytest.raises(BadInput, match="5000 of its 60 training samples"):
        data.load("mnist", tmp_path)


def test_the_real_files_have_the_usual_constants(shared_data):
    bundle = data.load("mnist", shared_data("mnist"))
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (55000, 5000, 10000)
    pixels = np.concatenate([bundle.train.images, bundle.validation.images]).astype(np.int64)
    mean = pixels.sum() / pixels.size / 255
    std = np.sqrt((pixels * pixels).sum() / pixels.size / 255**2 - mean * mean)
    assert round(mean, 4) == bundle.train.mean[0] and round(std, 4) == bundle.train.std[0]


def bomb(path, shape):
    """A .gz of an IDX file of zeros, a thousand times smaller than what it holds."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape))
        for _ in range(math.prod(shape) >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(math.prod(shape) % (1 << 20)))


@pytest.mark.parametrize("images, labels, message", [
    ((1 << 18, 28, 28), 1 << 18, r"train-images.*claims 205,520,896 bytes of data, over the limit of .* for a file"),
    ((1 << 16, 28, 28), 10, r"train-images.*65536 images for the 10 labels"),
    ((10, 28, 28), 200 << 20, r"train-labels.*claims 209,715,200 bytes of data"),
], ids=["images", "labels that do not fit", "labels"])
def test_a_gz_of_zeros_is_not_unpacked(tmp_path, images, labels, message):
    write_set(tmp_path)
    for name, shape in zip(FILES["train"], (images, (labels,)), strict=True):
        (tmp_path / name).unlink()
        bomb(tmp_path / f"{name}.gz", shape)
    tracemalloc.start()
    with pytest.raises(BadInput, match=message):
        data.load("mnist", tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def as_torchvision(root, contents):
    (root / "MNIST" / "raw").mkdir(parents=True)
    for name, content in contents.items():
        (root / "MNIST" / "raw" / name).write_bytes(content)
        (root / "MNIST" / "raw" / f"{name}.gz").write_bytes(gzip.compress(content))
    return root


def as_kaggle(root, contents):
    for name, content in contents.items():
        (root / name.replace("-idx", ".idx")).write_bytes(content)
    return root


def as_kaggle_unpacks(root, contents):
    for name, content in contents.items():
        (root / name).mkdir()
        (root / name / name).write_bytes(content)
    return root


def plain_as_gz(root, contents):
    for name, content in contents.items():
        (root / f"{name}.gz").write_bytes(content)
    return root


def gz_as_plain(root, contents):
    for name, content in contents.items():
        (root / name).write_bytes(gzip.compress(content))
    return root


@pytest.mark.parametrize("left, path", [
    (as_torchvision, ""), (as_torchvision, "MNIST"), (as_torchvision, "MNIST/raw"),
    (as_torchvision, "MNIST/raw/train-images-idx3-ubyte"), (as_kaggle, ""), (as_kaggle_unpacks, ""), (plain_as_gz, ""),
    (gz_as_plain, "")])
def test_files_as_others_leave_them_are_the_same_data(tmp_path, left, path):
    (tmp_path / "ours").mkdir()
    write_set(tmp_path / "ours")
    contents = {name: (tmp_path / "ours" / name).read_bytes() for name in ALL}
    (tmp_path / "theirs").mkdir()
    found = data.load("mnist", left(tmp_path / "theirs", contents) / path, validation=20)
    assert found.manifest == data.load("mnist", tmp_path / "ours", validation=20).manifest


def keras(path, **changes):
    rng = np.random.Generator(np.random.Philox(1))
    arrays = {}
    for split, n in (("test", 10), ("train", 60)):
        arrays[f"x_{split}"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"y_{split}"] = (np.arange(n) % 10).astype(np.uint8)
    np.savez_compressed(path, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return path


def test_the_archive_of_keras_is_the_same_data(tmp_path):
    (tmp_path / "ours").mkdir()
    write_set(tmp_path / "ours")
    ours = data.load("mnist", tmp_path / "ours", validation=20).manifest
    archive = keras(tmp_path / "mnist.npz")
    assert data.load("mnist", tmp_path, validation=20).manifest == ours
    assert data.load("mnist", archive, validation=20).manifest == ours
    keras(archive, y_train=np.arange(60) % 10)                                  # int64 labels
    assert data.load("mnist", archive, validation=20).manifest == ours


@pytest.mark.parametrize("changes, message", [
    (dict(x_test=None), "lacks x_test; it holds y_test, x_train, y_train"),
    (dict(x_train=np.zeros((60, 28), np.uint8)), "x_train is uint8 .60, 28., not an array of whole numbers with 3"),
    (dict(x_train=np.zeros((60, 28, 28))), "x_train is float64"), (dict(x_train=np.array(["a"])), "x_train is <U1"),
    (dict(x_train=np.array([None])), "x_train holds Python objects, in a pickle, which are never read"),
    (dict(y_train=np.full(60, 300)), "values outside 0 ... 255"),
    (dict(y_train=np.full(60, -1)), "values outside"), (dict(y_train=np.full(60, 10)), "label 10 of sample 0"),
    (dict(y_train=np.arange(59) % 10), "60 images for 59 labels in x_train"),
    (dict(x_train=np.zeros((1 << 18, 28, 28), np.uint8)), "x_train claims 205,520,896 bytes, over the limit"),
])
def test_an_archive_of_other_arrays_is_refused(tmp_path, changes, message):
    with pytest.raises(BadInput, match=message):
        data.load("mnist", keras(tmp_path / "mnist.npz", **changes), validation=20)


def test_a_damaged_archive_is_refused(tmp_path):
    path = keras(tmp_path / "mnist.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    for where in (tmp_path, path):
        with pytest.raises(BadInput, match="not a readable NumPy archive"):
            data.load("mnist", where)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            header = io.BytesIO()
            np.lib.format.write_array(header, np.zeros((5,) + (28, 28) * (name[0] == "x"), np.uint8))
            archive.writestr(f"{name}.npy", header.getvalue()[:-1])
    with pytest.raises(BadInput, match="x_train has 3,919 bytes where its header says 3,920"):
        data.load("mnist", tmp_path)


def test_where_shows_what_another_program_left(tmp_path, capsys):
    from tinyq.data.__main__ import main

    assert main(["where", "mnist", "--data-path", str(tmp_path)]) == 0
    keras(tmp_path / "mnist.npz")
    assert main(["where", "mnist", "--data-path", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"mnist: {tmp_path}/mnist (missing)\nmnist: {tmp_path}/mnist.npz (there)\n"


def test_the_names_that_are_looked_for_are_listed(tmp_path):
    with pytest.raises(BadInput, match="looked for train-images-idx3-ubyte and the other three, or "
                       "train-images.idx3-ubyte, each as .gz or not, or mnist.npz; give their folder"):
        data.load("mnist", tmp_path)
