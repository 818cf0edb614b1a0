"""Receive a file piece by piece under a temporary name; an interrupted transfer can continue."""
import os
from pathlib import Path
from typing import Self

from tinyq.errors import CannotCreate, InputOutputError

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class PartialFile:
    """The bytes received so far, in `path`; `finish` gives the file its final name."""

    def __init__(self, path: str | Path):
        """Continue the file at `path` or create it; CannotCreate where that is not possible."""
        self.path = Path(path)
        try:
            self._descriptor = os.open(path, _FLAGS, 0o666)
        except OSError as error:
            raise CannotCreate(f"{path}: cannot be created ({error.strerror}); make the folder writable "
                               "or choose another") from error
        self.size = os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        """Append bytes; InputOutputError where the disk is full (earlier bytes stay)."""
        try:
            while data:                                 # a write may be short on a nearly full disk
                written = os.write(self._descriptor, data)
                self.size, data = self.size + written, data[written:]
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space and "
                                   "continue: the bytes received so far are kept") from error

    def restart(self) -> None:
        """Discard all bytes."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0

    def finish(self, path: str | Path) -> None:
        """Sync the file and rename it to `path`, in the same folder."""
        try:
            os.fsync(self._descriptor)
            os.replace(self.path, path)
        except OSError as error:
            raise InputOutputError(f"{path}: writing failed ({error.strerror})") from error

    def close(self) -> None:
        """Close the file and leave it in place."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Return the partial file."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()
