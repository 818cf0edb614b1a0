"""Write several files into a folder together: all or none."""
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tinyq.errors import CannotCreate, InputOutputError, TinyqError
from tinyq.files.atomic import (
    check_plain,
    make_folder,
    new_temporary,
    refused,
    sync_folder_of,
    write_bytes,
    write_text,
)
from tinyq.files.lock import held


def write_files(folder: str | Path, contents: Mapping[str, str | bytes]) -> None:
    """Write {file name: text or bytes} into a folder, all files or none; a missing folder is created with them.

    A name may begin with subfolders: "examples/a.c". In a folder that exists, all are written beside the old ones
    first, and an error puts back what was replaced; only a kill or a power cut while they are renamed leaves some old
    and some new. CannotCreate, InputOutputError or NotSynced as from `write_text`.
    """
    folder = Path(folder)
    exists = os.path.lexists(folder)
    make_folder(folder if exists else folder.parent)
    for name in contents if exists else ():
        for subfolder in _subfolders(name):
            _check_folder(folder / subfolder)
        check_plain(folder / name)
    temporary = new_temporary(folder / "files" if exists else folder)
    try:
        os.mkdir(temporary)
    except OSError as error:
        raise refused(folder, error, f"{folder}: cannot create this folder ({error.strerror}); choose another "
                       "path") from error
    try:
        descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with held(descriptor):
                for name, content in contents.items():
                    make_folder((temporary / name).parent)
                    if isinstance(content, str):
                        write_text(temporary / name, content)
                    else:
                        write_bytes(temporary / name, content)
                if exists:
                    _replace_all(folder, temporary, list(contents))
                else:
                    os.replace(temporary, folder)
        finally:
            os.close(descriptor)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputOutputError(f"{folder}: writing failed ({error.strerror}); free some space or use another "
                                   "disk") from error
        if isinstance(error, TinyqError):
            raise type(error)(str(error).replace(str(temporary), str(folder))) from error
        raise
    shutil.rmtree(temporary, ignore_errors=True)        # there only if the folder existed
    written = [folder / name for name in contents] if exists else [folder]
    for path in {path.parent: path for path in written}.values():
        sync_folder_of(path)


def _replace_all(folder, new, names):
    """Move the files of the folder `new` over those of `folder`; if one cannot be moved, put back what was there."""
    before = new / ".before"
    before.mkdir()
    subfolders = list(dict.fromkeys(subfolder for name in names for subfolder in _subfolders(name)))
    for subfolder in subfolders:
        (before / subfolder).mkdir()
    for name in names:
        if (folder / name).exists():
            _keep(folder / name, before / name)
    added = [folder / subfolder for subfolder in subfolders if not (folder / subfolder).exists()]
    try:
        for path in added:
            path.mkdir()
        for name in names:
            os.replace(new / name, folder / name)
    except BaseException:
        for name in names:
            if (before / name).exists():
                os.replace(before / name, folder / name)        # the same file again where it was not moved
            elif not (new / name).exists():
                os.unlink(folder / name)
        for path in reversed(added):
            with suppress(OSError):                     # it was not made
                path.rmdir()
        raise


def _subfolders(name):
    """Return the subfolders that a name begins with, the outermost first."""
    return [str(path) for path in reversed(Path(name).parents[:-1])]


def _keep(path, copy):
    try:
        os.link(path, copy)
    except OSError:                                 # a file system without links
        shutil.copy2(path, copy)


def _check_folder(path):
    """Refuse what is no folder, and a link to one."""
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        raise CannotCreate(f"{path}: exists and is not a plain folder; choose another path")
