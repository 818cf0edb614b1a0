"""Plug-ins: files of the user's own that add rows to tinyq's tables, such as METHODS["name"] = Class.

The tables hold what comes with tinyq and the rows of the active plug-ins, which are those of one run at a time.
"""
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from tinyq.errors import UsageError
from tinyq.own_code.code_file import CodeFile
from tinyq.own_code.code_names import PLUGIN
from tinyq.own_code.run_code import RunCode
from tinyq.run.settings.plugin_rows import Rows, check_row, tables

_active: list[CodeFile] = []
_added: dict[tuple[str, str], CodeFile] = {}                        # by table and name, of the active plug-ins
_rows: WeakKeyDictionary[CodeFile, Rows] = WeakKeyDictionary()      # of each file that ran


def active() -> tuple[CodeFile, ...]:
    """Return the files whose rows the tables hold."""
    return tuple(_active)


def adds(kind: str, name: str) -> bool:
    """Return True where an active plug-in has added this row of a table."""
    return (kind, name) in _added


def use(named: str | None) -> None:
    """Run the plug-ins that a flag names, with commas between, and no others. UsageError where one is wrong."""
    activate(RunCode.read({PLUGIN: named or None}).plugins)


def activate(files: Sequence[CodeFile]) -> None:
    """Make the tables hold the rows of these plug-ins, and of no others; a file that did not run yet is run.

    UsageError for a name that is taken, a row that does not suit, or with the line where a file fails; no plug-in is
    active then.
    """
    if list(map(id, files)) == list(map(id, _active)):
        return
    _withdraw()
    try:
        for file in files:
            _install(file)
    except BaseException:
        _withdraw()
        raise
    _active[:] = files


def _withdraw() -> None:
    held = tables()
    for kind, name in _added:
        held[kind].pop(name, None)
    _added.clear()
    _active.clear()


def _install(file: CodeFile) -> None:
    """Add the rows of one plug-in to the tables."""
    if file not in _rows:
        _rows[file] = _rows_of(file)
    held, what = tables(), f"plugin {file.path}"
    owners = {key: f"plug-in {owner.path} adds it" for key, owner in _added.items()}
    for kind, rows in _rows[file].items():
        for name, value in rows.items():
            check_row(what, kind, name, value, owners)
            held[kind][name], _added[kind, name] = value, file


def _rows_of(file: CodeFile) -> Rows:
    """Run a plug-in and return the rows that it added or replaced; the tables are as before."""
    what, before = f"plugin {file.path}", {kind: dict(rows) for kind, rows in tables().items()}
    found: Rows = {}
    removed = []
    try:
        file.module(what)
    finally:
        for kind, rows in tables().items():
            found[kind] = {name: value for name, value in rows.items()
                           if name not in before[kind] or before[kind][name] is not value}
            removed += [f"the {kind} {name}" for name in before[kind] if name not in rows]
            rows.clear()
            rows.update(before[kind])
    if removed:
        raise UsageError(f"{what}: removes {removed[0]}; a plug-in may only add")
    if not any(found.values()):
        raise UsageError(f"{what}: adds nothing; let it add a row to a table, such as METHODS[\"name\"] = Class")
    return found
