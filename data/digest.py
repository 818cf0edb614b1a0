"""Compute the SHA-256 of a dataset, which a run records."""
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput


def digest_of_arrays(**arrays: np.ndarray) -> str:
    """Digest name, dtype, shape and little-endian bytes of each array, in name order."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        total.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        total.update(array.reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def digest_of_listing(names: Iterable[str], sizes: Iterable[int], labels: Iterable[int]) -> str:
    """Digest names, sizes and labels of files; this detects added, lost, cut and moved files, not changed bytes."""
    total = hashlib.sha256()
    for name, size, label in zip(names, sizes, labels, strict=True):
        total.update(f"{name}\0{size}\0{label}\0".encode(errors="surrogateescape"))
    return total.hexdigest()


def digest_of_file(path: str | Path) -> str:
    """Digest a file; BadInput when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(f"{str(path)!r}: cannot be read ({error.strerror})") from error
