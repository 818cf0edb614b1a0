"""Files that are either the old ones or the new ones, whatever happens: a crash, a full disk, a power cut.

Everything tinyq writes goes through this package; nothing is ever written in place.
"""
import errno
import os
import secrets
from pathlib import Path

from tinyq.errors import CannotCreate, InputOutputError


def write_bytes(path, data) -> None:
    """Replace the file at `path` by `data` (bytes-like), all of it or nothing.

    A temporary file in the same folder is written, synced and renamed over `path`, then the folder is synced.
    Raises CannotCreate when the folder takes no new file, InputOutputError when writing fails half way
    (the old file is then still there, untouched).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = _create(temporary, path)
    try:
        try:
            _write_all(descriptor, memoryview(data).cast("B"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputOutputError(f"{path}: writing failed ({error.strerror}); the old file, if any, is intact; "
                               "free some space") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path, text: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


def remove(path) -> None:
    """Delete a file that may be gone already; InputOutputError when the folder does not allow it."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be deleted ({error.strerror})") from error


def make_folder(path) -> Path:
    """Create a folder and its parents where they are missing; CannotCreate when that is not possible."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(path, error) from error
    return path


def make_numbered_folder(parent, name: str) -> Path:
    """Create and return parent/name-001, or the first number above that is free.

    mkdir itself decides who owns a number, so that two runs started together never share a folder.
    """
    parent = make_folder(parent)
    for number in range(1, 1_000_000):
        path = parent / f"{name}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise _no_folder(path, error) from error
        return path
    raise CannotCreate(f"{parent}: a million runs named {name}; give --output another folder")


def _no_folder(path, error):
    return CannotCreate(f"{path}: cannot create this folder ({error.strerror}); choose another --output")


def _create(temporary, path):
    try:
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputOutputError(f"{path}: no room for this file ({error.strerror}); free some space") from error
        raise CannotCreate(f"{path}: cannot create this file ({error.strerror}); "
                           "make the folder writable or choose another --output") from error


def _write_all(descriptor, data):
    while data:                                     # a write may be short: near a full disk, or above 2 GiB
        data = data[os.write(descriptor, data):]


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
