"""Reading a file whole, without waiting for what is no file and without more memory than was allowed."""
import hashlib
import os
import stat

from tinyq.errors import BadInput

MAX_BYTES = 8 << 30                    # of a file of weights


def read_file(path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    BadInput where it is missing, unreadable, too large, something else (a pipe would never end), or changing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return _read(descriptor, path, most)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def sha256_of(path) -> str:
    """The SHA-256 of a file of any size, hexadecimal; OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(descriptor, path, most):
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        raise BadInput(f"{path}: is no plain file")
    if before.st_size > most:
        raise BadInput(f"{path}: {before.st_size} bytes, more than the {most} that are read")
    pieces, left = [], before.st_size + 1           # one more, to see that it ends there
    while left and (piece := os.read(descriptor, left)):
        pieces.append(piece)
        left -= len(piece)
    after = os.fstat(descriptor)
    if left != 1 or (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise BadInput(f"{path}: was changed while it was read; try again")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
