"""Describe what a run depends on besides its configuration and data: versions, sources, the kernels' results."""
import hashlib
import importlib.metadata
import platform
import sys
from pathlib import Path

import numpy as np

from tinyq import __version__, kernels
from tinyq.streams import Streams

PACKAGES = ("numpy", "numba", "llvmlite", "h5py", "pillow", "tqdm")
SOURCES = ("tinyq", "tinyq.models", "tinyq.data")


def environment() -> dict:
    """Return versions, the SHA-256 of tinyq's sources, the type of machine, and a fingerprint of the kernels."""
    from tinyq.kernels import capability

    return {"tinyq": __version__, "python": platform.python_version(),
            "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
            "source_sha256": source_sha256(), "machine": platform.machine(),
            "instruction_set": capability.instruction_set(), "fingerprint": fingerprint()}


def differences(recorded: dict) -> list[str]:
    """List the differences between a recorded environment and this one that may change results, one line each."""
    here, found = environment(), []
    if recorded.get("fingerprint") != here["fingerprint"]:
        found.append("the kernels give other results on this machine than where the run was made (fingerprint)")
    if recorded.get("source_sha256") != here["source_sha256"]:
        found.append(f"tinyq's sources differ from those that made the run (tinyq {recorded.get('tinyq')}, "
                     f"source_sha256 {str(recorded.get('source_sha256'))[:12]})")
    return found


def source_sha256() -> str:
    """Return the SHA-256 over the name and bytes of every Python file of tinyq, models and data.

    A file's name is that of its module, so that a checkout, where models/ and data/ stand beside the package, and an
    installed wheel, where they are inside it, have the same.
    """
    total, found = hashlib.sha256(), {}
    for package in SOURCES:
        importlib.import_module(package)
        folder = Path(next(iter(sys.modules[package].__path__)))
        place = package.replace(".", "/")
        found.update({f"{place}/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*.py")})
    for name, path in sorted(found.items()):
        total.update(f"{name}\0".encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def fingerprint() -> str:
    """Return the SHA-256 of the kernels' results on fixed numbers: equal where machines can replay each other."""
    stream = Streams(0).key("fingerprint")
    a, b = (stream.normal(shape).astype(np.float32) for shape in ((19, 611), (611, 23)))
    labels = stream.integers(0, 23, 19)
    product = kernels.matmul(a, b)
    loss, probabilities = kernels.softmax_cross_entropy(product, labels, 0.1)
    w, momentum = a.copy(), a * np.float32(0.5)
    kernels.sgd(w, a, momentum, 0.01, 1.0, 5e-4, False, 0.9)
    results = [product, loss, probabilities, w, kernels.sum(a, (0, 1)), kernels.exp(a), kernels.log(np.abs(a)),
               kernels.channel_sums(product), np.sqrt(np.abs(a)) / (1 + np.abs(a)),
               kernels.softmax_cross_entropy_grad(np.float32(1) * np.ones((), np.float32), probabilities, labels, 0.1)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(r).tobytes() for r in results)).hexdigest()
