"""A file in pieces: kept when interrupted, renamed when whole."""
import errno
import os

import pytest

from tinyq.errors import CannotCreate, InputOutputError
from tinyq.files.partial import PartialFile


def test_pieces_add_up_over_several_openings_until_the_file_gets_its_name(tmp_path):
    with PartialFile(tmp_path / "x.part") as partial:
        partial.append(b"one ")
        assert partial.size == 4
    with PartialFile(tmp_path / "x.part") as partial:
        assert partial.size == 4
        partial.append(b"two")
        partial.finish(tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_bytes() == b"one two"


def test_restart_forgets_what_has_arrived(tmp_path):
    with PartialFile(tmp_path / "x.part") as partial:
        partial.append(b"wrong")
        partial.restart()
        partial.append(b"right")
    assert (tmp_path / "x.part").read_bytes() == b"right"


def test_short_writes_are_continued_and_a_full_disk_keeps_what_is_there(tmp_path, monkeypatch):
    real, left = os.write, [5]

    def write(descriptor, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(descriptor, bytes(data[:min(3, left[0])]))
        left[0] -= written
        return written

    with PartialFile(tmp_path / "x.part") as partial:
        monkeypatch.setattr(os, "write", write)
        with pytest.raises(InputOutputError, match="No space left.*the bytes received so far are kept"):
            partial.append(b"0123456789")
        assert partial.size == 5
    assert (tmp_path / "x.part").read_bytes() == b"01234"


def test_places_that_take_no_file_are_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / "none" / "x", tmp_path, tmp_path / "link"):
        with pytest.raises(CannotCreate, match="cannot be created"):
            PartialFile(path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_rename_that_fails_is_reported(tmp_path):
    (tmp_path / "taken").mkdir()
    with PartialFile(tmp_path / "x.part") as partial, pytest.raises(InputOutputError, match="taken"):
        partial.finish(tmp_path / "taken")
