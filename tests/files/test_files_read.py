import hashlib
import os

import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5, safetensors
from tinyq.files.foreign import torch_weights
from tinyq.files.read import read_file, sha256_of


def test_a_files_hash_is_that_of_its_bytes(tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()
    with pytest.raises(OSError):
        sha256_of(tmp_path / "none")


def test_a_file_comes_whole_even_in_pieces(tmp_path, monkeypatch):
    data, read = os.urandom(1000), os.read
    (tmp_path / "f").write_bytes(data)
    assert read_file(tmp_path / "f") == data
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 77)))
    assert read_file(tmp_path / "f") == data
    (tmp_path / "empty").touch()
    assert read_file(tmp_path / "empty") == b""


def test_what_is_too_large_is_not_read(tmp_path):
    with open(tmp_path / "f", "wb") as file:
        file.truncate(1 << 40)                          # a sparse terabyte
    with pytest.raises(BadInput, match="1099511627776 bytes, more than the limit of 8589934592"):
        read_file(tmp_path / "f")


@pytest.mark.parametrize("read", [hdf5.Reader, safetensors.read, torch_weights.load])
def test_what_is_no_plain_file_is_refused_without_waiting_for_it(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(BadInput, match="is not a plain file"):
            read(path)
    with pytest.raises(BadInput, match="none: cannot be read .No such file"):
        read(tmp_path / "none")


@pytest.mark.parametrize("change", ["longer", "shorter", "other"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change):
    path, read = tmp_path / "f", os.read
    path.write_bytes(bytes(100))
    os.utime(path, (0, 0))

    def changing(descriptor, size):
        if change == "longer":
            with open(path, "ab") as file:
                file.write(b"1")
        elif change == "shorter":
            os.truncate(path, 50)
        else:
            path.write_bytes(np.ones(100, np.uint8).tobytes())
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", changing)
    with pytest.raises(BadInput, match="changed while it was read"):
        read_file(path)
