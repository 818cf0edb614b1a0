"""Read IDX, the file format of MNIST: a magic number, big-endian sizes, then bytes."""
import gzip
import math
import shlex
import struct
import zlib
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput

BYTE_LIMIT = 1 << 30            # largest size that a header may claim: twenty times MNIST


def find_idx(folder: str | Path, name: str) -> Path | None:
    """Return the path of `name`.gz or `name` in a folder, or None."""
    return next((p for p in (Path(folder) / f"{name}.gz", Path(folder) / name) if p.is_file()), None)


def read_idx(path: str | Path, dimensions: int) -> np.ndarray:
    """Read an IDX file (or .gz of one) with this number of dimensions as a uint8 array.

    BadInput if it is another kind of file, damaged, or shorter or longer than its header says.
    """
    try:
        with (gzip.open if Path(path).suffix == ".gz" else open)(path, "rb") as file:
            return _read(file, str(path), dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(f"{str(path)!r}: cannot be read ({error}); {_fetch_again(path)}") from error


def _read(file, path, dimensions):
    header = file.read(4 + 4 * dimensions)
    expected = bytes([0, 0, 8, dimensions])         # 8: unsigned bytes
    if header[:4] != expected:
        raise BadInput(f"{path!r}: starts with {header[:4].hex()}, an IDX file of bytes in {dimensions} dimensions "
                       f"with {expected.hex()}; {_fetch_again(path)}")
    if len(header) < 4 + 4 * dimensions:
        raise BadInput(f"{path!r}: ends inside its header; {_fetch_again(path)}")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    size = math.prod(shape)
    if size > BYTE_LIMIT:
        raise BadInput(f"{path!r}: claims {size:,} bytes of data, over the limit of {BYTE_LIMIT:,}; it is damaged")
    data = file.read(size + 1)
    if len(data) != size:
        got = f"only {len(data):,}" if len(data) < size else "more"
        raise BadInput(f"{path!r}: {got} bytes of data where its header says {size:,}; it is damaged, "
                       f"{_fetch_again(path)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _fetch_again(path):
    """Return the advice to fetch the file again into its folder."""
    return f"fetch it again: python -m tinyq.data fetch mnist --data-path {shlex.quote(str(Path(path).parent))}"
