"""A user's Python file and a function in it: read once, checked, run where asked; errors name the user's line."""
import hashlib
import importlib.abc
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Self

from tinyq.errors import TinyqError, UsageError, own_code
from tinyq.files.read import read_file
from tinyq.own_code.code_names import split_name
from tinyq.own_code.neighbours import check_imports

MAX_SOURCE_BYTES = 1 << 24


@dataclass(eq=False)
class CodeFile:
    """A user's file, read once, so that the bytes with the SHA-256 are the bytes that run."""

    path: str
    data: bytes
    _module: ModuleType | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: str, what: str) -> Self:
        """Read the file; UsageError where there is none. what: setting and value, as errors name them."""
        if not Path(path).is_file():
            raise UsageError(f"{what}: there is no file {path}")
        return cls(path, read_file(path, MAX_SOURCE_BYTES))

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()

    def module(self, what: str) -> ModuleType:
        """Run the file, at the first call only, and return its module; UsageError with the line where it fails."""
        if self._module is None:
            try:
                check_imports(self.data, self.path)
            except UsageError as error:
                raise UsageError(f"{what}: {error}") from error
            with errors_with_line(what, self.path):
                self._module = _run(self)
        return self._module


@dataclass(frozen=True, eq=False)
class UserFunction:
    """A function in a user's file, as a setting names it."""

    setting: str                        # such as "model"
    file: CodeFile
    function: str

    @classmethod
    def read(cls, setting: str, name: str) -> Self:
        """Read the file of "path/to/file.py:function"; UsageError where there is none, or no function is named."""
        path, function = checked_name(setting, name)
        return cls(setting, CodeFile.read(path, f"{setting} {name}"), function)

    @property
    def name(self) -> str:
        """The name: "path/to/file.py:function"."""
        return f"{self.file.path}:{self.function}"

    @property
    def what(self) -> str:
        """Setting and name, with which errors begin."""
        return f"{self.setting} {self.name}"

    def loaded(self) -> Callable[..., Any]:
        """Run the file and return its function, not called yet; UsageError where it has none of this name."""
        found = getattr(self.file.module(self.what), self.function, None)
        if not callable(found):
            raise UsageError(f"{self.what}: {self.file.path} defines no {self.function}")
        return found

    def call(self, *arguments: Any, **options: Any) -> Any:
        """Run the file and call its function; UsageError, with the line in the user's file, for what goes wrong."""
        function = self.loaded()
        with self.errors_with_line():
            return function(*arguments, **options)

    @contextmanager
    def errors_with_line(self) -> Iterator[None]:
        """Turn any exception into a UsageError that names the setting and the line of the user's file."""
        with errors_with_line(self.what, self.file.path):
            yield


def checked_name(setting: str, name: str) -> tuple[str, str]:
    """Return (path, function) of "path/to/file.py:function"; UsageError where it names no function."""
    path, function = split_name(name)
    if not function.isidentifier() or not path.endswith(".py"):
        raise UsageError(f"{setting} {name}: say which function it is, such as {name.split(':')[0]}:function")
    return path, function


@contextmanager
def errors_with_line(what: str, path: str) -> Iterator[None]:
    """Turn any exception of the user's code, SystemExit included, into a UsageError that names the line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        said = str(error) if isinstance(error, TinyqError) else f"{type(error).__name__}: {error}"
        if isinstance(error, TinyqError) and error.layer:
            said = said.replace(f"{error.layer[1]}):", "):", 1)             # the line is said already
        raise UsageError(f"{what}: {_place(error, path)} failed: {said}") from error


class _Loader(importlib.abc.InspectLoader):
    """Run the bytes that were read: Python's own loader would run a __pycache__ that lies beside the file."""

    def __init__(self, file: CodeFile):
        self.file = file

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self.file.data)

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.file.data, self.file.path)


def _run(file: CodeFile) -> ModuleType:
    from tinyq.autodiff import PRIMITIVES

    name = f"own_code_{Path(file.path).stem}_{file.sha256[:8]}"
    spec = importlib.util.spec_from_file_location(name, file.path, loader=_Loader(file))
    assert spec and spec.loader                 # both are there with a loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)     # dataclasses look up their module
    own_code.add(file.path)
    before = dict(PRIMITIVES)
    try:
        spec.loader.exec_module(module)
    finally:
        PRIMITIVES.clear()                      # the primitives of a user's file are known in it alone
        PRIMITIVES.update(before)
    return module


def _place(error: BaseException, path: str) -> str:
    """Return path:line of the innermost line of the user's file that led to the error, or the path alone."""
    frames, file = traceback.extract_tb(error.__traceback__), Path(path).resolve()
    lines: list[int | None] = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file]
    if isinstance(error, SyntaxError) and not lines:
        lines = [error.lineno]                  # a syntax error: no line has run
    return f"{path}:{lines[-1]}" if lines else path
