"""Append lines to a file, each handed to the system before the next is made."""
import hashlib
import os
from contextlib import suppress
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes


class Lines:
    """An open file: added lines survive a kill, synced ones a power cut.

    Bytes that the disk refuses wait in memory and are written before later ones; `read_lines` leaves out a last line
    that a kill cut short.
    """

    def __init__(self, path: str | Path, keep: bytes = b""):
        """Replace the file's contents by `keep`, whole lines, and open it."""
        self.path, self._waiting, self._doubtful = Path(path), bytearray(), False
        self._size, self._hash = len(keep), hashlib.sha256(keep)
        write_bytes(self.path, keep)
        self._open()

    @property
    def waiting(self) -> int:
        """Number of bytes not yet written."""
        return len(self._waiting)

    def add(self, line: bytes) -> None:
        """Add a line, its newline included.

        Raises InputOutputError where the disk is full; the line is kept in memory and written before the next.
        """
        self._waiting += line
        self._write()

    def sync(self) -> None:
        """Sync all lines so far to the disk; InputOutputError where that fails."""
        self._write()
        try:
            if self._doubtful:                  # a failed sync may mark lost bytes as written
                self._rewrite()
            os.fsync(self._descriptor)
        except OSError as error:
            self._doubtful = True
            raise InputOutputError(f"{self.path}: syncing failed ({error.strerror}); look after this disk") from error

    def close(self) -> None:
        """Write waiting bytes if the disk accepts them, and close the file."""
        with suppress(InputOutputError):
            self._write()
        os.close(self._descriptor)

    def _open(self):
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
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

    def _rewrite(self):
        data = self.path.read_bytes()
        if hashlib.sha256(data).digest() != self._hash.digest():
            raise OSError(0, f"the {len(data)} bytes on the disk are not the {self._size} bytes written")
        try:
            write_bytes(self.path, data)
        finally:                                # the new file exists even if its folder cannot be synced
            before = self._descriptor
            self._open()
            os.close(before)
        self._doubtful = False


def read_lines(path: str | Path) -> list[bytes]:
    """Return all whole lines of a file, newlines included; BadInput where it cannot be read."""
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return [line + b"\n" for line in lines[:-1]]
