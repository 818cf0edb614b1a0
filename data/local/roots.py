"""Find a dataset's folder: --data-path, or TINYQ_DATA, or ~/.cache/tinyq/data."""
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from tinyq.errors import BadInput, UsageError


def data_root(path: str | Path | None = None) -> Path:
    """Return the folder that holds one folder per dataset."""
    chosen = path or os.environ.get("TINYQ_DATA") or os.path.join("~", ".cache", "tinyq", "data")
    root = Path(os.path.expanduser(chosen))
    if root.parts[:1] == ("~",):
        raise UsageError("this user has no home folder for the datasets; name a folder with --data-path or TINYQ_DATA")
    return root


def folder_with(name: str, path: str | Path | None, holds: Callable[[Path], object], looked_for: str,
                below: Sequence[str] = ()) -> Path:
    """Return the data root or one of its folders, `name` or those `below`, the first that `holds` the dataset.

    BadInput, with what was looked for, if none does.
    """
    root = data_root(path)
    option = f" --data-path {shlex.quote(str(path))}" if path else ""
    folders = (name, *below)
    for folder in (root, *(root / each for each in folders)):
        if holds(folder):
            return folder
    raise BadInput(f"{str(root)!r}: no {name} files in this folder or its folder {' or '.join(map(repr, folders))}; "
                   f"looked for {looked_for}; give their folder with --data-path, or fetch them: "
                   f"python -m tinyq.data fetch {name}{option}")
