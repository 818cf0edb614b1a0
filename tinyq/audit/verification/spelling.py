"""One spelling per file: the bytes that tinyq writes for the contents that it reads."""
import hashlib
from pathlib import Path

import h5py

from tinyq.errors import AuditMismatch
from tinyq.files.read import sha256_of


def check_spelling(path: Path, written: bytes) -> None:
    """Raise AuditMismatch unless the file has these bytes: nothing in it is then left unread.

    HDF5 1.14.2 to 2.0.0 write equal bytes for equal contents; the message names the version here.
    """
    if sha256_of(path) != hashlib.sha256(written).hexdigest():
        raise AuditMismatch(f"{path.name}: holds something besides what is compared, such as attributes of its own or "
                            f"bytes that nothing reads (HDF5 {h5py.version.hdf5_version} here writes it otherwise)")
