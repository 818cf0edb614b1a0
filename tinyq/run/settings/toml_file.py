"""Read settings from a TOML file: those that tinyq knows, or those of a run folder as it was written."""
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinyq.errors import BadInput, UnknownName, did_you_mean
from tinyq.files.read import read_file
from tinyq.run.settings import config
from tinyq.run.settings.config import FIELDS, Config

MAX_TOML_BYTES = 64 << 10                               # twenty times the longest configuration
# What tomllib reads as a key never lies in these.
_TEXTS = re.compile(r'''"""(?:\\.|[^\\])*?"""|\'{3}.*?\'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*''', re.DOTALL)
_DEEP_KEY = re.compile(r"(?:\.[^\n.=\[\]{},]*){3}")
_TABLE, _SETTING = re.compile(r"\[(\w+)\]"), re.compile(r"(\w+) = |# (\w+) is not set$")


def read_toml(path: str | Path) -> dict:
    """Read the flat settings in a TOML file; BadInput where it cannot be read, UnknownName for an unknown key."""
    return checked(path, read_flat(path))


def read_flat(path: str | Path) -> dict:
    """Read a TOML file as flat settings ("batch_size", "cbp.period"), whatever their names; errors are read_toml's."""
    return flat(_tables(path, _text(path)))


def checked(path: str | Path, settings: dict) -> dict:
    """Convert flat settings of a file to their types; UsageError for an unknown key or a wrong value."""
    known = config.known_keys()
    for key in settings:
        if key not in known:
            raise UnknownName(f"{path}: no setting named {key!r}; {did_you_mean(key, known)}")
    return {key: config.converted(key, value, f"{path}: {key} = ") for key, value in settings.items()}


def config_as_written(path: str | Path) -> Config:
    """Return the configuration in a config.toml that a run wrote, which has a line for every setting.

    Nothing is looked up: neither the names of methods, models and data, nor the options of the method and the data need
    be known here.
    """
    from tinyq.data.named_data import component_of

    text = _text(path)
    values, names = flat(_tables(path, text)), list(_names_in(text))
    settings: dict[str, Any] = {
        name: config.converted(name, values[name], f"{path}: {name} = ") if name in values else None
        for name in names if name in FIELDS}
    options: dict[str, dict] = {str(settings.get("method")): {}, component_of(str(settings.get("data"))): {}}
    for component, _, name in (name.partition(".") for name in names if "." in name):
        options.setdefault(component, {})[name] = values.get(f"{component}.{name}")
    return Config(**settings, options=options)


def flat(tables: dict) -> dict:
    """Return {"cbp": {"period": 1}} as {"cbp.period": 1}."""
    found: dict = {}
    for key, value in tables.items():
        found.update({f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value})
    return found


def _text(path: str | Path) -> str:
    try:
        return read_file(path, MAX_TOML_BYTES).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a TOML file: {error}") from error


def _tables(path: str | Path, text: str) -> dict:
    if _DEEP_KEY.search(_TEXTS.sub("_", text)):         # tomllib's memory grows with the square of a key's depth
        raise BadInput(f"{path}: a key has more than three parts; settings are written as key = value or, below "
                       "[component], as key = value")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not a TOML file: {error}") from error


def _names_in(text: str) -> Iterator[str]:
    """Yield the name of each line's setting in order, set or not; those below [cbp] as "cbp.period"."""
    table = ""
    for line in text.splitlines():
        if heading := _TABLE.fullmatch(line):
            table = f"{heading[1]}."
        elif name := _SETTING.match(line):
            yield table + (name[1] or name[2])
