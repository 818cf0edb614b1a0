"""Recognise what killed processes left: a process holds a lock on what it writes until it ends in any way."""
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEAST_AGE = 1.0                     # seconds after which a process must hold the lock of what it writes
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def held(descriptor: int) -> Iterator[None]:
    """Hold the lock of an open file or folder during a with block, where there are locks; it may be closed within."""
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
        descriptor = os.open(path, _FLAGS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)
        finally:
            os.close(descriptor)
