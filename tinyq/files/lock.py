"""One run a folder: an advisory lock that the system drops when its holder dies, however it dies."""
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path

from tinyq.errors import Busy, CannotCreate


def is_locked(folder) -> bool:
    """Whether a run is working in this folder; nothing is written."""
    try:
        descriptor = os.open(Path(folder) / ".lock", os.O_RDONLY | os.O_CLOEXEC)
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
def locked(folder):
    """Hold the folder's lock for the length of a with block; Busy (exit 75) when another process has it."""
    path = Path(folder) / ".lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise CannotCreate(f"{path}: cannot be created ({error.strerror}); make the folder writable") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{folder}: another run is working in this folder; wait for it or choose another --output"
            raise Busy(message) from None
        yield
    finally:
        os.close(descriptor)
