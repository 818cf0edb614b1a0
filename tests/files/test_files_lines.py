"""A file of lines that only grows, and what a kill or a full disk leaves of it."""
import os
import stat

import pytest

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files import lines as lines_module
from tinyq.files.lines import Lines, lines_of


def read_lines(path):
    return list(lines_of(path))


def test_what_was_added_is_there_at_once(tmp_path):
    (tmp_path / "f").write_bytes(b"kept\nand more")
    lines = Lines(tmp_path / "f", 5)
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


def full(*arguments):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("failing, says", [("write", "free some space"), ("fsync", "check this disk")])
def test_a_full_disk_is_told(tmp_path, monkeypatch, failing, says):
    lines = Lines(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(InputOutputError, match=says):
            lines.add(b"one\n")
            lines.sync()
    lines.close()


def test_what_the_disk_refused_waits_and_is_written_in_order(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"kept\n")
    lines, write = Lines(tmp_path / "f", 5), os.write

    def short(descriptor, data):
        return write(descriptor, data[:1]) if len(data) > 5 else full()

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        for line in (b"one\n", b"two\n"):
            with pytest.raises(InputOutputError, match="free some space"):
                lines.add(line)
    assert lines.waiting == 5 and read_lines(tmp_path / "f") == [b"kept\n"]
    lines.add(b"three\n")
    assert lines.waiting == 0 and (tmp_path / "f").read_bytes() == b"kept\none\ntwo\nthree\n"
    lines.close()


@pytest.mark.parametrize("room", [True, False])
def test_what_waits_is_written_at_the_end_if_there_is_room_by_then(tmp_path, monkeypatch, room):
    lines = Lines(tmp_path / "f")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(InputOutputError):
            lines.add(b"one\n")
        if not room:
            lines.close()
    if room:
        lines.close()
    assert (tmp_path / "f").read_bytes() == b"one\n" * room


def test_after_two_faults_the_lines_go_to_the_file_again(tmp_path, monkeypatch):
    """A sync fails, then that of the folder after the file was written anew: the new file is the one to go on with."""
    lines, fsync = Lines(tmp_path / "f"), os.fsync
    lines.add(b"one\n")
    for faulty in (stat.S_ISREG, stat.S_ISDIR):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda d, is_one=faulty: full() if is_one(os.fstat(d).st_mode) else fsync(d))
            with pytest.raises(InputOutputError):
                lines.sync()
    lines.add(b"two\n")
    lines.sync()
    lines.close()
    assert read_lines(tmp_path / "f") == [b"one\n", b"two\n"]


def test_lines_are_read_from_a_place_on_and_an_endless_one_is_refused(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"one\ntwo\nthree\n")
    assert list(lines_of(tmp_path / "f", 4)) == [b"two\n", b"three\n"]
    monkeypatch.setattr(lines_module, "MAX_LINE", 4)
    with pytest.raises(BadInput, match="a line is longer than"):
        read_lines(tmp_path / "f")


def test_a_file_that_cannot_be_cut_is_left_as_it_was(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(5, "Input/output error")

    (tmp_path / "f").write_bytes(b"kept\nmore\n")
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(InputOutputError, match="cannot be appended to"):
        Lines(tmp_path / "f", 5)
    assert (tmp_path / "f").read_bytes() == b"kept\nmore\n"


def test_a_file_with_another_name_is_continued_as_a_copy(tmp_path):
    (tmp_path / "other").write_bytes(b"one\ntwo\n")
    os.link(tmp_path / "other", tmp_path / "j")
    opened = Lines(tmp_path / "j", keep=4)
    opened.add(b"three\n")
    opened.close()
    assert (tmp_path / "j").read_bytes() == b"one\nthree\n" and (tmp_path / "other").read_bytes() == b"one\ntwo\n"
