"""A model from a user's file, tried once on a sample of zeros so that its mistakes are told before anything runs."""
import importlib.util
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import TinyqError, UsageError


def user_model(name, num_classes, input_shape):
    """(the model that "path/to/file.py:factory" returns, its conv and linear weights in the order they compute).

    Raises UsageError, naming the line in the user's file where there is one, for whatever goes wrong.
    """
    path, _, factory = name.rpartition(":")
    if not factory.isidentifier() or not path.endswith(".py"):
        raise UsageError(f"--model {name}: say which function builds it, such as {name.split(':')[0]}:factory")
    if not Path(path).is_file():
        raise UsageError(f"--model {name}: there is no file {path}")
    module = _imported(name, path)
    if not hasattr(module, factory):
        raise UsageError(f"--model {name}: {path} defines no {factory}")
    with _told_by_line(name, path):
        model = getattr(module, factory)(num_classes, input_shape)
    if not isinstance(model, nn.Module):
        raise UsageError(f"--model {name}: {factory} returned a {type(model).__name__}, not a tinyq.nn.Module")
    with _told_by_line(name, path):
        weights, y = nn.computing_weights(model, input_shape)
    if not isinstance(y, Tensor) or y.shape != (1, num_classes):
        what = f"a Tensor of {y.shape}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise UsageError(f"--model {name}: one sample of {input_shape} gives {what}, not logits of (1, {num_classes})")
    return model, weights


def _imported(name, path):
    spec = importlib.util.spec_from_file_location(f"user_model_{Path(path).stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)     # dataclasses look themselves up there
    with _told_by_line(name, path):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _told_by_line(name, path):
    """Whatever the user's code raises, an exit included, as a UsageError that names the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, TinyqError) else f"{type(error).__name__}: "
        raise UsageError(f"--model {name}: {_place(error, path)} failed: {kind}{error}") from error


def _place(error, path):
    """path:line of the innermost line of the user's file that led to the error; the path alone if none did."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == Path(path).resolve()]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]                  # of a file that does not parse no line ever ran
    return f"{path}:{lines[-1]}" if lines else path
