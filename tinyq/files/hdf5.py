"""Read and write HDF5 safely: libhdf5 never writes to the disk and never reads an untrusted file.

Writing: build the file in memory and save its bytes, because a full disk kills a process in which libhdf5 writes.
Reading: read the bytes once and parse them with hdf5_bytes.py; do not follow links out of the file, and read a dataset
only if the caller expects its name, shape and dtype.
"""
import math
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5_messages
from tinyq.files.atomic import write_bytes
from tinyq.files.hdf5_bytes import Image
from tinyq.files.hdf5_messages import Damaged, Stored
from tinyq.files.read import read_file

MAX_OBJECTS, MAX_DEPTH = 100_000, 16   # of the tree of groups
MAX_ATTRIBUTE_BYTES = 64 << 10
MAX_ALIKE = 3                          # datasets that a message names for one reason

Datasets = Mapping[str, np.ndarray]
Attributes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Spec:
    """Expected shape and dtype of a dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, array: np.ndarray) -> "Spec":
        """Return the spec of an array."""
        return cls(np.shape(array), np.asarray(array).dtype)

    def __str__(self) -> str:
        """Format as float32 (3, 4)."""
        return f"{np.dtype(self.dtype)} {tuple(self.shape)}"


def write(path: str | Path, datasets: Datasets, attributes: Attributes) -> None:
    """Save arrays by path ("layer1.0.conv1/weight") and attributes by group ("/" is the root), atomically.

    An attribute is a text, a list of texts, an integer or a float. Equal contents give equal bytes.
    """
    write_bytes(path, encode(datasets, attributes))


def encode(datasets: Datasets, attributes: Attributes) -> bytes:
    """Return the bytes of the HDF5 file that `write` saves; the order of datasets and groups does not matter."""
    import h5py  # here: reading does without

    name = f"memory of thread {threading.get_ident()}"          # HDF5 refuses to open one name twice at a time
    with h5py.File(name, "w", driver="core", backing_store=False, libver=("earliest", "latest")) as file:
        for dataset, array in sorted(datasets.items()):
            file.create_dataset(dataset, data=array)
        for group, values in sorted(attributes.items()):
            for name, value in values.items():
                file[group].attrs.create(name, _stored(value))
        file.flush()
        return file.id.get_file_image()


class Reader:
    """An HDF5 file read without libhdf5: `with Reader(path) as file: file.attributes(); file.read(expected)`."""

    def __init__(self, path: str | Path, foreign: bool = False):
        """Read the whole file; BadInput where it is missing, too large or not HDF5.

        foreign: pass over datasets that are no numbers, which another program may keep beside its weights.
        """
        self.path, self._foreign = Path(path), foreign
        self.image = read_file(path)
        try:
            self._bytes = Image(self.image)
        except Damaged as error:
            raise BadInput(f"{path}: not an HDF5 file, or damaged ({error})") from None

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: no file is open."""

    def attributes(self, group: str = "/") -> dict:
        """Return a group's attributes: texts of fixed length, lists of them, numbers; others are passed over."""
        with self._damage_reported():
            self._bytes.begin()
            found: dict = {}
            for name, stored, data in hdf5_messages.attributes(self._find(group) or []):
                if name in found:
                    raise Damaged("an attribute appears twice")
                if isinstance(stored, Stored) and _is_short(stored):
                    found[name] = self._attribute(name, stored, data)
            return found

    def specs(self) -> dict[str, Spec]:
        """Return {path: spec} of every dataset; links that could lead out of the file are not followed."""
        with self._damage_reported():
            return {path: Spec(stored.sizes, stored.dtype) for path, (stored, _) in self._datasets.items()}

    def read(self, expected: Mapping[str, Spec], allow_extra: bool = False,
             finite: bool = True) -> dict[str, np.ndarray]:
        """Return the expected datasets; BadInput lists every difference between the file and `expected`.

        Differences include unexpected datasets, unless `allow_extra`, and NaN or infinities, if `finite`.
        """
        specs = self.specs()
        self._bytes.begin()
        problems = [f"{name} is missing" for name in expected if name not in specs]
        problems += [] if allow_extra else [f"{name} is not of this model" for name in specs if name not in expected]
        arrays: dict[str, np.ndarray] = {}
        alike: dict[str, list[str]] = {}                    # datasets by what is wrong with them
        given = 0
        for name in (n for n in expected if n in specs):
            problem = self._difference(name, specs[name], expected[name])
            given += 0 if problem else self._datasets[name][0].size
            if given > len(self.image):                     # several datasets may share bytes
                raise BadInput(f"{self.path}: its datasets are larger than the file")
            if problem is None:
                try:
                    arrays[name] = self._bytes.values(*self._datasets[name])
                    problem = _first_not_finite(arrays[name]) if finite else None
                except Damaged as error:
                    problem = f"is damaged ({error})"
            if problem is not None:
                alike.setdefault(problem, []).append(name)
        for problem, names in alike.items():
            rest = len(names) - MAX_ALIKE
            problems += [f"{name} {problem}" for name in names[:MAX_ALIKE]]
            problems += [f"likewise {rest} other datasets"] if rest > 0 else []
        if problems:
            raise BadInput(f"{self.path}: {'; '.join(problems)}")
        return {name: arrays[name] for name in expected}

    @contextmanager
    def _damage_reported(self, where=""):
        """Raise BadInput for any damage that is found."""
        try:
            yield
        except Damaged as error:
            raise BadInput(f"{self.path}: {where or 'damaged'} ({error})") from None

    @cached_property
    def _datasets(self) -> dict[str, tuple[Stored, list]]:
        """Return {path: (description, messages of its header)} of all datasets, in the order of their paths."""
        self._bytes.begin()
        found: dict[str, tuple[Stored, list]] = {}
        pending, objects = [("", 0, self._bytes.messages(self._bytes.root))], 0
        while pending:
            group, depth, messages = pending.pop()
            links = self._bytes.links(messages)
            objects += len(links)
            if depth > MAX_DEPTH or objects > MAX_OBJECTS:
                raise BadInput(f"{self.path}: more groups than any model has")
            for name, address in links.items():
                path = f"{group}/{name}" if group else name
                self._bytes.spend(len(path))
                messages = self._bytes.messages(self._followed(path, address))
                if self._bytes.is_group(messages):
                    pending.append((path, depth + 1, messages))
                elif (stored := self._dataset(path, messages)) is not None:
                    found[path] = stored, messages
        return dict(sorted(found.items()))

    def _find(self, path):
        """Return the header of the group at a path; None where there is none."""
        messages = self._bytes.messages(self._bytes.root)
        for part in filter(None, path.split("/")):
            links = self._bytes.links(messages)
            if part not in links:
                return None
            messages = self._bytes.messages(self._followed(path, links[part]))
        return messages

    def _followed(self, path, address):
        if address is None:
            raise BadInput(f"{self.path}: {path} is a link; files with links are not read")
        return address

    def _dataset(self, path, messages):
        """Return type and shape of a dataset; in a foreign file None where it is none of numbers."""
        try:
            return self._described(path, messages)
        except BadInput:
            if self._foreign:
                return None
            raise

    def _described(self, path, messages):
        with self._damage_reported(f"{path} is damaged or unsupported"):
            stored = hdf5_messages.describe(messages)
        if stored is None:
            raise BadInput(f"{self.path}: {path} is neither a group nor a dataset")
        if stored.shape is None:
            raise BadInput(f"{self.path}: {path} is a dataset without a shape")
        return stored

    def _difference(self, name, spec, expected):
        if spec != Spec(tuple(expected.shape), np.dtype(expected.dtype)):
            return f"is {spec} instead of {expected}"
        return hdf5_messages.find_obstacle(self._datasets[name][1])

    def _attribute(self, name, stored, data):
        if len(data) < stored.size:
            raise BadInput(f"{self.path}: attribute {name} is damaged")
        value = np.frombuffer(data, stored.dtype, math.prod(stored.sizes)).reshape(stored.sizes)
        if stored.dtype.kind == "S":
            texts = [text.decode("utf-8", "replace") for text in np.atleast_1d(value).tolist()]
            return texts if stored.shape else texts[0]
        return value.tolist()


def _is_short(stored):
    """Return whether an attribute is a text, a list of texts or numbers, of no more than MAX_ATTRIBUTE_BYTES."""
    return (stored.shape is not None and len(stored.shape) <= 1 and stored.size <= MAX_ATTRIBUTE_BYTES
            and stored.dtype.kind in "Siuf")


def _stored(value):
    """Convert texts to fixed-length UTF-8, which every viewer shows and which needs no heap in the file."""
    if isinstance(value, str):
        return np.array(value.encode() or b"\0")
    if isinstance(value, (list, tuple)):
        return np.array([text.encode() or b"\0" for text in value], dtype="S" if value else "S1")
    return value


def _first_not_finite(array):
    if array.dtype.kind != "f":
        return None
    bad = np.flatnonzero(~np.isfinite(array))
    return f"holds {array.reshape(-1)[bad[0]]} at index {bad[0]}" if bad.size else None
