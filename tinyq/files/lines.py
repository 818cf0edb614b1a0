"""A file of lines to which lines are only ever added, each on its way to the disk before the next is made."""
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes


class Lines:
    """An open file; what was added survives a kill, what was synced a power cut.

    What a disk refuses waits in memory, and goes to the file before anything else; a last line that a kill cut short
    is left out by `read_lines`.
    """

    def __init__(self, path, keep: bytes = b""):
        """Open the file with `keep`, whole lines, as its contents."""
        self.path, self._waiting, self._doubtful = Path(path), bytearray(), False
        self._size, self._hash = len(keep), hashlib.sha256(keep)
        write_bytes(self.path, keep)
        self._open()

    @property
    def waiting(self) -> int:
        """Bytes that the disk has not taken yet."""
        return len(self._waiting)

    def add(self, line: bytes) -> None:
        """Add a line, its newline included.

        Raises InputOutputError when the disk takes no more; the line is kept, and written before the next.
        """
        self._waiting += line
        self._write()

    def sync(self) -> None:
        """See to it that every line so far survives a power cut; InputOutputError when that fails."""
        self._write()
        try:
            if self._doubtful:                  # after a failed sync the system may take lost bytes for written ones
                self._write_anew()
            os.fsync(self._descriptor)
        except OSError as error:
            self._doubtful = True
            raise InputOutputError(f"{self.path}: syncing failed ({error.strerror}); look after this disk") from error

    def close(self) -> None:
        """Close the file, with what waits if there is room by now; no more lines can be added."""
        with suppress(InputOutputError):
            self._write()
        os.close(self._descriptor)

    def _open(self):
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise CannotCreate(f"{self.path}: cannot be opened for writing ({error.strerror})") from error

    def _write(self):
        try:
            while self._waiting:                # a write may be short: the rest of the line follows
                written = os.write(self._descriptor, self._waiting)
                self._size += written
                self._hash.update(self._waiting[:written])
                del self._waiting[:written]
        except OSError as error:
            raise InputOutputError(f"{self.path}: writing failed ({error.strerror}); free some space") from error

    def _write_anew(self):
        data = self.path.read_bytes()
        if hashlib.sha256(data).digest() != self._hash.digest():
            raise OSError(0, f"what is left, {len(data)} bytes, is not the {self._size} bytes that were written")
        try:
            write_bytes(self.path, data)
        finally:                                # even where its folder cannot be synced the new file is there
            before = self._descriptor
            self._open()
            os.close(before)
        self._doubtful = False


def read_lines(path) -> list[bytes]:
    """All whole lines of a file with their newlines; BadInput where it cannot be read."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return [line + b"\n" for line in lines[:-1]]
