"""Replace files atomically: a crash, a full disk or a power cut leaves the old file or the new one.

Everything tinyq writes goes through this package; no file is written in place.
"""
import errno
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from tinyq.errors import CannotCreate, InputOutputError, TinyqError
from tinyq.files.lock import held, remove_unless_held

PIECE = 1 << 20                     # bytes read back at a time
Buffer: TypeAlias = bytes | bytearray | memoryview
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)


class NotSynced(InputOutputError):
    """The new file is written, but a power cut may bring the old one back."""


def write_bytes(path: str | Path, data: Buffer) -> None:
    """Replace the file at `path` by `data`, completely or not at all.

    Write a temporary file in the same folder, sync it, read it back, compare, and rename it over `path`; then sync the
    folder. Raises CannotCreate where the folder accepts no new file or `path` is a link, a device or the like;
    InputOutputError where writing fails (the old file is then untouched); and its subclass NotSynced where only syncing
    the folder fails.
    """
    target, view = Path(path), memoryview(data).cast("B")
    check_plain(target)
    temporary = new_temporary(target)
    descriptor = _create(temporary, target)
    try:
        with held(descriptor):
            try:
                _write_all(descriptor, view)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            _compare(temporary, view)
            os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):                     # a failed disk refuses deletions too
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputOutputError(f"{target}: writing failed ({error.strerror}); the old file, if any, is intact; "
                                   "free some space or use another disk") from error
        raise
    sync_folder_of(target)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of text as UTF-8; characters that have no encoding (in file names) are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def check_writable(folder: str | Path) -> None:
    """Raise CannotCreate or InputOutputError unless the folder accepts new files, as checkpoints will be."""
    probe = Path(folder) / ".writable"
    write_bytes(probe, b"")
    remove(probe)


def new_temporary(target: Path) -> Path:
    """Return a new name beside the target, and delete what killed processes left of the target."""
    with suppress(OSError):                         # a folder may be writable and not be listed
        for path in temporaries(target.parent):
            if path.name[1:-len(".01234567.tmp")] == target.name:
                remove_unless_held(path)
    return target.with_name(f".{target.name}.{os.urandom(4).hex()}.tmp")


def check_target(path: str | Path) -> None:
    """Raise what `write_bytes` would, before the work whose result is to be written there."""
    target = Path(path)
    check_plain(target)
    temporary = new_temporary(target)
    os.close(_create(temporary, target))
    remove(temporary)


def remove(path: str | Path) -> None:
    """Delete a file, if it exists; InputOutputError where the folder does not allow it."""
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise InputOutputError(f"{path}: cannot be deleted ({error.strerror})") from error


def check_plain(path: str | Path) -> None:
    """Refuse a link, whose target somebody else may have chosen, and a device, which every process would lose."""
    if os.path.islink(path):
        raise CannotCreate(f"{path}: is a link, which tinyq does not write through; delete it or name the file itself")
    if os.path.exists(path) and not os.path.isfile(path):
        raise CannotCreate(f"{path}: exists and is not a plain file; choose another path")


def refused(path: str | Path, error: OSError, message: str) -> TinyqError:
    """Return the error for a file or folder that cannot be created: the message, or that the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputOutputError(f"{path}: the disk is full ({error.strerror}); free some space")
    return CannotCreate(message)


def sync_folder_of(target: Path) -> None:
    """Sync the folder in which `target` was written; NotSynced where that fails."""
    try:
        _sync_folder(target.parent)
    except OSError as error:
        raise NotSynced(f"{target}: written, but its folder cannot be synced ({error.strerror}), so a power cut "
                        "may bring the old file back; check this disk") from error


def temporaries(folder: str | Path) -> list[Path]:
    """List unfinished files of killed processes, and of processes that are writing now; none if there is no folder."""
    folder = Path(folder)
    return [folder / name for name in (os.listdir(folder) if folder.is_dir() else ()) if _TEMPORARY.fullmatch(name)]


def make_folder(path: str | Path) -> Path:
    """Create a folder and its missing parents, synced to disk; CannotCreate where that is not possible."""
    path = Path(path)
    try:
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            _sync_folder(folder.parent)
    except OSError as error:
        raise _no_folder(path, error) from error
    return path


def make_numbered_folder(parent: str | Path, name: str) -> Path:
    """Create and return parent/name-001, or the next free number.

    mkdir decides who owns a number, so two runs started together never share a folder.
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
    raise CannotCreate(f"{parent}: a million runs are named {name}; choose another folder")


def _no_folder(path, error):
    return CannotCreate(f"{path}: cannot create this folder ({error.strerror}); choose another path")


def _create(temporary, path):
    try:
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise refused(path, error, f"{path}: cannot create this file ({error.strerror}); make its folder writable or "
                       "choose another") from error


def _write_all(descriptor, data):
    while data:                                     # a write may be short: on a nearly full disk, or above 2 GiB
        data = data[os.write(descriptor, data):]


def _compare(path, data):
    """Raise OSError unless the file holds these bytes; its cached pages are dropped first, so that the disk is read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError, AttributeError):     # it is advice: some systems do not take it
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        at = 0
        while piece := os.pread(descriptor, PIECE, at):
            if piece != data[at:at + len(piece)]:
                break
            at += len(piece)
    finally:
        os.close(descriptor)
    if at != len(data) or piece:
        raise OSError(errno.EIO, f"the bytes read back differ from byte {at} on")


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:             # a file system that cannot sync folders
            raise
    finally:
        os.close(descriptor)
