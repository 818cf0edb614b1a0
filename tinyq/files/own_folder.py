"""Check a folder before a run writes into it, so that nobody else chooses where its files go."""
import os
import stat
from pathlib import Path

from tinyq.errors import CannotCreate


def check_own_folder(folder: str | Path) -> None:
    """Raise CannotCreate unless a folder and all in it are the user's or root's, without a link at any depth."""
    _check_owner(folder, os.lstat(folder))                      # a link may name the folder itself
    for parent, folders, files in os.walk(folder):              # enters no link
        _check_owner(parent, os.stat(parent))
        for path in (Path(parent, name) for name in sorted(folders + files)):
            if path.is_symlink():
                raise CannotCreate(f"{path}: is a link, which a run does not write through; delete it or copy the file "
                                   "here")


def _check_owner(folder: str | Path, status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0):
        raise CannotCreate(f"{folder}: belongs to another user, who could choose where a run writes its files; copy it "
                           "into a folder of your own, or choose another")


def check_not_shared(folder: str | Path) -> None:
    """Raise CannotCreate where every user may replace the files of a folder."""
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise CannotCreate(f"{folder}: every user may change the files in it; run chmod o-w on it, or choose another")
