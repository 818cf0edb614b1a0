"""A model from a user's file, run once on zeros so that its mistakes are reported before training starts."""
import hashlib
import importlib.abc
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Self

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import TinyqError, UsageError
from tinyq.files.read import read_file
from tinyq.models.input_checks import Shape
from tinyq.models.neighbours import check_imports

MAX_SOURCE_BYTES = 1 << 24


def names_code(model: str) -> bool:
    """Return True for "path/to/file.py:function", the name of a user's own network, which is code."""
    return ".py" in model


@dataclass(frozen=True)
class UserFile:
    """A user's file, read once, so that the bytes with the SHA-256 are the bytes that run."""

    name: str                       # "path/to/file.py:function"
    data: bytes

    @classmethod
    def read(cls, name: str) -> Self:
        """Read the file; UsageError where there is none, or the name lacks a function."""
        path, _, function = name.rpartition(":")
        if not function.isidentifier() or not path.endswith(".py"):
            raise UsageError(f"model {name}: say which function builds it, such as {name.split(':')[0]}:factory")
        if not Path(path).is_file():
            raise UsageError(f"model {name}: there is no file {path}")
        return cls(name, read_file(path, MAX_SOURCE_BYTES))

    @property
    def path(self) -> str:
        """Path of the file."""
        return self.name.rpartition(":")[0]

    @property
    def function(self) -> str:
        """Name of the function that builds the network."""
        return self.name.rpartition(":")[2]

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()


def user_model(file: UserFile, num_classes: int, input_shape: Shape) -> tuple[nn.Module, list[nn.Parameter]]:
    """Run the file and call its function; returns (model, its conv and linear weights in the order they compute).

    UsageError, with the line in the user's file where there is one, for anything that goes wrong.
    """
    name, path, function = file.name, file.path, file.function
    with _naming(name):
        check_imports(file.data, path)
    module = _imported(file)
    if not hasattr(module, function):
        raise UsageError(f"model {name}: {path} defines no {function}")
    with _errors_with_line(name, path):
        model = getattr(module, function)(num_classes, input_shape)
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name}: {function} returned a {type(model).__name__}, not a tinyq.nn.Module")
    with _errors_with_line(name, path):
        weights, y = nn.computing_weights(model, input_shape)
    if not isinstance(y, Tensor) or y.shape != (1, num_classes):
        what = f"a Tensor of {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UsageError(f"model {name}: one sample of {input_shape} gives {what}, not logits of (1, {num_classes})")
    return model, weights


class _Loader(importlib.abc.InspectLoader):
    """Run the bytes that were read: Python's own loader would run a __pycache__ that lies beside the file."""

    def __init__(self, file: UserFile):
        self.file = file

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.file.data)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.file.data, self.file.path)


def _imported(file: UserFile) -> ModuleType:
    name = f"user_model_{Path(file.path).stem}"
    spec = importlib.util.spec_from_file_location(name, file.path, loader=_Loader(file))
    assert spec and spec.loader                 # both are there with a loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)     # dataclasses look up their module
    with _errors_with_line(file.name, file.path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Begin a UsageError with the model's name."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"model {name}: {error}") from error


@contextmanager
def _errors_with_line(name: str, path: str) -> Iterator[None]:
    """Turn any exception of the user's code, SystemExit included, into a UsageError that names the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, TinyqError) else f"{type(error).__name__}: "
        raise UsageError(f"model {name}: {_place(error, path)} failed: {kind}{error}") from error


def _place(error: BaseException, path: str) -> str:
    """Return path:line of the innermost line of the user's file that led to the error, or the path alone."""
    frames, file = traceback.extract_tb(error.__traceback__), Path(path).resolve()
    lines: list[int | None] = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]                  # a syntax error: no line has run
    return f"{path}:{lines[-1]}" if lines else path
