"""Read arrays of 8-bit numbers out of a NumPy archive (.npz) without unpickling anything."""
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinyq.data.local.idx import BYTE_LIMIT, MAX_RATIO, SMALL
from tinyq.errors import BadInput

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: str | Path, axes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return {name: uint8 array} of the names in `axes`, which gives the number of axes of each.

    Integers of more bytes are accepted where each value fits into 8 bits. BadInput if the archive is damaged, lacks a
    name (the message lists those that it has), or holds another type or shape, or unpacks to far more than its size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [name for name in axes if name not in names]
            if missing:
                held = ", ".join(names[:8]) or "nothing"
                raise BadInput(f"{str(path)!r}: lacks {', '.join(missing)}; it holds {held}")
            return {name: _read(archive, name, count, str(path)) for name, count in axes.items()}
    except BadInput:
        raise
    except Exception as error:                  # zipfile and NumPy raise anything on hostile bytes
        raise BadInput(f"{str(path)!r}: not a readable NumPy archive ({error})") from error


def _read(archive, name, axes, path):
    """Read one array; its header decides how much is unpacked, so it is checked first."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        shape, fortran, dtype = _HEADERS[np.lib.format.read_magic(file)](file)
        size, limit = math.prod(shape) * dtype.itemsize, min(BYTE_LIMIT, SMALL + MAX_RATIO * info.compress_size)
        if dtype.kind not in "iu" or len(shape) != axes or fortran:
            raise BadInput(f"{path!r}: {name} is {dtype} {shape}, not an array of whole numbers with {axes} axes")
        if size > limit:
            raise BadInput(f"{path!r}: {name} claims {size:,} bytes, over the limit of {limit:,}; it is damaged")
        data = file.read(size + 1)
    if len(data) != size:
        raise BadInput(f"{path!r}: {name} has {len(data):,} bytes where its header says {size:,}; it is damaged")
    values = np.frombuffer(data, dtype).reshape(shape)
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise BadInput(f"{path!r}: {name} has values outside 0 ... 255")
    return values.astype(np.uint8)
