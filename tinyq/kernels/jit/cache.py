"""Where compiled kernels are kept: a folder of this user alone, in which nothing is loaded that was not written whole.

numba's cache holds machine code, and pickles that it runs: whoever can change them runs what he likes, and a damaged
file ends the process or computes something else. So the folder must belong to the user and be closed to others, and
each file has a seal beside it, a SHA-256; without its seal a file is as good as missing, and is compiled anew.
"""
import atexit
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import llvmlite
import numba
from numba.core.caching import IndexDataCacheFile

from tinyq.errors import tell
from tinyq.kernels.jit.target import tiles_refused

SEAL = ".sha256"
PRIVATE = 0o700
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Where compiled kernels are kept; numba's own check does not see an edit in another module, a hash does."""
    base = os.environ.get("TINYQ_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyq"
    forced = os.environ.get("TINYQ_ISA", "")                # isa.py: other code of the same name, or none at all
    variant = f"-{forced}" if forced.isalnum() and forced != "numpy" else ""
    return Path(base) / f"kernels-{_SOURCE_HASH}{variant}{'-without-tiles' if tiles_refused() else ''}"


@cache
def usable_folder(folder: Path) -> Path:
    """The folder, made private; or one for this process only, which is told, where that cannot be had."""
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        _make_private(folder)
        return folder
    except OSError as error:
        tell(f"tinyq: {folder}: kernels cannot be kept here ({error.strerror}), so each run compiles them anew; set "
             "TINYQ_CACHE to a folder of your own")
        temporary = Path(tempfile.mkdtemp(prefix="tinyq-kernels-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return temporary


class SealedFiles(IndexDataCacheFile):
    """numba's index and code files of one function, each with its seal."""

    def load(self, key):
        """What is kept under a key; None where it is missing, damaged or not ours."""
        try:
            return super().load(key)
        except Exception:                       # sealed, and yet of no use: compiling it again cannot be wrong
            return None

    def _load_index(self):
        return super()._load_index() if _is_sealed(self._index_path) else {}

    def _load_data(self, name):
        path = self._data_path(name)
        if not _is_sealed(path):
            raise FileNotFoundError(path)       # which numba takes for a file that was removed
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, path):
        with super()._open_for_write(path) as file:
            yield file
        with super()._open_for_write(path + SEAL) as file:
            file.write(_seal(path))

    def save(self, key, data):
        """Keep compiled code under a key, if the disk takes it."""
        try:
            super().save(key, data)
        except OSError:
            return                              # the kernel runs all the same


def sealed(dispatcher):
    """The same compiled function, its cache replaced by a sealed one."""
    files = dispatcher._cache._cache_file
    base = files._index_name.removesuffix(".nbi")
    dispatcher._cache._cache_file = SealedFiles(files._cache_path, base, files._source_stamp)
    return dispatcher


def _make_private(folder):
    """OSError unless the folder is a real one, of this user, which can be written; it is closed to others."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(None, "it is a link or another user's")
    if stat.S_IMODE(found.st_mode) != PRIVATE:
        os.chmod(folder, PRIVATE)
    tempfile.TemporaryFile(dir=folder).close()


def _is_sealed(path):
    try:
        with open(path + SEAL, "rb") as file:
            return all(map(_is_ours, (path, path + SEAL))) and file.read() == _seal(path)
    except OSError:
        return False


def _is_ours(path):
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & OTHERS_WRITE


def _seal(path):
    """Over the name too, so that two files cannot change places."""
    digest = hashlib.sha256(os.path.basename(path).encode() + b"\0")
    with open(path, "rb") as file:
        digest.update(file.read())
    return digest.hexdigest().encode()


def _hash_sources() -> str:
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


_SOURCE_HASH = _hash_sources()
