"""Read the names of models, data, methods, sets and the like in any case: MNIST is mnist."""
from collections.abc import Iterable

from tinyq.own_code.code_names import FUNCTIONS, names_code

TABLES = ("model", "data", "method", "levels", "opt", "schedule", "recipe", "pretrain_opt", "pretrain_schedule")


def canonical(given: dict) -> dict:
    """Return the settings with each name as its table spells it; an unknown name stays as it is."""
    return {key: _spelled(key, value) if isinstance(value, str) else value for key, value in given.items()}


def _spelled(key: str, value: str) -> str:
    if key not in TABLES or key in FUNCTIONS and names_code(value):
        return value
    base, colon, argument = value.partition(":")
    spelled = {name.lower(): name for name in _names(key)}
    return spelled.get(base.lower(), base) + colon + argument


def _names(key: str) -> Iterable[str]:
    from tinyq import data, levels, methods, models, optim, schedules
    from tinyq.run.settings.recipes import RECIPES

    tables: dict[str, Iterable[str]] = {
        "model": models.REGISTRY, "data": data.READERS, "method": methods.METHODS, "levels": levels.NAMED,
        "opt": optim.OPTIMIZERS, "schedule": schedules.SCHEDULES, "recipe": RECIPES}
    return tables[key.removeprefix("pretrain_")]
