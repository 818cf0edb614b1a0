"""A model from a user's file, run once on zeros so that its mistakes are reported before training starts."""
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import TinyqError, UsageError
from tinyq.models.input_checks import Shape


def user_model(name: str, num_classes: int, input_shape: Shape) -> tuple[nn.Module, list[nn.Parameter]]:
    """Call "path/to/file.py:factory"; returns (model, its conv and linear weights in the order they compute).

    UsageError, with the line in the user's file where there is one, for anything that goes wrong.
    """
    path, _, factory = name.rpartition(":")
    if not factory.isidentifier() or not path.endswith(".py"):
        raise UsageError(f"model {name}: say which function builds it, such as {name.split(':')[0]}:factory")
    if not Path(path).is_file():
        raise UsageError(f"model {name}: there is no file {path}")
    module = _imported(name, path)
    if not hasattr(module, factory):
        raise UsageError(f"model {name}: {path} defines no {factory}")
    with _errors_with_line(name, path):
        model = getattr(module, factory)(num_classes, input_shape)
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {name}: {factory} returned a {type(model).__name__}, not a tinyq.nn.Module")
    with _errors_with_line(name, path):
        weights, y = nn.computing_weights(model, input_shape)
    if not isinstance(y, Tensor) or y.shape != (1, num_classes):
        what = f"a Tensor of {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UsageError(f"model {name}: one sample of {input_shape} gives {what}, not logits of (1, {num_classes})")
    return model, weights


def _imported(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"user_model_{Path(path).stem}", path)
    assert spec and spec.loader                 # both are there for a path that ends in .py
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)     # dataclasses look themselves up there
    with _errors_with_line(name, path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _errors_with_line(name: str, path: str) -> Iterator[None]:
    """Turn whatever the user's code raises, SystemExit included, into a UsageError that names the line."""
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
        lines = [error.lineno]                  # a file that does not parse ran no line
    return f"{path}:{lines[-1]}" if lines else path
