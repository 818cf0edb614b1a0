"""Compare how the inputs of --weights were prepared with how the data of a run are."""
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from tinyq import data
from tinyq.data import DataBundle
from tinyq.errors import UsageError
from tinyq.inputs.preparation import EXIF, Preparation
from tinyq.run.settings.config import Config
from tinyq.saved.attributes import preparation_of

MOST_NUMBERS = 16                       # of a mean that a message shows
Options = dict[str, object]


def check_same_preparation(path: Path, attributes: dict, config: Config, bundle: DataBundle) -> None:
    """Raise UsageError, with the flags that settle it, where the file's inputs were prepared otherwise.

    Nothing is compared where the file or the data do not say, or the file only assumes; nor the shorter side, for
    inputs of another size.
    """
    said = all(isinstance(attributes.get(name), str) for name in ("preprocessing", "input_shape"))
    if not said or "preparation_assumed" in attributes:
        return
    there, here = preparation_of(path, attributes), bundle.preparation
    shape = bundle.input_shape
    if there is None or here is None or len(there.mean) != len(here.mean):
        return
    same_size = attributes["input_shape"] == ",".join(map(str, shape))
    if _compared(there, same_size) == _compared(here, same_size):
        return
    flags = _flags_for(there, config, shape, same_size) or _mean_and_std(there, here, same_size)
    raise UsageError(f"--weights {path}: trained on inputs prepared otherwise ({there.shown()}; here {here.shown()}); "
                     + (f"{flags} prepares these as those, " if flags else "")
                     + f"--weights-preparation any trains {'them ' if flags else ''}as they are")


def _compared(preparation: Preparation, same_size: bool) -> tuple:
    return (preparation.mean, preparation.std, preparation.divisor, preparation.brightest, preparation.exif,
            preparation.resize if same_size else None)


def _flags_for(there: Preparation, config: Config, shape: tuple[int, ...], same_size: bool) -> str:
    """Return the flags with which the data are prepared as in the file; empty where none do."""
    known = data.options_of(config.dataset)
    fixed = config.options[config.dataset]
    for changes in _changes(there, same_size):
        if all(name in known for name in changes):
            found = data.preparation_of(config.dataset, shape, **{**fixed, **changes})
            if found and _compared(found, same_size) == _compared(there, same_size):
                return " ".join(_flag(config.dataset, name, value) for name, value in changes.items())
    return ""


def _mean_and_std(there: Preparation, here: Preparation, same_size: bool) -> str:
    """Return the flags of mean and std where nothing else differs; empty where something does."""
    changed = dataclasses.replace(here, mean=there.mean, std=there.std)
    if len(there.mean) > MOST_NUMBERS or _compared(changed, same_size) != _compared(there, same_size):
        return ""
    given = (("mean", there.mean), ("std", there.std))
    return " ".join(f"--{name}={','.join(map(str, numbers))}" for name, numbers in given)


def _changes(there: Preparation, same_size: bool) -> Iterator[Options]:
    """Yield changes of a reader's options that may give the preparation, the smallest first."""
    yield {"whole": True}
    yield {"whole": False}
    sizes: list[Options] = [{}, {"resize": there.resize}] if same_size and there.resize else [{}]
    for size in sizes:
        yield from ({**size, **exif} for exif in ({}, *({"exif": how} for how in EXIF)))


def _flag(component: str, name: str, value: object) -> str:
    flag = f"{component}.{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {value}"
