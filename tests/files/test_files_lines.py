"""A file of lines that only grows, and what a kill or a full disk leaves of it."""
import os

import pytest

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.lines import Lines, read_lines


def test_what_was_added_is_there_at_once(tmp_path):
    lines = Lines(tmp_path / "f", b"kept\n")
    lines.add(b"one\n")
    assert read_lines(tmp_path / "f") == [b"kept\n", b"one\n"]
    lines.add(b"two\n")
    lines.sync()
    assert (tmp_path / "f").read_bytes() == b"kept\none\ntwo\n"
    lines.close()


def test_a_line_cut_short_is_not_read(tmp_path):
    (tmp_path / "f").write_bytes(b"one\ntw")
    assert read_lines(tmp_path / "f") == [b"one\n"]


def test_a_missing_file_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_lines(tmp_path / "none")


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(CannotCreate, match="cannot create"):
        Lines(tmp_path / "none" / "f")


def test_a_file_that_cannot_be_opened_is_told(tmp_path, monkeypatch):
    real = os.open

    def refuse_to_append(path, flags, *mode, **where):
        if flags & os.O_APPEND:
            raise OSError(24, "Too many open files")
        return real(path, flags, *mode, **where)

    monkeypatch.setattr(os, "open", refuse_to_append)
    with pytest.raises(CannotCreate, match="Too many open files"):
        Lines(tmp_path / "f")


@pytest.mark.parametrize("failing", ["write", "fsync"])
def test_a_full_disk_is_told(tmp_path, monkeypatch, failing):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    lines = Lines(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(InputOutputError, match="free some space"):
            lines.add(b"one\n")
            lines.sync()
    lines.close()


def test_a_short_write_is_told(tmp_path, monkeypatch):
    lines = Lines(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
        with pytest.raises(InputOutputError, match="disk full"):
            lines.add(b"one\n")
    lines.close()
