"""CIFAR-10 in each of its forms, and archives that are not what they seem."""
import gzip
import io
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from tinyq import data
from tinyq.data.local import archive
from tinyq.data.sources import cifar10
from tinyq.errors import BadInput
from tinyq.streams import Streams

FILES = cifar10.TRAIN_FILES + cifar10.TEST_FILES
PER_FILE = 20


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    """Twenty images a file instead of ten thousand."""
    monkeypatch.setattr(cifar10, "IMAGES_PER_FILE", PER_FILE)


def records(seed=0):
    """{file name: bytes} of a small set, and all its records."""
    rows = np.random.Generator(np.random.Philox(seed)).integers(0, 256, (6 * PER_FILE, cifar10.RECORD), np.uint8)
    rows[:, 0] = np.arange(len(rows)) % 10
    return {name: rows[k * PER_FILE:(k + 1) * PER_FILE].tobytes() for k, name in enumerate(FILES)}, rows


def write_files(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def tar_gz(path, members):
    """A .tar.gz of (TarInfo or name, bytes) pairs."""
    with tarfile.open(path, "w:gz") as file:
        for info, content in members:
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
                info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def official(contents):
    yield f"{cifar10.FOLDER}/readme.html", b"<html>"
    for name, content in contents.items():
        yield f"{cifar10.FOLDER}/{name}", content


def test_records_become_planes_and_the_last_images_validate(tmp_path):
    contents, rows = records()
    bundle = data.load("cifar10", write_files(tmp_path, contents), validation=30)
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (70, 30, 20)
    np.testing.assert_array_equal(bundle.train.images[5], rows[5, 1:].reshape(3, 32, 32))
    np.testing.assert_array_equal(bundle.validation.labels, rows[70:100, 0])
    np.testing.assert_array_equal(bundle.test.images[-1, 2, 31], rows[-1, -32:])
    assert bundle.input_shape == (3, 32, 32) and bundle.class_names[9] == "truck"
    assert data.load("cifar10", tmp_path, validation=0).validation is None


def test_files_folder_above_and_archive_are_the_same_data(tmp_path, monkeypatch):
    contents, _ = records()
    write_files(tmp_path / "a" / "cifar10" / cifar10.FOLDER, contents)
    (tmp_path / "b" / "cifar10").mkdir(parents=True)
    packed = tar_gz(tmp_path / "b" / "cifar10" / cifar10.ARCHIVE, official(contents))
    monkeypatch.setenv("TINYQ_DATA", str(tmp_path / "a"))
    manifests = [data.load("cifar10", path, validation=30).manifest
                 for path in (None, tmp_path / "a", tmp_path / "a" / "cifar10", tmp_path / "b", packed)]
    assert all(manifest == manifests[0] for manifest in manifests)


def test_augmentation_is_on_by_default_and_for_training_batches_only(tmp_path):
    contents, _ = records()
    train = data.load("cifar10", write_files(tmp_path, contents), validation=30).train
    indices = np.arange(20)
    plain, _ = train.batch(indices)
    augmented, _ = train.batch(indices, data.Draws(Streams(0), 0))
    assert (plain != augmented).any(axis=(1, 2, 3)).sum() >= 18


def test_missing_data_say_how_to_fetch_them(tmp_path):
    with pytest.raises(BadInput, match="python -m tinyq.data fetch cifar10"):
        data.load("cifar10", tmp_path)
    contents, _ = records()
    contents.pop("data_batch_4.bin")
    with pytest.raises(BadInput, match="data_batch_4.bin.*No such file.*fetch cifar10"):
        data.load("cifar10", write_files(tmp_path, contents))


@pytest.mark.parametrize("harm", [lambda b: b[:-1], lambda b: b[:-cifar10.RECORD], lambda b: b + b"x", lambda b: b""])
def test_a_file_of_another_length_is_refused(tmp_path, harm):
    contents, _ = records()
    contents["data_batch_3.bin"] = harm(contents["data_batch_3.bin"])
    with pytest.raises(BadInput, match="data_batch_3.bin.* not 61,460; the file is damaged"):
        data.load("cifar10", write_files(tmp_path, contents))


def test_a_pipe_is_not_waited_for(tmp_path):
    write_files(tmp_path, records()[0])
    (tmp_path / "data_batch_2.bin").unlink()
    os.mkfifo(tmp_path / "data_batch_2.bin")
    with pytest.raises(BadInput, match="data_batch_2.bin: is not a plain file; fetch it"):
        data.load("cifar10", tmp_path)


def test_a_label_out_of_range_is_refused(tmp_path):
    contents, _ = records()
    contents["test_batch.bin"] = b"\x0a" + contents["test_batch.bin"][1:]
    with pytest.raises(BadInput, match="test_batch.bin.*label 10 of sample 0"):
        data.load("cifar10", write_files(tmp_path, contents), validation=30)


def member(kind, name=f"{cifar10.FOLDER}/data_batch_1.bin", **fields):
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize("evil", [
    [(member(tarfile.SYMTYPE, linkname="/etc/passwd"), b"")],
    [(member(tarfile.LNKTYPE, linkname="/etc/passwd"), b"")],
    [(member(tarfile.CHRTYPE), b"")],
    [(f"{cifar10.FOLDER}/data_batch_1.bin", b"short")],
], ids=["symlink", "hardlink", "device", "size"])
def test_members_that_only_bear_the_right_name_are_refused(tmp_path, evil):
    contents, _ = records()
    contents.pop("data_batch_1.bin")
    path = tar_gz(tmp_path / "evil.tar.gz", [*evil, *official(contents)])
    with pytest.raises(BadInput, match="'cifar-10-batches-bin/data_batch_1.bin' must occur once, as a plain file"):
        data.load("cifar10", path)


def test_a_member_that_occurs_twice_is_refused(tmp_path):
    contents, _ = records()
    with pytest.raises(BadInput, match="must occur once, as a plain file"):
        data.load("cifar10", tar_gz(tmp_path / "x.tar.gz", [*official(contents), *official(contents)]))


def test_members_that_point_elsewhere_are_passed_over_and_nothing_is_written(tmp_path):
    contents, rows = records()
    link = member(tarfile.SYMTYPE, "cifar-10-batches-bin", linkname="/")
    evil = [("../../evil", b"x"), ("/tmp/evil", b"x"), (link, b"")]
    path = tar_gz(tmp_path / "x.tar.gz", [*evil, *official(contents)])
    bundle = data.load("cifar10", path, validation=30)
    np.testing.assert_array_equal(bundle.train.labels, rows[:70, 0])
    assert list(tmp_path.iterdir()) == [path]


def test_truncated_and_foreign_archives_are_refused(tmp_path):
    contents, _ = records()
    path = tar_gz(tmp_path / "x.tar.gz", official(contents))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="x.tar.gz'"):
            data.load("cifar10", path)
    contents.pop("data_batch_2.bin")
    with pytest.raises(BadInput, match="lacks data_batch_2.bin"):
        data.load("cifar10", tar_gz(path, official(contents)))


def test_an_archive_bomb_stops_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_ELSE", 1 << 20)
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        header = tarfile.TarInfo("padding")
        header.size = 1 << 40
        file.write(header.tobuf())
        for _ in range(4):
            file.write(bytes(1 << 20))
    with pytest.raises(BadInput, match="unpacks to far more"):
        data.load("cifar10", path)


def class_folders(root, train=4, test=2, shape=(32, 32)):
    for split, n in (("train", train), ("test", test)):
        for label, name in enumerate(cifar10.CLASSES):
            (root / split / name).mkdir(parents=True)
            for k in range(n):
                Image.fromarray(np.full((*shape, 3), 10 * label + k, np.uint8)).save(root / split / name / f"{k}.png")
    return root


def test_class_folders_give_arrays_and_the_last_of_each_class_validate(tmp_path):
    bundle = data.load("cifar10", class_folders(tmp_path), validation=10)
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (30, 10, 20)
    assert bundle.validation.labels.tolist() == list(range(10))
    assert bundle.validation.images[:, 0, 0, 0].tolist() == [10 * label + 3 for label in range(10)]
    assert bundle.train.images.dtype == np.uint8 and bundle.train.images.shape[1:] == (3, 32, 32)


def test_a_zip_of_class_folders_is_found_in_its_folder_where_it_is_the_only_one(tmp_path):
    class_folders(tmp_path / "images")
    shutil.make_archive(str(tmp_path / "downloads" / "cifar10-png"), "zip", tmp_path / "images")
    bundle = data.load("cifar10", tmp_path / "downloads", validation=10)
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (30, 10, 20)
    shutil.copy(tmp_path / "downloads" / "cifar10-png.zip", tmp_path / "downloads" / "cifar10-other.zip")
    with pytest.raises(BadInput, match="or one cifar.10..zip of those"):
        data.load("cifar10", tmp_path / "downloads", validation=10)


def test_images_of_another_size_and_missing_classes_are_refused(tmp_path):
    with pytest.raises(BadInput, match="train/airplane/0.png': 31 x 32 pixels, not 32 x 32"):
        data.load("cifar10", class_folders(tmp_path / "a", shape=(32, 31)))
    root = class_folders(tmp_path / "b")
    for path in (root / "test" / "truck").iterdir():
        path.unlink()
    (root / "test" / "truck").rmdir()
    with pytest.raises(BadInput, match="'test' lacks the classes 'truck'"):
        data.load("cifar10", root, validation=10)


@pytest.mark.slow
def test_the_jpeg_version_has_the_usual_constants(shared_data):
    bundle = data.load("cifar10", shared_data("cifar10-jpeg.zip"))
    assert (len(bundle.train), len(bundle.validation), len(bundle.test)) == (45000, 5000, 10000)
    assert np.bincount(bundle.validation.labels).tolist() == [500] * 10
    pixels = np.concatenate([bundle.train.images, bundle.validation.images])
    assert np.allclose(pixels.mean((0, 2, 3)) / 255, bundle.train.mean, atol=2e-4)


def pickled(contents, labels=list, key=str, protocol=2, **changes):
    """The files of the Python version with the images of those of the binary one."""
    files = {}
    for name, content in contents.items():
        rows = np.frombuffer(content, np.uint8).reshape(-1, cifar10.RECORD)
        batch = {"batch_label": "batch", "labels": labels(rows[:, 0].tolist()), "data": rows[:, 1:].copy(),
                 "filenames": [f"{k}.png" for k in range(len(rows))]} | changes
        files[name.removesuffix(".bin")] = pickle.dumps({key(name): value for name, value in batch.items()}, protocol)
    return files


def of_python(contents):
    for name, content in {"batches.meta": b"", **contents}.items():
        yield f"{cifar10.PYTHON_FOLDERS[0]}/{name}", content


@pytest.mark.parametrize("protocol, key", [(0, str), (2, str), (4, str), (2, str.encode)])
def test_the_python_version_is_the_same_data(tmp_path, protocol, key):
    contents, _ = records()
    ours = data.load("cifar10", write_files(tmp_path / "ours", contents), validation=30).manifest
    files = pickled(contents, key=key, protocol=protocol)
    write_files(tmp_path / "a" / cifar10.PYTHON_FOLDERS[0], files)
    write_files(tmp_path / "b" / cifar10.PYTHON_FOLDERS[1], files)
    (tmp_path / "c").mkdir()
    packed = tar_gz(tmp_path / "c" / cifar10.PYTHON_ARCHIVES[1], of_python(files))
    for path in (tmp_path / "a", tmp_path / "a" / cifar10.PYTHON_FOLDERS[0], tmp_path / "b", tmp_path / "c", packed):
        assert data.load("cifar10", path, validation=30).manifest == ours


class Hostile:
    """Its pickle calls a function when it is loaded."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize("changes", [
    {"labels": tuple}, {"labels": lambda labels: labels[:-1]}, {"labels": lambda labels: [300, *labels[1:]]},
    {"data": np.zeros((20, 3072))}, {"data": np.zeros((20, 3000), np.uint8)}, {"data": Hostile()}, {"data": None}])
def test_other_pickles_are_refused_and_nothing_is_run(tmp_path, capfd, changes):
    files = pickled(records()[0], **changes)
    with pytest.raises(BadInput, match="data_batch_1': not a batch of 20 images of CIFAR-10's Python version"):
        data.load("cifar10", write_files(tmp_path, files))
    assert capfd.readouterr().out == ""


def test_broken_or_missing_pickles_are_named(tmp_path):
    files = pickled(records()[0])
    write_files(tmp_path, files | {"data_batch_3": files["data_batch_3"][:99]})
    with pytest.raises(BadInput, match="data_batch_3': not readable as a batch .*: it ends too early"):
        data.load("cifar10", tmp_path)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps([1], 2))
    with pytest.raises(BadInput, match="data_batch_3': not a batch"):
        data.load("cifar10", tmp_path)
    (tmp_path / "data_batch_3").unlink()
    with pytest.raises(BadInput, match="data_batch_3: cannot be read .*; restore it"):
        data.load("cifar10", tmp_path)
    files.pop("test_batch")
    with pytest.raises(BadInput, match="lacks test_batch"):
        data.load("cifar10", tar_gz(tmp_path / "x.tar.gz", of_python(files)))
    big = files | {"test_batch": bytes(cifar10.PICKLE_BYTES + 20 * cifar10.RECORD + 1)}
    with pytest.raises(BadInput, match="as a plain file of at most"):
        data.load("cifar10", tar_gz(tmp_path / "x.tar.gz", of_python(big)))


def test_the_names_that_are_looked_for_are_listed(tmp_path):
    with pytest.raises(BadInput, match="looked for data_batch_1.bin .*cifar-10-binary.tar.gz, data_batch_1 .*"
                       "cifar-10-batches-py or cifar-10-python.tar.gz, or class folders in train and test, "
                       r"or one cifar\*10\*.zip of those; give"):
        data.load("cifar10", tmp_path)
