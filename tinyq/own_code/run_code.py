"""All code of the user's own in a run: read where the command line names it, or trusted copies of a run folder."""
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tinyq.errors import BadInput
from tinyq.files.atomic import write_bytes
from tinyq.output.terminal import tell_once
from tinyq.own_code.code_file import CodeFile, UserFunction, checked_name
from tinyq.own_code.code_names import PLUGIN, code_in, copies_in, copy_names, files_in, split_name


@dataclass(frozen=True, eq=False)
class RunCode:
    """The user's own functions by setting, plug-ins, and files by the name of their copy in the run folder.

    Settings that name the same file share it, so that it runs once.
    """

    functions: dict[str, UserFunction]
    plugins: tuple[CodeFile, ...]
    copies: dict[str, CodeFile]

    @classmethod
    def read(cls, settings: Mapping[str, Any], known: Iterable[CodeFile] = ()) -> Self:
        """Read the files that settings of the command line name; UsageError for one that is not there.

        known: files that were read, and may have run, already.
        """
        code, read = code_in(settings), {os.path.abspath(file.path): file for file in known}
        _check_names(code)
        files: dict[str, CodeFile] = {}
        for key, path in files_in(code):
            what = f"{key} {path if key == PLUGIN else code[key]}"
            files[path] = files.get(path) or read.get(os.path.abspath(path)) or CodeFile.read(path, what)
        return cls._of(code, files, copy_names(code))

    @classmethod
    def trusted(cls, folder: str | Path, settings: Mapping[str, Any], trust: bool, recorded: object) -> Self:
        """Read the copies in a run folder, as its settings name them; a line on standard error says that each runs.

        recorded: {name of the copy: SHA-256} when the run began. BadInput unless the copies are trusted and are the
        recorded ones; no file is read before.
        """
        code = code_in(settings)
        names, copies = copy_names(code), copies_in(folder, code)
        if code and not trust:
            named = " and ".join(f"{key} {value}" for key, value in code.items())
            are, copy, them = ("are", "copies", "them") if len(code) > 1 else ("is", "copy", "it")
            raise BadInput(f"{folder}: its {named} {are} code, which a run folder must not choose; to run the {copy} "
                           f"{' and '.join(copies.values())}, read {them} and add --trust")
        _check_names(code)
        files = {path: _trusted_file(Path(folder) / name, recorded) for path, name in names.items()}
        return cls._of(code, files, names)

    def __or__(self, other: "RunCode") -> "RunCode":
        """Add code of other settings."""
        return RunCode({**self.functions, **other.functions}, (*self.plugins, *other.plugins),
                       {**self.copies, **other.copies})

    @property
    def sha256(self) -> dict[str, str]:
        """The SHA-256 of each file, by the name of its copy, as the run records them."""
        return {name: file.sha256 for name, file in self.copies.items()}

    def write(self, folder: str | Path) -> None:
        """Copy the files into a run folder."""
        for name, file in self.copies.items():
            write_bytes(Path(folder) / name, file.data)

    @classmethod
    def _of(cls, code: Mapping[str, str], files: Mapping[str, CodeFile], names: Mapping[str, str]) -> Self:
        functions = {key: UserFunction(key, files[path], function) for key, value in code.items() if key != PLUGIN
                     for path, function in [split_name(value)]}
        plugins = tuple(files[path] for key, path in files_in(code) if key == PLUGIN)
        return cls(functions, plugins, {names[path]: file for path, file in files.items()})


def _check_names(code: Mapping[str, str]) -> None:
    for key, value in code.items():
        if key != PLUGIN:
            checked_name(key, value)


def _trusted_file(copy: Path, recorded: object) -> CodeFile:
    """Read a copy in a run folder; BadInput unless it is there and is the recorded one."""
    if copy.is_symlink():
        raise BadInput(f"{copy}: is a link; put the copy itself back, because --trust runs no other file")
    if not copy.is_file():
        raise BadInput(f"{copy}: missing; put this copy back, because --trust runs no other file")
    expected = recorded.get(copy.name) if isinstance(recorded, Mapping) else None
    if not isinstance(expected, str) or not expected:
        raise BadInput(f"{copy}: no SHA-256 of it is on record, so it cannot be trusted; start a new run")
    file = CodeFile.read(str(copy), str(copy))
    if file.sha256 != expected:
        raise BadInput(f"{copy}: is not the file that the run was made with (its SHA-256 is {file.sha256[:12]}, on "
                       f"record is {expected[:12]}); put that file back")
    tell_once(f"tinyq: note: --trust runs {file.path}, SHA-256 {file.sha256}, as on record")
    return file
