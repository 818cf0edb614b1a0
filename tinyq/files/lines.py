"""A file of lines to which lines are only ever added, each on its way to the disk before the next is made."""
import os
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes


class Lines:
    """An open file; what was added survives a kill, a last line that a kill cut short is left out."""

    def __init__(self, path, keep: bytes = b""):
        """Open the file with `keep`, whole lines, as its contents."""
        self.path = Path(path)
        write_bytes(self.path, keep)
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise CannotCreate(f"{path}: cannot be opened for writing ({error.strerror})") from error

    def add(self, line: bytes) -> None:
        """Add a line, its newline included."""
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space") from error
        if written < len(line):
            raise InputOutputError(f"{self.path}: disk full; free some space")

    def sync(self) -> None:
        """Wait until everything added is on the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space") from error

    def close(self) -> None:
        """Close the file; no more lines can be added."""
        os.close(self._descriptor)


def read_lines(path) -> list[bytes]:
    """All whole lines of a file with their newlines; BadInput where it cannot be read."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return [line + b"\n" for line in lines[:-1]]
