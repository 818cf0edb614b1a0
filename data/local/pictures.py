"""List the pictures in a folder and all its sub-folders."""
import os
from pathlib import Path

from tinyq.data.local.filters import is_hidden, is_image
from tinyq.errors import BadInput
from tinyq.output.counting import counted


def pictures_in(folder: str | Path) -> tuple[list[str], int]:
    """Return (paths of the pictures in order, number of others), by the suffixes of their names.

    Hidden files and hidden folders count among the others. Links to folders are not followed. BadInput where a folder
    cannot be listed, or none holds a picture.
    """
    found: list[str] = []
    others = 0
    for below, folders, names in os.walk(folder, onerror=_refuse):
        others += sum(map(is_hidden, folders)) + len(names)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        pictures = [os.path.join(below, name) for name in names if is_image(name) and not is_hidden(name)]
        found += pictures
        others -= len(pictures)
    if not found:
        instead = f", but {counted(others, 'other or hidden file')}" if others else ""
        raise BadInput(f"{str(folder)!r}: no pictures in this folder or below it{instead}; name a folder of image "
                       "files")
    return sorted(found), others


def _refuse(error):
    raise BadInput(f"{error.filename!r}: cannot be listed ({error.strerror})") from error
