"""Read what --data names: a dataset, or a file or folder of the user's own, whose kind follows from its name."""
import os
from pathlib import Path

from tinyq.data.local.table_names import TABLES
from tinyq.errors import UsageError
from tinyq.own_code.code_names import names_code

OWN_FUNCTION = "own"                    # the dataset of which a function of the user's own returns the arrays
SUFFIXES = {".npz": "npz", **dict.fromkeys(TABLES, "csv"), ".zip": "imagefolder"}
OWN = ("npz", "csv")                          # data that are known by the name of their file


def component_of(named: str) -> str:
    """Return the name under which the options of a dataset stand: "own" for a function of the user's own."""
    return OWN_FUNCTION if names_code(named) else named


def shown_name(named: str, path: str | Path | None) -> str:
    """Return the name by which a run calls its data: of a file of the user's own that file's."""
    if names_code(named):
        return Path(named.rpartition(":")[0] or named).name
    return Path(path).name if named in OWN and path else named


def dataset_and_path(named: str, path: str | Path | None = None) -> tuple[str, str | Path | None]:
    """Return (name of the dataset, its path): "digits.npz" is the data npz at that path, a folder is an imagefolder.

    UsageError where a path is given besides the one that is named.
    """
    kind = next((kind for suffix, kind in SUFFIXES.items() if named.lower().endswith(suffix)), None)
    if kind is None and os.sep in named and not names_code(named):
        kind = "imagefolder"
    if kind is None:
        return named, path
    if path is not None and os.path.abspath(path) != os.path.abspath(named):
        raise UsageError(f"data {named}: names its file already; leave out --data-path {path}")
    return kind, named
