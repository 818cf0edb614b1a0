"""Names of a user's own code in settings: path/to/file.py:function, or files alone for plug-ins."""
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

FUNCTIONS = ("model", "data", "loss")           # settings that may name a function of a user's file
PLUGIN = "plugin"                               # the setting that names whole files, with commas between them
SETTINGS = (*FUNCTIONS, PLUGIN)


def names_code(value: object) -> bool:
    """Return True for "path/to/file.py:function" and "path/to/file.py", which name a user's own code."""
    text = str(value)
    return text.endswith(".py") or text.rpartition(":")[0].endswith(".py")


def split_name(value: str) -> tuple[str, str]:
    """Return (path, function) of a name; the function is "" where the name has none."""
    path, colon, function = value.rpartition(":")
    return (path, function) if colon and path.endswith(".py") else (value, "")


def code_in(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that name code, and their values."""
    return {key: str(settings[key]) for key in SETTINGS
            if settings.get(key) is not None and (key == PLUGIN or names_code(settings[key]))}


def files_in(code: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (setting, path) of every file that the settings name, in a fixed order."""
    for key in SETTINGS:
        if key in code:
            yield from ((key, path) for path in (code[key].split(",") if key == PLUGIN else [split_name(code[key])[0]]))


def copy_names(code: Mapping[str, str]) -> dict[str, str]:
    """Return {path: name of its copy in a run folder}: the file's own name, numbered where two files share it."""
    names: dict[str, str] = {}
    for _, path in files_in(code):
        stem, number = Path(path).stem, 1
        name = f"{stem}.py"
        while path not in names and name in names.values():
            number += 1
            name = f"{stem}_{number}.py"
        names.setdefault(path, name)
    return names


def renamed(code: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with each path replaced by its name in `names`."""
    found = {}
    for key, value in code.items():
        if key == PLUGIN:
            found[key] = ",".join(names[path] for path in value.split(","))
        else:
            path, function = split_name(value)
            found[key] = names[path] + (f":{function}" if function else "")
    return found


def absolute(code: Mapping[str, str], of: Callable[[str], str]) -> dict[str, str]:
    """Return the settings with each path as `of` makes it absolute."""
    return renamed(code, {path: of(path) for _, path in files_in(code)})


def copies_in(folder: str | Path, code: Mapping[str, str]) -> dict[str, str]:
    """Return the settings with the copies in a run folder: "path/to/net.py:function" is RUN/net.py:function."""
    return renamed(code, {path: str(Path(folder) / name) for path, name in copy_names(code).items()})


def recorded(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings that name code as a ledger has them: with the names of the copies in the run folder."""
    code = code_in(settings)
    return renamed(code, copy_names(code))
