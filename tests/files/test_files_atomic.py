import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from tinyq.errors import BadInput, Busy, CannotCreate, InputOutputError
from tinyq.files import atomic, journal, lines, lock


def test_write_bytes_replaces_the_whole_file(tmp_path):
    path = tmp_path / "f"
    atomic.write_bytes(path, b"long old contents")
    atomic.write_text(path, "new")
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


def test_what_the_disk_gives_back_is_compared_before_the_old_file_goes(tmp_path, monkeypatch):
    path, pread = tmp_path / "f", os.pread
    atomic.write_bytes(path, b"old")
    for wrong in (lambda piece: piece[:-1] + b"?" if piece else b"", lambda piece: piece[:-1]):
        monkeypatch.setattr(os, "pread", lambda d, size, at, wrong=wrong: wrong(pread(d, size, at)))
        with pytest.raises(InputOutputError, match=r"f: writing failed \(the bytes read back differ from byte \d"):
            atomic.write_bytes(path, bytes(range(10)))
    monkeypatch.setattr(os, "pread", lambda d, size, at: pread(d, size, at) or (b"more" if at < 12 else b""))
    with pytest.raises(InputOutputError, match="differ from byte 10 on"):
        atomic.write_bytes(path, bytes(range(10)))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


def test_a_disk_that_fails_for_good_says_the_first_reason(tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    atomic.write_bytes(tmp_path / "f", b"old")
    for call in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, call, fail)
    with pytest.raises(InputOutputError, match="writing failed .Input/output error.; the old file, if any, is intact"):
        atomic.write_bytes(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"old"
    left, = atomic.temporaries(tmp_path)
    assert left.read_bytes() == b"new"
    with pytest.raises(InputOutputError, match="cannot be deleted"):
        atomic.remove(left)


def test_a_folder_that_cannot_be_synced_is_told_of_unless_its_file_system_never_syncs_one(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(number):
        def sync(descriptor):
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)
        return sync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    atomic.write_bytes(tmp_path / "f", b"1")
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(InputOutputError, match="f: written, but its folder cannot be synced"):
        atomic.write_bytes(tmp_path / "f", b"2")
    assert (tmp_path / "f").read_bytes() == b"2"
    with pytest.raises(CannotCreate, match="new: cannot create this folder"):
        atomic.make_folder(tmp_path / "new")
    with pytest.raises(CannotCreate, match="cannot create this folder"):
        atomic.make_numbered_folder(tmp_path, "run")


def test_an_interrupted_write_leaves_no_temporary(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic.write_bytes(tmp_path / "f", b"new")
    assert os.listdir(tmp_path) == []


def test_only_our_own_temporaries_are_known_as_such(tmp_path):
    for name in (".a.h5.0123abcd.tmp", ".a.0123abcg.tmp", "a.0123abcd.tmp", ".hidden", "x.tmp", ".0123abcd.tmp"):
        (tmp_path / name).touch()
    assert atomic.temporaries(tmp_path) == [tmp_path / ".a.h5.0123abcd.tmp"]
    assert atomic.temporaries(tmp_path / "none") == []


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


def test_a_million_runs_of_one_name_are_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "range", lambda *bounds: [1], raising=False)
    atomic.make_numbered_folder(tmp_path, "a")
    with pytest.raises(CannotCreate, match="a million runs are named a"):
        atomic.make_numbered_folder(tmp_path, "a")


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
    assert len(journal.read_records(path)) == 4 and journal.read_records(path, "epoch") == []
    with journal.Journal(path, keep=2) as j:
        j.append({"i": "again"})
        assert j.records == 3
    assert [r["i"] for r in journal.read_records(path)] == [0, 1, "again"]
    with pytest.raises(BadInput, match="has 3 records, but the checkpoint counts 5"):
        journal.Journal(path, keep=5)


def test_what_a_full_disk_did_not_take_is_written_once_there_is_room(tmp_path, monkeypatch):
    write = os.write

    def full(descriptor, data):
        if len(data) < 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:4])

    with journal.Journal(tmp_path / "j") as j:
        monkeypatch.setattr(os, "write", full)
        for i in range(3):
            with pytest.raises(InputOutputError, match="j: writing failed .No space left on device.; free some space"):
                j.append({"i": i})
        monkeypatch.undo()
        assert not (tmp_path / "j").read_bytes().endswith(b"\n")
        j.append({"i": 3})
    assert [r["i"] for r in journal.read_records(tmp_path / "j")] == [0, 1, 2, 3]


def test_after_a_failed_sync_the_journal_is_written_anew(tmp_path, monkeypatch):
    fsync = os.fsync

    def fail(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with journal.Journal(tmp_path / "j") as j:
        j.append({"i": 0})
        first = (tmp_path / "j").stat().st_ino
        monkeypatch.setattr(os, "fsync", fail)
        for _ in range(2):
            with pytest.raises(InputOutputError, match="j: (sync|writ)ing failed"):
                j.sync()
        monkeypatch.setattr(os, "fsync", fsync)
        j.sync()
        assert (tmp_path / "j").stat().st_ino != first
        j.append({"i": 1})
        j.sync()
    assert [r["i"] for r in journal.read_records(tmp_path / "j")] == [0, 1]


def test_a_journal_whose_lines_were_lost_is_not_taken_for_whole(tmp_path, monkeypatch):
    fsync = os.fsync
    with journal.Journal(tmp_path / "j") as j:
        j.append({"i": 0})
        monkeypatch.setattr(os, "fsync", lambda descriptor: os.read(descriptor, 1))         # EBADF: opened to write
        with pytest.raises(InputOutputError):
            j.sync()
        monkeypatch.setattr(os, "fsync", fsync)
        for lost in (b"", bytes(9)):
            (tmp_path / "j").write_bytes(lost)
            with pytest.raises(InputOutputError, match=f"the {len(lost)} bytes on the disk differ from the 9 bytes"):
                j.sync()
        (tmp_path / "j").unlink()
        with pytest.raises(InputOutputError, match="No such file"):
            j.sync()


def test_lines_that_are_no_records_are_left_out_with_a_line(tmp_path, capsys):
    whole = b'{"record": "epoch"}\n'
    junk = [b"\0\0\0\n", b"[" * 100_000 + b"\n", b"\xff\n", b"3\n", b"[]\n", b'{"record": 3}\n', b"\n"]
    (tmp_path / "j").write_bytes(whole.join([*junk, b""]) + b'{"rec')
    assert journal.read_records(tmp_path / "j") == [{"record": "epoch"}] * len(junk)
    assert capsys.readouterr().err == f"tinyq: {tmp_path}/j: damaged lines are left out: 7, the first is line 1\n"


def test_a_journal_that_cannot_be_opened_cannot_be_created(tmp_path, monkeypatch):
    opened = os.open

    def refuse(path, flags, *mode):
        if flags & os.O_APPEND:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(CannotCreate, match="j: cannot be opened for writing"):
        journal.Journal(tmp_path / "j")


def test_a_lock_that_cannot_be_made_is_told_of(tmp_path):
    with pytest.raises(CannotCreate, match=r"\.lock: cannot be created"), lock.locked(tmp_path / "none"):
        pass


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
        assert lock.is_locked(tmp_path)
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    assert not lock.is_locked(tmp_path)
    with lock.locked(tmp_path):
        pass


def test_a_folder_without_a_lock_is_not_locked(tmp_path):
    assert not lock.is_locked(tmp_path) and not lock.is_locked(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_locked_nothing_is(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    assert not lock.is_locked(tmp_path)


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_reported_once_and_used(tmp_path, monkeypatch, capsys, reason):
    def refuse(descriptor, operation):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    for _ in range(2):
        with lock.locked(tmp_path):
            (tmp_path / "x").write_bytes(b"1")
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{tmp_path}: this file system has no locks ({os.strerror(reason)})" in said


def test_advice_that_the_system_does_not_take_stops_no_write(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(atomic.os, "posix_fadvise", refuse)
    atomic.write_bytes(tmp_path / "x", b"1")
    monkeypatch.delattr(atomic.os, "posix_fadvise")
    atomic.write_bytes(tmp_path / "y", b"2")
    assert ((tmp_path / "x").read_bytes(), (tmp_path / "y").read_bytes()) == (b"1", b"2")


def test_json_of_a_journal_is_strict(tmp_path):
    with journal.Journal(tmp_path / "j") as j:
        j.append({"text": "é\n"})
    assert json.loads((tmp_path / "j").read_text()) == {"text": "é\n"}


def test_no_room_for_a_new_file_is_a_full_disk_not_a_wrong_folder(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "open", full)
    with pytest.raises(InputOutputError, match="the disk is full .* free some space"):
        atomic.write_bytes(tmp_path / "x", b"1")


@pytest.mark.parametrize("target", ["file", "nowhere"])
def test_no_write_goes_through_a_link(tmp_path, target):
    (tmp_path / "file").write_bytes(b"one")
    (tmp_path / "link").symlink_to(tmp_path / target)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(CannotCreate, match="link: is a link"):
        atomic.write_bytes(tmp_path / "link", b"two")
    with pytest.raises(CannotCreate, match="link: is a link"):
        journal.Journal(tmp_path / "link")
    assert (tmp_path / "file").read_bytes() == b"one" and sorted(os.listdir(tmp_path)) == before


def test_a_hard_link_keeps_its_contents_where_the_other_name_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"one")
    os.link(tmp_path / "file", tmp_path / "other")
    with journal.Journal(tmp_path / "other") as j:
        j.append({"two": 2})
    assert (tmp_path / "file").read_bytes() == b"one"


def test_a_link_that_appears_while_a_file_is_opened_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"one")
    write = lines.write_bytes

    def replaced(path, data):
        write(path, data)
        path.unlink()
        path.symlink_to(tmp_path / "file")

    monkeypatch.setattr(lines, "write_bytes", replaced)
    with pytest.raises(CannotCreate, match="cannot be opened for writing"):
        lines.Lines(tmp_path / "j")
    assert (tmp_path / "file").read_bytes() == b"one"


def test_a_lock_is_no_link_and_a_pipe_in_its_place_blocks_nobody(tmp_path):
    (tmp_path / ".lock").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CannotCreate, match=r"\.lock: cannot be created"), lock.locked(tmp_path):
        pass
    assert not lock.is_locked(tmp_path) and not (tmp_path / "nowhere").exists()
    (tmp_path / ".lock").unlink()
    os.mkfifo(tmp_path / ".lock")
    assert not lock.is_locked(tmp_path)


def test_a_device_is_left_alone(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CannotCreate, match="pipe: exists and is not a plain file"):
        atomic.write_bytes(tmp_path / "pipe", b"one")
    with pytest.raises(CannotCreate, match="not a plain file"):
        atomic.write_bytes(tmp_path, b"one")
    assert (tmp_path / "pipe").is_fifo()
