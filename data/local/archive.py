"""Read the files asked for from a .tar.gz, by name and size, without unpacking it to disk."""
import contextlib
import gzip
import os
import tarfile
from collections.abc import Collection
from pathlib import Path

from tinyq.errors import BadInput

_ELSE = 1 << 24                 # bytes that all other members and the headers may take
_RATIO = 50                     # bytes unpacked per byte of the archive; photographs hardly shrink
_READS_BEHIND = 100


def read_members(path: str | Path, folder: str, sizes: dict[str, int], exact: bool = True) -> dict[str, bytes]:
    """Return {name: contents} of the members `folder`/name for the names in `sizes`.

    exact: each must have its size; else no more. Other members are ignored. BadInput if a member asked for is missing,
    occurs twice, is a link or has another size, or if the archive is damaged or unpacks to far more than these files.
    """
    with _opened(path, sum(sizes.values())) as archive:
        return _read(archive, str(path), {f"{folder}/{name}": name for name in sizes}, sizes, exact)


def top_folder(path: str | Path, choices: Collection[str], size: int) -> str | None:
    """Return the first of these folders that an archive of `size` unpacked bytes holds; None if it holds none."""
    with _opened(path, size) as archive:
        names = (member.name.removeprefix("./").partition("/")[0] for member in archive)
        return next((name for name in names if name in choices), None)


@contextlib.contextmanager
def _opened(path, size):
    """Open an archive that unpacks to little more than `size` bytes; report any damage as BadInput."""
    try:
        with gzip.open(path) as file:
            limited = _Limited(file, min(size, _RATIO * os.path.getsize(path)) + _ELSE)
            with tarfile.open(fileobj=limited, mode="r|") as archive:      # type: ignore[call-overload]  # it only reads
                yield archive
    except BadInput:
        raise
    except Exception as error:                  # gzip and tarfile may raise anything on hostile bytes
        raise BadInput(f"{str(path)!r}: not a complete .tar.gz file ({error}); fetch it again") from error


def _read(archive, path, wanted, sizes, exact):
    contents = {}
    for member in archive:
        name = wanted.get(member.name.removeprefix("./"))
        if name is None:
            continue
        fits = member.size == sizes[name] if exact else member.size <= sizes[name]
        if not member.isreg() or member.issparse() or not fits or name in contents:
            raise BadInput(f"{path!r}: member {member.name!r} must occur once, as a plain file of "
                           f"{'' if exact else 'at most '}{sizes[name]:,} bytes; fetch the archive again")
        contents[name] = archive.extractfile(member).read()
    missing = sorted(set(sizes) - set(contents))
    if missing:
        raise BadInput(f"{path!r}: lacks {', '.join(missing)}; fetch it again")
    return contents


class _Limited:
    """A stream of at most `left` bytes: reading further, as from a decompression bomb, raises an error.

    Reading on after its end raises too: tarfile would do so to skip a member that claims an enormous size.
    """

    def __init__(self, file, left):
        self._file, self._left, self._reads_behind = file, left, 0

    def read(self, size):
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("it unpacks to far more than this dataset has")
        self._reads_behind += not data
        if self._reads_behind > _READS_BEHIND:
            raise ValueError("a member claims to be longer than the archive")
        return data
