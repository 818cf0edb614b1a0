"""Read a dataset by name: the table of readers, and their options."""
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyq.data.bundle import DataBundle
from tinyq.data.sources.cifar10 import load_cifar10
from tinyq.data.sources.csv_file import load_csv
from tinyq.data.sources.embedded import load_digits, load_iris
from tinyq.data.sources.imagefolder import load_imagefolder
from tinyq.data.sources.imagenet import load_imagenet
from tinyq.data.sources.mnist import load_mnist
from tinyq.data.sources.npz_file import load_npz
from tinyq.data.sources.own_function import load_own
from tinyq.errors import UsageError, did_you_mean
from tinyq.own_code import UserFunction, names_code

READERS: dict[str, Callable[..., DataBundle]] = {
    "iris": load_iris, "digits": load_digits, "mnist": load_mnist, "cifar10": load_cifar10,
    "imagefolder": load_imagefolder, "imagenet": load_imagenet, "npz": load_npz, "csv": load_csv, "own": load_own}
PATH_OPTIONS = ("classes",)            # options that name a file of the user's


def options_of(name: str) -> dict[str, object]:
    """Return {option: default} of a dataset's reader."""
    return {option: parameter.default for option, parameter in inspect.signature(_reader(name)).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def load(name: str | UserFunction, path: str | Path | None = None, *, mean: Sequence[float] | None = None,
         std: Sequence[float] | None = None, **options: Any) -> DataBundle:
    """Read a dataset by name; `path` is its folder or archive (else TINYQ_DATA, else ~/.cache/tinyq/data).

    name: one of READERS, or a user's "path/to/file.py:function", or such a function, read. mean and std: instead of
    the dataset's own, of values divided by the largest pixel; one per channel or feature, or one for all. UsageError
    for an unknown name or option, BadInput for missing or invalid data.
    """
    return _read(name, path, options).normalised(mean, std)


def _read(name, path, options):
    if isinstance(name, UserFunction) or names_code(name):
        function = name if isinstance(name, UserFunction) else UserFunction.read("data", name)
        return load_own(path, function, **_checked("own", options))
    reader, options = _reader(name), _checked(name, options)
    if path is None:
        return reader(**options)
    if "path" not in inspect.signature(reader).parameters:
        raise UsageError(f"data {name} comes with tinyq: leave out --data-path")
    return reader(path, **options)


def _checked(name, options):
    known = options_of(name)
    for option, value in options.items():
        if option not in known:
            raise UsageError(f"data {name}: unknown option {option!r}; {did_you_mean(option, known)}")
        if isinstance(value, (int, float)) and not value >= 0:
            raise UsageError(f"data {name}: {option} is {value}; it must be at least 0")
    return options


def _reader(name):
    if name not in READERS:
        raise UsageError(f"data {name!r} is unknown; {did_you_mean(name, READERS)}")
    return READERS[name]
