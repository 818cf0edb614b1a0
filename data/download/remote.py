"""List the files that can be fetched: addresses, sizes and SHA-256."""
import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from tinyq.data.sources.cifar10 import ARCHIVE
from tinyq.errors import BadInput

CHUNK = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """One file to download, found at each mirror's address + its name.

    With `pinned_inside`, size and hash are those of the contents of a .gz, because mirrors compress differently.
    """

    name: str
    size: int
    sha256: str
    mirrors: tuple[str, ...]
    pinned_inside: bool = False

    @property
    def most(self) -> int:
        """Largest number of bytes that a download of this file can have."""
        return self.size + (1 << 16 if self.pinned_inside else 0)       # gzip makes even noise hardly larger

    def check(self, path: str | Path) -> None:
        """Raise BadInput unless `path` is this file; if the contents are pinned, it may be unpacked."""
        try:
            unpack = self.pinned_inside and _is_gzip(path)
            with (gzip.open if unpack else open)(path, "rb") as file:
                size, digest = _size_and_digest(file, self.size)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{str(path)!r}: cannot be read ({error})") from error
        if size > self.size:
            raise BadInput(f"{str(path)!r}: more than the {self.size:,} bytes it should have")
        if digest != self.sha256:
            raise BadInput(f"{str(path)!r}: {size:,} bytes with SHA-256 {digest}, not {self.size:,} with {self.sha256}")


def _is_gzip(path):
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _size_and_digest(file, most):
    """Return the size and SHA-256 of a stream; stop reading after `most` bytes."""
    size, digest = 0, hashlib.sha256()
    while size <= most and (data := file.read(CHUNK)):
        size += len(data)
        digest.update(data)
    return size, digest.hexdigest()


_MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def _mnist(name, size, sha256):
    return RemoteFile(f"{name}.gz", size, sha256, _MNIST_MIRRORS, pinned_inside=True)


MNIST = (
    _mnist("train-images-idx3-ubyte", 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    _mnist("train-labels-idx1-ubyte", 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    _mnist("t10k-images-idx3-ubyte", 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    _mnist("t10k-labels-idx1-ubyte", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
)
CIFAR10 = RemoteFile(ARCHIVE, 170_052_171, "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
                     ("https://www.cs.toronto.edu/~kriz/",))
