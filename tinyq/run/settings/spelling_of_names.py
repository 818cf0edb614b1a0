"""Read the names of models, data, methods, sets and the like in any case: MNIST is mnist; a file of data is named."""
from collections.abc import Iterable

from tinyq.own_code.code_names import FUNCTIONS, names_code

TABLES = ("model", "data", "method", "levels", "opt", "schedule", "recipe", "loss", "pretrain_opt",
          "pretrain_schedule")


def canonical(given: dict) -> dict:
    """Return the settings with each name as its table spells it; an unknown name stays as it is.

    A file or folder named as data becomes data and data_path.
    """
    spelled = {key: _spelled(key, value) if isinstance(value, str) else value for key, value in given.items()}
    return spelled | _own_data(spelled)


def _own_data(given: dict) -> dict:
    from tinyq.data.named_data import dataset_and_path

    if not isinstance(given.get("data"), str):
        return {}
    name, path = dataset_and_path(given["data"], given.get("data_path"))
    return {"data": name} | ({"data_path": path} if name != given["data"] else {})


def _spelled(key: str, value: str) -> str:
    if key not in TABLES or key in FUNCTIONS and names_code(value):
        return value
    base, colon, argument = value.partition(":")
    spelled = {name.lower(): name for name in _names(key)}
    return spelled.get(base.lower(), base) + colon + argument


def _names(key: str) -> Iterable[str]:
    from tinyq import data, levels, methods, models, optim, schedules
    from tinyq.run.settings.recipes import RECIPES
    from tinyq.tasks import loss_choice, task

    tables: dict[str, Iterable[str]] = {
        "model": models.REGISTRY, "data": data.READERS, "method": methods.METHODS, "levels": levels.NAMED,
        "loss": (*task.LOSS_NAMES, *loss_choice.LOSSES), "opt": optim.OPTIMIZERS, "schedule": schedules.SCHEDULES,
        "recipe": RECIPES}
    return tables[key.removeprefix("pretrain_")]
