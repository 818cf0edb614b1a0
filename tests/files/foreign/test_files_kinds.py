"""Files of weights are known by their content, and other files are named as what they are."""
import gzip
import io
import pickle
import tarfile
import zipfile

import h5py
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5, safetensors, weights
from tinyq.files.foreign import kinds, opening

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def zipped(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def tarred(**members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.mark.parametrize("data, said", [
    (b"", "is empty; its download"),
    (b"<!DOCTYPE html><html>404</html>", "is a web page"), (b"\xef\xbb\xbf\n <HTML>", "is a web page"),
    (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 46830571\n", "is a Git LFS pointer.*lfs pull"),
    (gzip.compress(b"x"), "is compressed with gzip"), (b"BZh9", "bzip2"), (b"\xfd7zXZ\0", "xz"),
    (b"(\xb5/\xfd", "zstd"),
    (b"7z\xbc\xaf'\x1c", "7z archive"), (b"Rar!\x1a\x07", "RAR archive"), (b"\x93NUMPY\x01\0", "a NumPy array"),
    (b"GGUF\3\0\0\0", "a GGUF file"), (b"\x1c\0\0\0TFL3", "a TensorFlow Lite network"),
    (b"\x08\x08\x12\x07pytorch", "a network .* such as ONNX"), (b"\x08\x07:\x05graph", "such as ONNX"),
    (b"\x08\x01\x12\xff", "a TensorFlow SavedModel"), (b"\x0a\x07layer\xff\xfe", "of a kind that .* are 0a 07 6c 61"),
    (b'{"metadata": {"total_size": 1}}', "is a JSON text"),
    (b"Not Found", "a text that begins with 'Not Found'"), (b"curl: (22) error\n", "is a text that begins with 'curl"),
    (zipped("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"), "a TorchScript archive, which holds a program"),
    (zipped("m/data.pkl", "m/code/__torch__.py"), "a TorchScript archive"),
    (zipped("config.json", "metadata.json", "model.weights.h5"), "a Keras archive"),
    (zipped("m/archive_format", "m/data/weights/model.pt"), "an archive of torch.export"),
    (zipped("a.npy", "b.npy"), "a NumPy archive"), (zipped(), "a zip archive of nothing"),
    (zipped("a.pth", "b.txt", "c", "d"), r"a zip archive of a.pth, b.txt, c \.\.\.; unpack it"),
    (zipped("README"), "a zip archive of README; unpack it"), (b"PK\x03\x04cut", "not readable as PyTorch"),
    (tarred(README=b"x"), "a tar archive without sys_info, storages, tensors, pickle, so not of PyTorch; unpack it"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_holds_no_weights_is_named(tmp_path, data, said):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(BadInput, match=said):
        opening.open_weights(tmp_path / "a.pth")


@pytest.mark.parametrize("data", [pickle.dumps({"w": VALUES}, protocol) for protocol in (0, 1, 2, 4)])
def test_a_plain_pickle_of_arrays_is_read(tmp_path, data):
    (tmp_path / "a.bin").write_bytes(data)
    np.testing.assert_array_equal(opening.open_weights(tmp_path / "a.bin").read("")["w"], VALUES)


@pytest.mark.parametrize("suffix", [".pth", ".tar", ".ckpt", ".h5", ""])
def test_a_suffix_says_nothing(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    safetensors.write(path, {"w": VALUES})
    assert opening.open_weights(path).kind == kinds.SAFETENSORS
    hdf5.write(path, {"w": VALUES}, {})
    assert opening.open_weights(path).kind == kinds.HDF5
    path.write_bytes(pickle.dumps({"w": VALUES}))
    assert opening.open_weights(path).kind == kinds.TORCH
    weights.write(path, weights.Weights({"w": VALUES}))
    assert opening.open_weights(path).kind == opening.TINYQ and opening.open_weights(path).read("") == {}


def test_what_is_no_plain_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not a plain file"):
        kinds.kind_of(tmp_path)


def h5(path, change=lambda array: array, file=None, attributes=None, **others):
    with h5py.File(path, "w", **(file or {})) as target:
        target["layer1/0/w"] = change(VALUES)
        for name, value in others.items():
            target[name] = value
        for name, value in (attributes or {}).items():
            target.attrs[name] = value
    return path


@pytest.mark.parametrize("options", [
    {"change": lambda array: array.astype("f8")}, {"change": lambda array: array.astype("f2")},
    {"change": lambda array: array.astype(">f4")}, {"change": lambda array: array.astype("i4")},
    *({"file": {"userblock_size": 512 << k}} for k in range(4)),
    {"attributes": {"author": "me", "epoch": 3, "trained": True, "mean": np.arange(3.0), "note": h5py.Empty("f"),
                    "layer_names": [b"a", b"b"], "matrix": np.ones((2, 2)), "kind": np.bytes_("x")}},
    {"comment": "text", "texts": np.array([b"a"]), "empty": h5py.Empty("f4"), "pairs": np.zeros(2, "f4,i4")},
], ids=str)
def test_hdf5_as_others_write_it(tmp_path, options):
    file = opening.open_weights(h5(tmp_path / "a.h5", **options))
    found = file.read("")
    assert file.names == {"": ["layer1.0.w"]} and found["layer1.0.w"].dtype in (np.float32, np.int64)
    np.testing.assert_array_equal(found["layer1.0.w"], VALUES)


def test_attributes_with_a_type_of_their_own_are_passed_over(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"], file["kind"] = VALUES, np.dtype("f4")
        file.attrs.create("shared", 1.0, dtype=file["kind"])
        file.attrs["own"] = 2
    assert hdf5.Reader(tmp_path / "a.h5", foreign=True).attributes() == {"own": 2}
    assert opening.open_weights(tmp_path / "a.h5").names == {"": ["w"]}


def test_of_a_whole_keras_model_the_weights_are_taken(tmp_path):
    hdf5.write(tmp_path / "a.h5", {"model_weights/fc/fc/kernel:0": VALUES, "optimizer_weights/m": VALUES}, {})
    assert opening.open_weights(tmp_path / "a.h5").names == {"model_weights": ["fc.fc.kernel:0"]}


def test_what_is_wrong_with_many_datasets_is_said_of_three(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(9):
            file.create_dataset(f"w{k}", data=VALUES, compression="gzip")
    with pytest.raises(BadInput) as caught:
        opening.open_weights(tmp_path / "a.h5").read("")
    assert str(caught.value).count("is compressed or filtered (h5repack -f NONE undoes that)") == 3
    assert str(caught.value).endswith("; likewise 6 other datasets")


def test_hdf5_without_numbers_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"] = "only"
    with pytest.raises(BadInput, match="holds no datasets of numbers"):
        opening.open_weights(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes(bytes(600) + b"\x89HDF\r\n\x1a\n")         # not where a signature can be
    assert kinds.find_signature((tmp_path / "a.h5").read_bytes()) is None
