"""Combine settings: flags beat the file, the file beats the recipe, the recipe beats the defaults."""
import json
import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from tinyq import levels
from tinyq.errors import BadInput, UnknownName, UsageError, did_you_mean
from tinyq.own_code import code_in, names_code
from tinyq.own_code.code_names import FUNCTIONS
from tinyq.run.settings import config
from tinyq.run.settings.config import FIELDS, Config
from tinyq.run.settings.idle import check_effect
from tinyq.run.settings.recipes import RECIPES
from tinyq.run.settings.spelling_of_names import canonical
from tinyq.run.settings.toml_file import flat

_SUBJECT = ("model", "data", "method")


@dataclass(frozen=True)
class Resolved:
    """A configuration with the origin of each value."""

    config: Config
    origins: dict[str, str]


def resolve(flags: dict, file: dict | None = None) -> Resolved:
    """Combine flat settings ("batch_size", "cbp.period") with a recipe and the defaults.

    UsageError for an unknown name or an invalid value, with the nearest valid one. BadInput where the file names a
    network that is code, and the flags do not: a file must not choose which code runs.
    """
    flags, file = (canonical(given) for given in (flags, file or {}))
    settings: dict = {}
    origins: dict[str, str] = {}
    _check_known(flags)
    _check_not_empty(file, "file")
    _check_not_empty(flags, "flag")
    _check_subject_names({**file, **flags})
    recipe = _recipe_name(flags, file)
    layers = [(flat(RECIPES.get(recipe, {})), f"recipe {recipe}"), (file, "file"), (flags, "flag")]
    for layer, origin in layers:
        for key, value in layer.items():
            settings[key] = config.converted(key, value, f"{_shown(key, origin)} ")
            origins[key] = origin
    settings["recipe"] = recipe
    check_code({key: value for key, value in settings.items() if origins.get(key) == "file"})
    _check_subject_given(settings, recipe)
    _pretraining(settings, origins)
    _levels(settings, origins)
    options = _component_options(settings, origins)
    resolved = Config(**{key: value for key, value in settings.items() if key in FIELDS},
                      options=options)
    _check_other_names(resolved)
    check_effect(resolved, [key for key, origin in origins.items() if origin == "flag"])
    return Resolved(resolved, origins)


def to_toml(resolved: Resolved, origins: bool = True) -> str:
    """Write the configuration as TOML, each line with the origin of its value; reading it gives the same one."""
    c = resolved.config
    lines = [_line(key, getattr(c, key), resolved.origins.get(key, "default") if origins else None) for key in FIELDS]
    for component, values in c.options.items():
        lines += [f"\n[{component}]"] if values else []
        lines += [_line(key, value, resolved.origins.get(f"{component}.{key}", "default") if origins else None)
                  for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _check_known(flags: dict) -> None:
    known = config.known_keys()
    for key in flags:
        if key not in known:
            raise UnknownName(f"{key}: no such setting; {did_you_mean(key, known)}")


def _check_not_empty(given: dict, origin: str) -> None:
    """Check the names that choose the recipe; those of the others are checked as they are converted."""
    for key in ("recipe", *_SUBJECT):
        if given.get(key) == "":
            raise UsageError(f"{_shown(key, origin)}: is empty; give a value, or leave it out")


def _recipe_name(flags: dict, file: dict) -> str:
    named = flags.get("recipe", file.get("recipe"))
    if named is not None and named != "none" and named not in RECIPES:
        raise UsageError(f"--recipe {named}: no such recipe; {did_you_mean(named, [*RECIPES, 'none'])}")
    return named or _first_that_agrees({**file, **flags})


def _first_that_agrees(given: dict) -> str:
    """The first recipe whose model (up to a colon), data and method equal those that are given.

    A recipe without a model agrees with any, if the data are given as well.
    """
    wanted = {key: str(given[key]).partition(":")[0] for key in _SUBJECT if key in given}
    for name, values in RECIPES.items():
        offered = {key: values.get(key, wanted.get(key, "")).partition(":")[0] for key in _SUBJECT}
        named = "model" in values or "data" in wanted
        if named and all(offered.values()) and wanted.items() <= offered.items():
            return name
    return "none"


def _pretraining(settings: dict, origins: dict) -> None:
    """Set pretraining to 0 epochs with --weights or --method backprop, unless it is asked for."""
    if origins.get("pretrain_epochs") not in ("file", "flag"):
        for holds, reason in ((settings.get("weights"), "--weights"),
                              (settings["method"] == "backprop", "--method backprop")):
            if holds:
                settings["pretrain_epochs"], origins["pretrain_epochs"] = 0, f"because of {reason}"


def _levels(settings: dict, origins: dict) -> None:
    """Unset the levels for backprop, even if a recipe names some; else begin with those of the method's own default."""
    if settings["method"] == "backprop":
        for key in ("levels", "keep"):
            if origins.get(key) in ("file", "flag"):
                raise UsageError(f"{_shown(key, origins[key])}: has no effect with --method backprop")
        settings["levels"] = None
    elif "levels" not in settings and (own := config.own_levels(settings["method"])):
        settings["levels"], origins["levels"] = own, f"because of --method {settings['method']}"


def _check_subject_names(given: dict) -> None:
    """Report a typo in the names that choose the recipe before a recipe is chosen."""
    from tinyq.data import READERS
    from tinyq.methods import METHODS
    from tinyq.models import REGISTRY

    for key, known in (("model", REGISTRY), ("data", READERS), ("method", METHODS)):
        if key in given and not (key in FUNCTIONS and names_code(given[key])):
            _check_name(str(given[key]).partition(":")[0], known, f"--{key}")


def check_code(settings: dict) -> None:
    """Raise BadInput where settings of a file name code, with the flags that name it."""
    if named := code_in(settings):
        listed = " and ".join(f"{key} {value}" for key, value in named.items())
        flags = " ".join(f"--{key} {shlex.quote(value)}" for key, value in named.items())
        raise BadInput(f"{listed}: is code, and runs only where the command line names it; if you trust this file, add "
                       f"{flags}")


def _check_subject_given(settings: dict, recipe: str) -> None:
    missing = [key for key in _SUBJECT if settings.get(key) is None]
    if missing:
        flags = " and ".join(f"--{key}" for key in missing)
        reason = "no recipe agrees with what you gave" if recipe == "none" else f"recipe {recipe} leaves them to you"
        raise UsageError(f"{flags}: not given, and {reason}; {_choices(missing[0])}")


def _choices(key: str) -> str:
    names = sorted({values[key] for values in RECIPES.values() if key in values})
    return f"for example --{key} {names[0]}"


def _component_options(settings: dict, origins: dict) -> dict[str, dict]:
    """Return all options of the method and the dataset; UsageError for others, unless the recipe has them."""
    from tinyq.data import component_of

    chosen = settings["method"], component_of(settings["data"])
    for key in (k for k in settings if "." in k):
        if key.partition(".")[0] not in chosen and not origins[key].startswith("recipe"):
            raise UsageError(f"{_shown(key, origins[key])}: has no effect with --method {chosen[0]} --data {chosen[1]}")
    return {component: {name: settings.get(f"{component}.{name}", parameter.default)
                        for name, parameter in config.options_of(component).items()} for component in chosen}


def _check_other_names(c: Config) -> None:
    """Check the names that other packages define."""
    from tinyq import optim, schedules
    from tinyq.tasks import loss_choice, task

    if not names_code(c.loss):
        _check_name(c.loss, (*task.LOSS_NAMES, *loss_choice.LOSSES), "--loss")
    if c.levels:
        try:
            levels.parse(c.levels)
        except UsageError as error:
            raise UsageError(f"--{error}") from None
    if c.early_stopping and config.divides_its_epochs(c.method):
        raise UsageError(f"--early-stopping: {c.method} divides its epochs when it begins, and its weights are on "
                         "their levels only after the last; leave early stopping out")
    for opt in filter(None, (c.opt, c.pretrain_opt)):
        _check_name(opt, optim.OPTIMIZERS, "--opt")
    for schedule in filter(None, (c.schedule, c.pretrain_schedule)):
        _check_name(schedule, schedules.SCHEDULES, "--schedule")


def _check_name(name: str, known: Iterable[str], flag: str) -> None:
    if name not in known:
        folder = f"name a folder as {name}{os.sep}; or " if flag == "--data" and os.path.isdir(name) else ""
        raise UnknownName(f"{flag} {name}: unknown; {folder}{did_you_mean(name, known)}")


def _shown(key: str, origin: str) -> str:
    return "--" + key.replace("_", "-") if origin == "flag" else key


def _line(key: str, value: object, origin: str | None) -> str:
    comment = f"  # {origin}" if origin and origin != "default" else ""
    return f"# {key} is not set" if value is None else f"{key} = {_literal(value)}{comment}"


def _literal(value: object) -> str:
    """Write a TOML literal: JSON's for texts, booleans and whole numbers; floats have a point or an exponent.

    UsageError for a path that is not UTF-8, which TOML cannot hold.
    """
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{value}: the name of a file or folder must be UTF-8; rename it") from None
    if isinstance(value, float):
        return repr(value)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(value, ensure_ascii=False))
