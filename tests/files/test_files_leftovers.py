"""What killed processes left is deleted by the next write of the same file or folder, and nothing else is."""
import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from tinyq.errors import CannotCreate, InputOutputError
from tinyq.files import atomic, file_group, lock

KILLED = """
import os, signal, sys
from tinyq.files import atomic, file_group
sync, os.fsync = os.fsync, lambda descriptor: os.kill(os.getpid(), getattr(signal, sys.argv[3]))
if sys.argv[1] == "file":
    atomic.write_bytes(sys.argv[2], b"new")
else:
    file_group.write_files(sys.argv[2], {"a": "1", "b": "2"})
"""


def start(kind, target, sign="SIGKILL"):
    return subprocess.Popen([sys.executable, "-c", KILLED, kind, str(target), sign])


def write(kind, target):
    if kind == "file":
        atomic.write_bytes(target, b"newer")
    else:
        file_group.write_files(target, {"a": "3", "b": "4"})


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_deleted_by_the_next_write(tmp_path, monkeypatch, kind):
    assert start(kind, tmp_path / "x").wait() == -signal.SIGKILL
    left, = atomic.temporaries(tmp_path)
    (tmp_path / ".y.01234567.tmp").touch()                              # another file's
    (tmp_path / ".x.notours.tmp").touch()
    monkeypatch.setattr(lock, "LEAST_AGE", 0)
    write(kind, tmp_path / "x")
    assert sorted(os.listdir(tmp_path)) == [".x.notours.tmp", ".y.01234567.tmp", "x"] and not left.exists()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_process_is_writing_stays(tmp_path, monkeypatch, kind):
    writing = start(kind, tmp_path / "x", "SIGSTOP")
    try:
        os.waitid(os.P_PID, writing.pid, os.WSTOPPED | os.WNOWAIT)
        left, = atomic.temporaries(tmp_path)
        monkeypatch.setattr(lock, "LEAST_AGE", 0)
        write(kind, tmp_path / "x")
        assert left.exists()
    finally:
        writing.kill()
        writing.wait()


def test_what_is_new_stays_for_its_writer_may_not_have_locked_it(tmp_path):
    (tmp_path / ".x.01234567.tmp").touch()
    atomic.write_bytes(tmp_path / "x", b"1")
    assert len(atomic.temporaries(tmp_path)) == 1
    os.utime(tmp_path / ".x.01234567.tmp", (0, time.time() - 2))
    atomic.write_bytes(tmp_path / "x", b"1")
    assert atomic.temporaries(tmp_path) == []


def refuse(number):
    def call(*arguments, **options):
        raise OSError(number, os.strerror(number))
    return call


def test_without_locks_or_lists_nothing_is_deleted_and_all_is_written(tmp_path, monkeypatch):
    (tmp_path / ".x.01234567.tmp").touch()
    monkeypatch.setattr(lock, "LEAST_AGE", -1)
    monkeypatch.setattr(lock.fcntl, "flock", refuse(errno.ENOLCK))
    write("file", tmp_path / "x")
    monkeypatch.setattr(os, "listdir", refuse(errno.EACCES))
    write("file", tmp_path / "x")
    assert (tmp_path / ".x.01234567.tmp").exists() and (tmp_path / "x").read_bytes() == b"newer"


def test_a_folder_that_exists_keeps_its_other_files(tmp_path):
    (tmp_path / "main.c").write_text("mine")
    write("folder", tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"main.c": "mine", "a": "3", "b": "4"}


@pytest.mark.parametrize("call, error, says", [
    ("mkdir", CannotCreate, "x: cannot create this folder"), ("replace", InputOutputError, "x/a: writing failed")])
def test_a_folder_that_cannot_be_written_is_not_there(tmp_path, monkeypatch, call, error, says):
    monkeypatch.setattr(os, call, refuse(errno.EIO))
    with pytest.raises(error, match=says):
        write("folder", tmp_path / "x")
    monkeypatch.undo()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("raised", [OSError(errno.EIO, "?"), KeyboardInterrupt("x: writing failed")])
def test_a_folder_that_cannot_get_its_name_is_not_there(tmp_path, monkeypatch, raised):
    replace = os.replace

    def refuses_folders(source, target):
        if os.path.isdir(source):
            raise raised
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuses_folders)
    with pytest.raises((KeyboardInterrupt, InputOutputError), match="x: writing failed"):
        write("folder", tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_a_process_with_no_more_descriptors_locks_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "dup", refuse(errno.EMFILE))
    write("folder", tmp_path / "x")
    assert sorted(os.listdir(tmp_path / "x")) == ["a", "b"]


def test_a_file_of_a_folder_that_cannot_be_written_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refuse(errno.ENOSPC))
    with pytest.raises(InputOutputError, match="b: writing failed|a: writing failed"):
        write("folder", tmp_path / "x")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "x").touch()
    with pytest.raises(CannotCreate, match="x: cannot create this folder"):
        write("folder", tmp_path / "x")


OLD = {"a": "1", "main.c": "mine"}


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path):
    for name, text in OLD.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def refuse_to_replace(monkeypatch, target, error):
    """Let os.replace fail once, for this target."""
    replace, left = os.replace, [error]

    def fails(source, where):
        if where == target and left:
            raise left.pop()
        replace(source, where)

    monkeypatch.setattr(os, "replace", fails)


@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize("error, raised", [(OSError(errno.EIO, "failed"), InputOutputError),
                                           (KeyboardInterrupt(), KeyboardInterrupt)], ids=["error", "interrupt"])
def test_a_folder_that_exists_gets_all_files_or_keeps_all_it_had(folder, monkeypatch, name, error, raised):
    refuse_to_replace(monkeypatch, folder / name, error)
    with pytest.raises(raised):
        file_group.write_files(folder, {"b": "2", "a": "3", "c": "4"})
    assert contents(folder) == OLD
    file_group.write_files(folder, {"b": "2", "a": "3", "c": "4"})
    assert contents(folder) == {"b": "2", "a": "3", "c": "4", "main.c": "mine"}


def test_where_the_system_has_no_hard_links_the_old_files_are_copied(folder, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    refuse_to_replace(monkeypatch, folder / "b", OSError(errno.EIO, "failed"))
    with pytest.raises(InputOutputError, match="writing failed"):
        file_group.write_files(folder, {"a": "3", "b": "4"})
    assert contents(folder) == OLD


def test_a_link_or_a_folder_in_the_place_of_one_file_leaves_all_as_they_were(folder):
    (folder / "b").mkdir()
    with pytest.raises(CannotCreate, match="b: exists and is not a plain file"):
        file_group.write_files(folder, {"a": "3", "b": "4"})
    assert (folder / "a").read_text() == "1" and sorted(os.listdir(folder)) == ["a", "b", "main.c"]


@pytest.mark.parametrize("number, error, says", [(errno.EACCES, CannotCreate, "cannot create this folder"),
                                                 (errno.ENOSPC, InputOutputError, "the disk is full")])
def test_a_folder_without_room_for_the_new_files_stays_as_it_was(folder, monkeypatch, number, error, says):
    with monkeypatch.context() as patch, pytest.raises(error, match=says):
        patch.setattr(os, "mkdir", refuse(number))
        file_group.write_files(folder, {"a": "3"})
    assert contents(folder) == OLD


NESTED = {"a": "3", "examples/b/c": "4", "examples/d": b"5"}


def everything(folder):
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else "" for path in folder.rglob("*")}


def test_files_are_written_into_subfolders_of_a_new_folder_and_of_an_old_one(tmp_path, folder):
    made = {"a": "3", "examples": "", "examples/b": "", "examples/b/c": "4", "examples/d": "5"}
    file_group.write_files(folder, NESTED)
    assert everything(folder) == OLD | made
    file_group.write_files(tmp_path / "new", NESTED)
    assert everything(tmp_path / "new") == made


@pytest.mark.parametrize("name", ["examples/b/c", "examples/d"])
def test_a_failure_in_a_subfolder_removes_the_subfolders_that_were_made(folder, monkeypatch, name):
    with monkeypatch.context() as patch, pytest.raises(InputOutputError):
        refuse_to_replace(patch, folder / name, OSError(errno.EIO, "failed"))
        file_group.write_files(folder, NESTED)
    assert everything(folder) == OLD
    (folder / "examples").mkdir()
    (folder / "examples" / "d").write_text("mine")
    with monkeypatch.context() as patch, pytest.raises(InputOutputError):
        refuse_to_replace(patch, folder / name, OSError(errno.EIO, "failed"))
        file_group.write_files(folder, NESTED)
    assert everything(folder) == OLD | {"examples": "", "examples/d": "mine"}


def test_a_subfolder_that_cannot_be_made_leaves_all_as_it_was(folder, monkeypatch):
    make = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, *rest: refuse(errno.EACCES)() if path == folder / "examples"
                        else make(path, *rest))
    with pytest.raises(InputOutputError):
        file_group.write_files(folder, NESTED)
    assert everything(folder) == OLD


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_what_is_no_folder_in_the_place_of_a_subfolder_is_refused(tmp_path, folder, kind):
    if kind == "file":
        (folder / "examples").write_text("mine")
    else:
        (folder / "examples").symlink_to(tmp_path if kind == "link" else "nowhere")
    with pytest.raises(CannotCreate, match="examples: exists and is not a plain folder"):
        file_group.write_files(folder, NESTED)
    assert (folder / "a").read_text() == "1"
