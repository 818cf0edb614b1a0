"""Files that are either the old ones or the new ones, whatever happens: a crash, a full disk, a power cut.

Everything tinyq writes goes through this package; nothing is ever written in place.
"""
import errno
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from tinyq.errors import CannotCreate, InputOutputError

PIECE = 1 << 20                     # bytes read back at a time
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)


class NotSynced(InputOutputError):
    """The new file is there, but a power cut may bring the old one back."""


def write_bytes(path, data) -> None:
    """Replace the file at `path` by `data` (bytes-like), all of it or nothing.

    A temporary file in the same folder is written, synced, read back and compared, and renamed over `path`; then the
    folder is synced. Raises CannotCreate when the folder takes no new file, InputOutputError when writing fails half
    way (the old file is then still there, untouched), and of these NotSynced when only the last of it fails. A link is
    followed; CannotCreate where something that is no file, such as a device, stands.
    """
    path, data = _place(path), memoryview(data).cast("B")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = _create(temporary, path)
    try:
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _compare(temporary, data)
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):                     # a disk that fails for good takes no deletion either
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputOutputError(f"{path}: writing failed ({error.strerror}); the old file, if any, is intact; "
                                   "free some space or use another disk") from error
        raise
    try:
        _sync_folder(path.parent)
    except OSError as error:
        raise NotSynced(f"{path}: written, but its folder cannot be synced ({error.strerror}), so a power cut "
                        "may bring the old file back; look after this disk") from error


def write_text(path, text: str) -> None:
    """`write_bytes` for UTF-8 text; what is none, of a file's name, is escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def remove(path) -> None:
    """Delete a file that may be gone already; InputOutputError when the folder does not allow it."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be deleted ({error.strerror})") from error


def temporaries(folder) -> list[Path]:
    """What killed processes left of unfinished files (or what others are writing now), where the folder exists."""
    folder = Path(folder)
    return [folder / name for name in (os.listdir(folder) if folder.is_dir() else ()) if _TEMPORARY.fullmatch(name)]


def make_folder(path) -> Path:
    """Create a folder and its parents where they are missing, to last; CannotCreate when that is not possible."""
    path = Path(path)
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
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
            _sync_folder(parent)
        except FileExistsError:
            continue
        except OSError as error:
            raise _no_folder(path, error) from error
        return path
    raise CannotCreate(f"{parent}: a million runs named {name}; give --output another folder")


def _no_folder(path, error):
    return CannotCreate(f"{path}: cannot create this folder ({error.strerror}); choose another place")


def _place(path):
    """Where the file goes; never in the place of a device, which renaming would take away from everybody."""
    place = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
    if os.path.exists(place) and not os.path.isfile(place):
        raise CannotCreate(f"{path}: is there already, and no plain file; choose another place")
    return place


def _create(temporary, path):
    try:
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputOutputError(f"{path}: no room for this file ({error.strerror}); free some space") from error
        raise CannotCreate(f"{path}: cannot create this file ({error.strerror}); "
                           "see to it that its folder is there and writable, or choose another") from error


def _write_all(descriptor, data):
    while data:                                     # a write may be short: near a full disk, or above 2 GiB
        data = data[os.write(descriptor, data):]


def _compare(path, data):
    """OSError unless the file holds these bytes. Its pages are dropped first, so that the disk itself is asked."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        at = 0
        while piece := os.pread(descriptor, PIECE, at):
            if piece != data[at:at + len(piece)]:
                break
            at += len(piece)
    finally:
        os.close(descriptor)
    if at != len(data) or piece:
        raise OSError(errno.EIO, f"what is read back differs from byte {at} on")


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:             # of file systems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)
