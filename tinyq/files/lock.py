"""Lock a run folder: the system releases the lock when the process that holds it ends in any way."""
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinyq.errors import Busy, CannotCreate
from tinyq.output.terminal import tell_once

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
