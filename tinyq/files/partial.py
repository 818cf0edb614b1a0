"""A file that arrives piece by piece: under another name until it is whole, kept when interrupted so as to go on."""
import os
from pathlib import Path

from tinyq.errors import CannotCreate, InputOutputError

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class PartialFile:
    """Bytes received so far, in `path`; `finish` gives the file its real name."""

    def __init__(self, path):
        """Go on with what is at `path`, or start an empty file there; CannotCreate when that is not possible."""
        self.path = Path(path)
        try:
            self._descriptor = os.open(path, _FLAGS, 0o666)
        except OSError as error:
            raise CannotCreate(f"{path}: cannot be created ({error.strerror}); make the folder writable "
                               "or choose another") from error
        self.size = os.fstat(self._descriptor).st_size

    def append(self, data: bytes) -> None:
        """Add bytes at the end; InputOutputError when the disk takes no more (what is there stays)."""
        try:
            while data:                                 # a write may be short near a full disk
                written = os.write(self._descriptor, data)
                self.size, data = self.size + written, data[written:]
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space and go on: "
                                   "what has arrived is kept") from error

    def restart(self) -> None:
        """Forget what has arrived."""
        os.ftruncate(self._descriptor, 0)
        self.size = 0

    def finish(self, path) -> None:
        """Sync the bytes to disk and rename the file to `path`, in the same folder."""
        try:
            os.fsync(self._descriptor)
            os.replace(self.path, path)
        except OSError as error:
            raise InputOutputError(f"{path}: writing failed ({error.strerror})") from error

    def close(self) -> None:
        """Close the file, which stays where it is."""
        os.close(self._descriptor)

    def __enter__(self):
        """The partial file itself."""
        return self

    def __exit__(self, *exception):
        """Close."""
        self.close()
