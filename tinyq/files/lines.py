"""Append lines to a file, each handed to the system before the next is made."""
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tinyq.errors import BadInput, CannotCreate, InputOutputError
from tinyq.files.atomic import write_bytes

MAX_LINE = 64 << 20                     # bytes
PART = 1 << 20                          # bytes read at once


class Lines:
    """An open file: added lines survive a kill, synced ones a power cut.

    Bytes that the disk refuses wait in memory and are written before later ones; `lines_of` leaves out a last line
    that a kill cut short.
    """

    def __init__(self, path: str | Path, keep: int = 0):
        """Open the file with its first `keep` bytes, whole lines, and drop the rest; 0 begins a new file.

        A file with another name, a hard link, is copied first: the other name keeps its contents.
        """
        self.path, self._waiting, self._doubtful = Path(path), bytearray(), False
        self._size, self._hash = keep, hashlib.sha256()
        if not keep:
            write_bytes(self.path, b"")
        self._open()
        if keep and os.fstat(self._descriptor).st_nlink > 1:
            os.close(self._descriptor)
            write_bytes(self.path, self.path.read_bytes())
            self._open()
        if keep:
            self._keep(keep)

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
            raise InputOutputError(f"{self.path}: syncing failed ({error.strerror}); check this disk") from error

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

    def _keep(self, size):
        try:
            with open(self.path, "rb") as file:
                while size and (part := file.read(min(size, PART))):
                    self._hash.update(part)
                    size -= len(part)
            os.ftruncate(self._descriptor, self._size)
        except OSError as error:
            os.close(self._descriptor)
            raise InputOutputError(f"{self.path}: cannot be appended to ({error.strerror})") from error

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
            raise OSError(0, f"the {len(data)} bytes on the disk differ from the {self._size} bytes written")
        try:
            write_bytes(self.path, data)
        finally:                                # the new file exists even if its folder cannot be synced
            before = self._descriptor
            self._open()
            os.close(before)
        self._doubtful = False


def lines_of(path: str | Path, start: int = 0) -> Iterator[bytes]:
    """Yield the whole lines of a file from byte `start` on, newlines included, one at a time.

    Raises BadInput where the file cannot be read or a line is longer than MAX_LINE bytes.
    """
    try:
        with open(path, "rb") as file:
            file.seek(start)
            while (line := file.readline(MAX_LINE)).endswith(b"\n"):
                yield line
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    if len(line) == MAX_LINE:
        raise BadInput(f"{path}: a line is longer than {MAX_LINE >> 20} MiB, which no run writes")
