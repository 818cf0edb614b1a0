"""Read arrays out of a NumPy archive (.npz) without unpickling anything."""
import math
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from tinyq.data.local.idx import BYTE_LIMIT, MAX_RATIO, SMALL
from tinyq.errors import BadInput

LARGEST = 1 << 34                       # bytes of one array of a user's own
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)                   # what NumPy writes
_KINDS = "biufU"                        # truth, whole numbers, floats, text


def read_npz(path: str | Path, axes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return {name: uint8 array} of the names in `axes`, which gives the number of axes of each.

    Integers of more bytes are accepted where each value fits into 8 bits. BadInput if the archive is damaged, lacks a
    name (the message lists those that it has), or holds another type or shape, or unpacks to far more than its size.
    """
    held = names_in(path)
    missing = [name for name in axes if name not in held]
    if missing:
        raise BadInput(f"{str(path)!r}: lacks {', '.join(missing)}; it holds {', '.join(held[:8]) or 'nothing'}")
    return {name: _bytes(array, axes[name], f"{str(path)!r}: {name}")
            for name, array in read_arrays(path, axes, BYTE_LIMIT).items()}


def names_in(path: str | Path) -> list[str]:
    """Return the names of the arrays in an archive; BadInput where it is damaged or has one twice."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except Exception as error:                  # zipfile raises anything on hostile bytes
        raise _unreadable(path, error) from error
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadInput(f"{str(path)!r}: holds {twice[0]!r} twice; save it again")
    return names


def read_arrays(path: str | Path, names: Collection[str], largest: int = LARGEST) -> dict[str, np.ndarray]:
    """Return {name: array} of truth values, whole numbers, floats or texts, in the machine's byte order.

    largest: bytes that one array may take. BadInput where the archive is damaged, an array is of another type, as a
    pickled one is, or unpacks to far more than its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name: _read(archive, name, str(path), largest) for name in names}
    except BadInput:
        raise
    except MemoryError as error:
        raise BadInput(f"{str(path)!r}: too large for the memory of this machine") from error
    except Exception as error:                  # zipfile and NumPy raise anything on hostile bytes
        raise _unreadable(path, error) from error


def _read(archive, name, path, largest):
    """Read one array; its header decides how much is unpacked, so it is checked first."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in _METHODS:
        raise BadInput(f"{path!r}: {name} is compressed in a way that NumPy does not use; save it again")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise BadInput(f"{path!r}: {name} has version {version} of NumPy's format; save it again as plain numbers")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype.kind not in _KINDS or dtype.subdtype:
            what = ("Python objects, in a pickle, which are never read" if dtype.hasobject else f"values of {dtype}")
            raise BadInput(f"{path!r}: {name} holds {what}; save it as an array of numbers or texts")
        size, limit = math.prod(shape) * dtype.itemsize, min(largest, SMALL + MAX_RATIO * info.compress_size)
        if min(shape, default=0) < 0 or size > limit:
            raise BadInput(f"{path!r}: {name} claims {size:,} bytes, over the limit of {limit:,}; it is damaged")
        data = file.read(size + 1)
    if len(data) != size:
        raise BadInput(f"{path!r}: {name} has {len(data):,} bytes where its header says {size:,}; it is damaged")
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(values, dtype.newbyteorder("=")).reshape(shape)


def _bytes(values, axes, what):
    if values.dtype.kind not in "iu" or values.ndim != axes:
        raise BadInput(f"{what} is {values.dtype} {values.shape}, not an array of whole numbers with {axes} axes")
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise BadInput(f"{what} has values outside 0 ... 255")
    return values.astype(np.uint8)


def _unreadable(path, error):
    return BadInput(f"{str(path)!r}: not a readable NumPy archive ({error})")
