"""Check a folder before a run writes into it, so that nobody else chooses where its files go."""
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tinyq.errors import CannotCreate


def check_own_folder(folder: str | Path) -> None:
    """Raise CannotCreate unless the folder is the user's or root's and holds no link at any depth."""
    for status in (os.stat(folder), os.lstat(folder)):          # of the folder, and of the link that names it
        if status.st_uid not in (os.geteuid(), 0):
            raise CannotCreate(f"{folder}: belongs to another user, who could choose where a run writes its files; "
                               "copy it into a folder of your own, or choose another")
    for path in _links(folder):
        raise CannotCreate(f"{path}: is a link, and a run writes through none; delete it or copy the file here")


def check_not_shared(folder: str | Path) -> None:
    """Raise CannotCreate where every user may replace the files of a folder."""
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise CannotCreate(f"{folder}: every user may change the files in it; run chmod o-w on it, or choose another")


def _links(folder: str | Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):              # enters no link
        yield from (path for name in sorted(folders + files) if (path := Path(parent, name)).is_symlink())
