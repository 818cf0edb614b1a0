"""Read a whole file without blocking on pipes and without exceeding a size limit."""
import hashlib
import os
import stat
from pathlib import Path

from tinyq.errors import BadInput

MAX_BYTES = 8 << 30                    # of a weight file


def read_file(path: str | Path, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the bytes of a regular file.

    BadInput where it is missing, unreadable, larger than max_bytes, not a regular file (a pipe would never end), or
    changing.
    """
    return _opened(path, lambda descriptor: _read(descriptor, path, max_bytes))


def read_start(path: str | Path, count: int) -> bytes:
    """Return the first `count` bytes of a regular file, fewer where it is shorter; BadInput as read_file."""
    def read(descriptor):
        _check_plain(os.fstat(descriptor), path)
        return os.read(descriptor, count)

    return _opened(path, read)


def sha256_of(path: str | Path) -> str:
    """Return the hexadecimal SHA-256 of a file of any size; OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opened(path, read):
    """Return what `read` makes of an open file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return read(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def _check_plain(status, path):
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{path}: is not a plain file")


def _read(descriptor, path, max_bytes):
    before = os.fstat(descriptor)
    _check_plain(before, path)
    if before.st_size > max_bytes:
        raise BadInput(f"{path}: {before.st_size} bytes, more than the limit of {max_bytes}")
    pieces, left = [], before.st_size + 1           # one more byte, to detect growth
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    after = os.fstat(descriptor)
    if left != 1 or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise BadInput(f"{path}: changed while it was read; try again")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
