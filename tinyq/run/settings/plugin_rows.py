"""The tables that a plug-in may add to, and what a row of each must be."""
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tinyq.errors import UsageError
from tinyq.run.settings import config
from tinyq.tasks.task import LOSS_NAMES

Rows = dict[str, dict[str, Any]]        # by table

_NAME = re.compile("[A-Za-z][A-Za-z0-9_]*")


def tables() -> Rows:
    """Return the tables themselves, by what their rows are."""
    from tinyq import data, levels, methods, models, nn, optim, schedules
    from tinyq.tasks import loss_choice

    return {"method": methods.METHODS, "model": models.REGISTRY, "data": data.READERS, "layer": nn.LAYERS,
            "optimiser": optim.OPTIMIZERS, "schedule": schedules.SCHEDULES, "level set": levels.NAMED,
            "loss": loss_choice.LOSSES}


def check_row(what: str, kind: str, name: object, value: Any, owners: Mapping[tuple[str, str], str]) -> None:
    """Raise UsageError unless a row has a name of its own, in any case of letters, and a value that suits its table.

    what: the plug-in, as the error begins; owners: who added a row that does not come with tinyq, by table and name.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UsageError(f"{what}: the {kind} {name!r} needs a name of letters, digits and _, a letter first")
    for other, rows in _rivals(kind).items():
        taken = next((known for known in rows if known.lower() == name.lower()), None)
        if taken is not None:
            raise UsageError(f"{what}: the {kind} {name} needs another name: there is the {other} {taken} already, "
                             f"{owners.get((other, taken), 'which comes with tinyq')}")
    for fault in _FAULTS.get(kind, _of_function)(value):
        raise UsageError(f"{what}: the {kind} {name} {fault}")


def _rivals(kind: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the tables in which a name must not stand: methods, data and settings share the keys of config.toml."""
    held = tables()
    if kind in ("method", "data"):
        return {"method": held["method"], "data": held["data"], "setting": config.FIELDS}
    if kind == "loss":
        return {"loss": {**dict.fromkeys(LOSS_NAMES), **held["loss"]}}
    return {kind: held[kind]}


def _of_function(value: Any) -> Iterator[str]:
    if not callable(value):
        yield f"is a {type(value).__name__}, not a class or a function"


def _of_data(value: Any) -> Iterator[str]:
    yield from _of_function(value)
    for name, parameter in config.options_of_maker(value).items():
        if config.kind_of_parameter(parameter) not in (int, float, str, bool):
            yield (f"has an option {name} whose default is a {type(parameter.default).__name__}; an option is a whole "
                   "number, a number, a text, or true or false")


def _of_method(value: Any) -> Iterator[str]:
    from tinyq.methods.base import Method

    if not isinstance(value, type):
        yield f"is a {type(value).__name__}, not a class"
    known = {maker.__name__ for maker in tables()["method"].values() if isinstance(maker, type) and maker is not value}
    if value.__name__ in known:
        yield (f"is a class {value.__name__}, as another method is; a ledger tells methods by their class, so rename "
               "this one")
    wanted = [name for name in (*vars(Method), *Method.__annotations__) if not name.startswith("_")]
    lacking = [name for name in wanted if not hasattr(value, name)]
    if lacking:
        yield f"lacks {', '.join(lacking)}; derive its class from tinyq.methods.GradientMethod, or define these"
    yield from _of_data(value)


def _of_layer(value: Any) -> Iterator[str]:
    from tinyq.nn import Module

    if not (isinstance(value, type) and issubclass(value, Module)):
        yield "is no class of layers, which is a subclass of tinyq.nn.Module"


def _of_levels(value: Any) -> Iterator[str]:
    from tinyq.levels import LevelSet

    if not isinstance(value, LevelSet):
        yield f"is a {type(value).__name__}, not a tinyq.levels.LevelSet"


_FAULTS: dict[str, Callable[[Any], Iterator[str]]] = {
    "method": _of_method, "data": _of_data, "layer": _of_layer, "level set": _of_levels}
