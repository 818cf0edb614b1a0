"""Read IDX, the file format of MNIST: a magic number, big-endian sizes, then bytes."""
import gzip
import math
import os
import shlex
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput

SMALL, MAX_RATIO = 64 << 20, 50                         # MNIST unpacks to 5 bytes for each of its .gz
BYTE_LIMIT = 1 << 30            # largest size that a header may claim: twenty times MNIST


def find_idx(folder: str | Path, name: str) -> Path | None:
    """Return the path of a file in a folder, or None: `name`.gz or `name`, or as it is called elsewhere.

    Elsewhere "train-images-idx3-ubyte" is called "train-images.idx3-ubyte", or lies in a folder of its own name.
    """
    dotted = name.replace("-idx", ".idx")
    names = (f"{name}.gz", name, f"{dotted}.gz", dotted, f"{name}/{name}", f"{dotted}/{dotted}", f"{dotted}/{name}")
    return next((path for path in (Path(folder) / each for each in names) if path.is_file()), None)


def read_idx(path: str | Path, dimensions: int, check_shape: Callable[[tuple[int, ...]], None] | None = None
             ) -> np.ndarray:
    """Read an IDX file (or .gz of one, whatever its name) with this number of dimensions as a uint8 array.

    BadInput if it is another kind of file, damaged, or shorter or longer than its header says. check_shape: called with
    the header's shape before any data is unpacked.
    """
    try:
        with (gzip.open if _is_gzip(path) else open)(path, "rb") as file:
            shape = _read_shape(file, str(path), dimensions, os.path.getsize(path))
            if check_shape:
                check_shape(shape)
            return _read_data(file, str(path), shape)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{str(path)!r}: cannot be read ({error}); {_fetch_again(path)}") from error


def _is_gzip(path):
    """Return whether a file begins as a .gz does: browsers unpack some and keep the name."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _read_shape(file, path, dimensions, held):
    """Return the shape in the header; held: size of the file, which must be in proportion."""
    header = file.read(4 + 4 * dimensions)
    expected = bytes([0, 0, 8, dimensions])         # 8: unsigned bytes
    if header[:4] != expected:
        raise BadInput(f"{path!r}: starts with {header[:4].hex()}, an IDX file of bytes in {dimensions} dimensions "
                       f"with {expected.hex()}; {_fetch_again(path)}")
    if len(header) < 4 + 4 * dimensions:
        raise BadInput(f"{path!r}: ends inside its header; {_fetch_again(path)}")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size, limit = math.prod(shape), min(BYTE_LIMIT, SMALL + MAX_RATIO * held)
    if size > limit:
        raise BadInput(f"{path!r}: claims {size:,} bytes of data, over the limit of {limit:,} for a file of {held:,}; "
                       "it is damaged")
    return shape


def _read_data(file, path, shape):
    size = math.prod(shape)
    data = file.read(size + 1)
    if len(data) != size:
        got = f"only {len(data):,}" if len(data) < size else "more"
        raise BadInput(f"{path!r}: {got} bytes of data where its header says {size:,}; it is damaged, "
                       f"{_fetch_again(path)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _fetch_again(path):
    """Return the advice to fetch the file again into its folder."""
    return f"fetch it again: python -m tinyq.data fetch mnist --data-path {shlex.quote(str(Path(path).parent))}"
