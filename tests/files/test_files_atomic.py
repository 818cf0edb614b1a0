import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from tinyq.errors import BadInput, Busy, CannotCreate, InputOutputError
from tinyq.files import atomic, journal, lock


def test_write_bytes_replaces_the_whole_file(tmp_path):
    path = tmp_path / "f"
    atomic.write_bytes(path, b"long old contents")
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_failing_call_leaves_the_old_file_and_no_temporary(tmp_path, monkeypatch, call):
    path = tmp_path / "f"
    atomic.write_bytes(path, b"old")

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputOutputError, match="No space left"):
        atomic.write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_the_file_then_the_rename_then_the_folder_reach_the_disk(tmp_path, monkeypatch):
    reached, fsync, replace = [], os.fsync, os.replace

    def note_fsync(descriptor):
        reached.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def note_replace(*paths):
        reached.append("renamed")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    atomic.write_bytes(tmp_path / "f", b"new")
    assert reached == [(tmp_path / "f").stat().st_ino, "renamed", tmp_path.stat().st_ino]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    atomic.write_bytes(tmp_path / "f", bytes(range(100)))
    assert (tmp_path / "f").read_bytes() == bytes(range(100))


def test_a_missing_folder_and_a_file_in_the_way_cannot_be_created(tmp_path):
    with pytest.raises(CannotCreate, match="cannot create"):
        atomic.write_bytes(tmp_path / "no" / "f", b"")
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreate, match="cannot create"):
        atomic.make_folder(tmp_path / "file" / "folder")


def test_numbered_folders_count_up(tmp_path):
    names = [atomic.make_numbered_folder(tmp_path / "runs", "a").name for _ in range(3)]
    assert names == ["a-001", "a-002", "a-003"]


def test_the_journal_writes_a_line_a_record_at_once(tmp_path):
    with journal.Journal(tmp_path / "j") as j:
        j.append({"loss": float("nan"), "deep": {"list": [1.5, float("inf")]}})
        assert (tmp_path / "j").read_text() == '{"loss": null, "deep": {"list": [1.5, null]}}\n'


def test_a_reopened_journal_keeps_what_the_checkpoint_counted(tmp_path):
    path = tmp_path / "j"
    with journal.Journal(path) as j:
        for i in range(4):
            j.append({"i": i})
    with path.open("a") as file:
        file.write('{"i": 4')                       # cut short by a kill
    assert len(journal.read_records(path)) == 4
    with journal.Journal(path, keep=2) as j:
        j.append({"i": "again"})
        assert j.records == 3
    assert [r["i"] for r in journal.read_records(path)] == [0, 1, "again"]
    with pytest.raises(BadInput, match="3 records where the checkpoint counts 5"):
        journal.Journal(path, keep=5)


HOLD = """
import sys, time
from tinyq.files.lock import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_busy_until_its_holder_dies(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy, match="another run"), lock.locked(tmp_path):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with lock.locked(tmp_path):
        pass


def test_json_of_a_journal_is_strict(tmp_path):
    with journal.Journal(tmp_path / "j") as j:
        j.append({"text": "é\n"})
    assert json.loads((tmp_path / "j").read_text()) == {"text": "é\n"}


def test_no_room_for_a_new_file_is_a_full_disk_not_a_wrong_folder(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "open", full)
    with pytest.raises(InputOutputError, match="no room for this file .* free some space"):
        atomic.write_bytes(tmp_path / "x", b"1")
