"""Lock a run folder, or a file being written: the system releases a lock when its process ends in any way."""
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinyq.errors import Busy, CannotCreate
from tinyq.output.terminal import tell_once

LEAST_AGE = 1.0                     # seconds after which a process must hold the lock of what it writes
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK       # a foreign folder's .lock may be a link or a pipe


def is_locked(folder: str | Path) -> bool:
    """Return whether a run is working in this folder; writes nothing."""
    try:
        descriptor = os.open(Path(folder) / ".lock", os.O_RDONLY | _FLAGS)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:                             # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold the folder's lock during a with block; Busy where another process holds it.

    A file system without locks is reported, once, and nothing is held.
    """
    path = Path(folder) / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
    except OSError as error:
        raise CannotCreate(f"{path}: cannot be created ({error.strerror}); make the folder writable") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{folder}: another run is working in this folder; wait for it or choose another output folder"
            raise Busy(message) from None
        except OSError as error:
            tell_once(f"tinyq: {folder}: this file system has no locks ({error.strerror}); start no second run here "
                      "while this one works")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def removed_if_empty(folder: str | Path) -> Iterator[None]:
    """Remove the folder after a with block that left nothing in it but its lock."""
    try:
        yield
    finally:
        if os.path.isdir(folder) and {*os.listdir(folder)} <= {".lock"}:
            with suppress(OSError):
                Path(folder, ".lock").unlink(missing_ok=True)
                os.rmdir(folder)


@contextmanager
def held(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file or folder during a with block, if there are locks; the block may close it."""
    copy = None
    with suppress(OSError):
        copy = os.dup(descriptor)
        fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        if copy is not None:
            os.close(copy)


def remove_unless_held(path: Path) -> None:
    """Delete a file or folder that no process is writing; do nothing where that is not certain."""
    with suppress(OSError):
        if time.time() - os.lstat(path).st_mtime < LEAST_AGE:
            return
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)
        finally:
            os.close(descriptor)
