"""Reading a .tar.gz without unpacking it: only the files asked for, by name and size; nothing is extracted by path."""
import gzip
import tarfile

from tinyq.errors import BadInput

_ELSE = 1 << 24                 # bytes that all other members and the headers may take
_READS_BEHIND = 100


def read_members(path, folder: str, sizes: dict[str, int]) -> dict[str, bytes]:
    """The contents of `folder`/name for every name in `sizes`, each of exactly its size.

    Other members are passed over, whatever their names and kinds. Raises BadInput when one asked for is missing,
    twice there, a link, or of another size, and when the archive is damaged or unpacks to far more than these files.
    """
    try:
        with gzip.open(path) as file:
            limited = _Limited(file, sum(sizes.values()) + _ELSE)
            with tarfile.open(fileobj=limited, mode="r|") as archive:      # type: ignore[call-overload]  # it only reads
                return _read(archive, str(path), {f"{folder}/{name}": name for name in sizes}, sizes)
    except BadInput:
        raise
    except Exception as error:                  # on hostile bytes gzip and tarfile may fail in any way
        raise BadInput(f"{str(path)!r}: not a whole .tar.gz file ({error}); fetch it again") from error


def _read(archive, path, wanted, sizes):
    contents = {}
    for member in archive:
        name = wanted.get(member.name.removeprefix("./"))
        if name is None:
            continue
        if not member.isreg() or member.size != sizes[name] or name in contents:
            raise BadInput(f"{path!r}: member {member.name!r} is not the one plain file of {sizes[name]:,} bytes "
                           "that belongs there; fetch the archive again")
        contents[name] = archive.extractfile(member).read()
    missing = sorted(set(sizes) - set(contents))
    if missing:
        raise BadInput(f"{path!r}: lacks {', '.join(missing)}; fetch it again")
    return contents


class _Limited:
    """A stream that refuses to give more than `left` bytes: a bomb stops here, whatever hides it.

    Nor is it read on and on behind its end, as tarfile would to pass over a member that claims to be endless.
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
