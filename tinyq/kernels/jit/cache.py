"""Keep compiled kernels in a folder of this user alone, and load only files that were written completely.

numba's cache holds machine code and pickles. Whoever can change them can run any code, and a damaged file can crash the
process or compute something else. So the folder must belong to the user and be closed to others, and each file has a
seal, a SHA-256 in a second file. A file without its seal counts as missing, and the kernel is compiled again.
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

from tinyq.kernels.jit import arm_extensions
from tinyq.kernels.jit.target import target_features, tiles_refused
from tinyq.output.terminal import tell

SEAL = ".sha256"
PRIVATE, OWNERS = 0o700, 0o600         # modes of the folder and of its files, whatever the umask
_HOME = "~"                             # what is left of it where the system knows no home folder
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """Return the folder of compiled kernels, named by a hash: numba does not notice an edit in another module."""
    base = os.environ.get("TINYQ_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser(f"{_HOME}/.cache")) / "tinyq"
    forced = os.environ.get("TINYQ_ISA", "")                # isa.py: the same names with other code, or none
    variant = f"-{forced}" if forced.isalnum() and forced != "numpy" else ""
    beyond = sorted(arm_extensions.EXTENSIONS & target_features())                     # numba's key lacks them
    variant += "".join(f"-{name}" for name in beyond)
    return Path(base) / f"kernels-{_SOURCE_HASH}{variant}{'-without-tiles' if tiles_refused() else ''}"


@cache
def usable_folder(folder: Path) -> Path:
    """Make the folder private and return it; if that fails, report it and return a folder for this process only."""
    try:
        if folder.parts[0] == _HOME:
            raise OSError(None, "this user has no home folder")
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        _make_private(folder)
        return folder
    except OSError as error:
        tell(f"tinyq: {folder}: kernels cannot be kept here ({error.strerror}), so each run compiles them again; set "
             "TINYQ_CACHE to a folder of your own")
        temporary = Path(tempfile.mkdtemp(prefix="tinyq-kernels-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return temporary


class SealedFiles(IndexDataCacheFile):
    """numba's index and code files of one function, each with its seal."""

    def load(self, key):
        """Return the code kept under a key; None where it is missing, damaged or not ours."""
        try:
            return super().load(key)
        except Exception:                       # sealed but unusable: compile again
            return None

    def _load_index(self):
        return super()._load_index() if _is_sealed(self._index_path) else {}

    def _load_data(self, name):
        path = self._data_path(name)
        if not _is_sealed(path):
            raise FileNotFoundError(path)       # numba then treats it as a removed file
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, path):
        with super()._open_for_write(path) as file:
            os.fchmod(file.fileno(), OWNERS)
            yield file
        with super()._open_for_write(path + SEAL) as file:
            os.fchmod(file.fileno(), OWNERS)
            file.write(_seal(path))

    def save(self, key, data):
        """Keep compiled code under a key, unless the disk fails."""
        try:
            super().save(key, data)
        except OSError:
            return                              # the kernel runs without it


def sealed(dispatcher):
    """Return the compiled function with its cache replaced by a sealed one."""
    files = dispatcher._cache._cache_file
    base = files._index_name.removesuffix(".nbi")
    dispatcher._cache._cache_file = SealedFiles(files._cache_path, base, files._source_stamp)
    return dispatcher


def _make_private(folder):
    """Close the folder to others; OSError unless it is a real folder of this user that can be written."""
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
    """Hash name and content, so that two files cannot change places."""
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
