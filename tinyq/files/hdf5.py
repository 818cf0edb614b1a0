"""HDF5 without its two dangers: libhdf5 never writes to the disk, and never sees a file that someone else made.

Writing: the file is built in memory and saved as bytes, because a full disk kills a process in which libhdf5 writes.
Reading: the bytes are read once and understood by hdf5_bytes.py; links that lead elsewhere are not followed, and a
dataset is read only when the caller expected its name, shape and dtype.
"""
import math
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5_messages
from tinyq.files.atomic import write_bytes
from tinyq.files.hdf5_bytes import Image
from tinyq.files.hdf5_messages import Damaged, Stored
from tinyq.files.read import read_file

MAX_OBJECTS, DEEPEST = 100_000, 16   # of a tree that is walked
MAX_ATTRIBUTE_BYTES = 64 << 10


@dataclass(frozen=True)
class Spec:
    """What the dataset of some name must be."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, array) -> "Spec":
        """The spec that `array` meets."""
        return cls(np.shape(array), np.asarray(array).dtype)

    def __str__(self):
        """Such as float32 (3, 4)."""
        return f"{np.dtype(self.dtype)} {tuple(self.shape)}"


def write(path, datasets: Mapping, attributes: Mapping) -> None:
    """Save arrays by path ("layer1.0.conv1/weight") and attributes by group ("/" is the root), atomically.

    An attribute is a text, a list of texts, an integer or a float. The same contents give the same bytes.
    """
    write_bytes(path, encode(datasets, attributes))


def encode(datasets: Mapping, attributes: Mapping) -> bytes:
    """The bytes of the HDF5 file that `write` saves."""
    with h5py.File("memory", "w", driver="core", backing_store=False, libver=("earliest", "latest")) as file:
        for name, array in datasets.items():
            file.create_dataset(name, data=array)
        for group, values in attributes.items():
            for name, value in values.items():
                file[group].attrs.create(name, _stored(value))
        file.flush()
        return file.id.get_file_image()


class Reader:
    """An HDF5 file read without libhdf5: `with Reader(path) as file: file.attributes(); file.read(expected)`."""

    def __init__(self, path):
        """Read the whole file; BadInput when it is missing, too big or not HDF5."""
        self.path = Path(path)
        self.image = read_file(path)
        try:
            self._bytes = Image(self.image)
        except Damaged as error:
            raise BadInput(f"{path}: not an HDF5 file, or damaged ({error})") from None

    def __enter__(self):
        """The reader itself."""
        return self

    def __exit__(self, *exception):
        """Nothing is open."""

    def attributes(self, group: str = "/") -> dict:
        """A group's attributes: texts, lists of texts, numbers; BadInput for any other kind."""
        with self._damage_told():
            messages = self._find(group)
            found = [] if messages is None else list(hdf5_messages.attributes(messages))
            if len({name for name, *_ in found}) < len(found):
                raise Damaged("an attribute is there twice")
            return {name: self._attribute(name, *attribute) for name, *attribute in found}

    def specs(self) -> dict[str, Spec]:
        """Path and spec of every dataset, found without following a link that could lead out of the file."""
        with self._damage_told():
            return {path: Spec(stored.shape, stored.dtype) for path, (stored, _) in self._datasets.items()}

    def read(self, expected: Mapping[str, Spec], allow_extra=False, finite=True) -> dict[str, np.ndarray]:
        """The expected datasets; BadInput lists every difference between the file and what was expected.

        A dataset nobody expected is a difference too, unless `allow_extra`; so is a NaN or an infinity if `finite`.
        """
        specs = self.specs()
        problems = [f"{name} is missing" for name in expected if name not in specs]
        problems += [] if allow_extra else [f"{name} is not of this model" for name in specs if name not in expected]
        arrays, given = {}, 0
        for name in (n for n in expected if n in specs):
            problem = self._difference(name, specs[name], expected[name])
            given += 0 if problem else self._datasets[name][0].size
            if given > len(self.image):                     # datasets may share their bytes
                raise BadInput(f"{self.path}: its datasets hold more than the file")
            if problem is None:
                problem, arrays[name] = self._values(name)
            if problem is None and finite:
                problem = _first_not_finite(arrays[name])
            if problem is not None:
                problems.append(f"{name} {problem}")
        if problems:
            raise BadInput(f"{self.path}: {'; '.join(problems)}")
        return {name: arrays[name] for name in expected}

    @contextmanager
    def _damage_told(self, where=""):
        """BadInput for whatever is found in a damaged file."""
        try:
            yield
        except Damaged as error:
            raise BadInput(f"{self.path}: {where or 'damaged'} ({error})") from None

    @cached_property
    def _datasets(self) -> dict[str, tuple[Stored, list]]:
        """What each dataset is, and the messages of its header, by path."""
        found, pending, objects = {}, [("", 0, self._bytes.messages(self._bytes.root))], 0
        while pending:
            group, depth, messages = pending.pop()
            links = self._bytes.links(messages)
            objects += len(links)
            if depth > DEEPEST or objects > MAX_OBJECTS:
                raise BadInput(f"{self.path}: more groups than any model has")
            for name, address in links.items():
                path = f"{group}/{name}" if group else name
                messages = self._bytes.messages(self._followed(path, address))
                if self._bytes.is_group(messages):
                    pending.append((path, depth + 1, messages))
                else:
                    found[path] = self._dataset(path, messages), messages
        return found

    def _find(self, path):
        """The header of the group at a path, None where nothing is."""
        messages = self._bytes.messages(self._bytes.root)
        for part in filter(None, path.split("/")):
            links = self._bytes.links(messages)
            if part not in links:
                return None
            messages = self._bytes.messages(self._followed(path, links[part]))
        return messages

    def _followed(self, path, address):
        if address is None:
            raise BadInput(f"{self.path}: {path} is a link out of its place; such files are refused")
        return address

    def _dataset(self, path, messages):
        with self._damage_told(f"{path} is"):
            stored = hdf5_messages.described(messages)
        if stored is None:
            raise BadInput(f"{self.path}: {path} is neither a group nor a dataset")
        if stored.shape is None:
            raise BadInput(f"{self.path}: {path} is a dataset without a shape")
        return stored

    def _difference(self, name, spec, expected):
        if spec != Spec(tuple(expected.shape), np.dtype(expected.dtype)):
            return f"is {spec} instead of {expected}"
        return hdf5_messages.obstacle(self._datasets[name][1])

    def _values(self, name):
        """(what is wrong, None), or (None, the values)."""
        stored, messages = self._datasets[name]
        try:
            return None, self._bytes.values(stored, messages)
        except Damaged as error:
            return str(error), None

    def _attribute(self, name, stored, data):
        short = isinstance(stored, Stored) and stored.shape is not None and len(stored.shape) <= 1
        if not short or stored.size > MAX_ATTRIBUTE_BYTES or stored.dtype.kind not in "Siuf":
            raise BadInput(f"{self.path}: attribute {name} is neither a short text nor a number")
        if len(data) < stored.size:
            raise BadInput(f"{self.path}: attribute {name} is damaged")
        value = np.frombuffer(data, stored.dtype, math.prod(stored.shape)).reshape(stored.shape)
        if stored.dtype.kind == "S":
            texts = [text.decode("utf-8", "replace") for text in np.atleast_1d(value).tolist()]
            return texts if stored.shape else texts[0]
        return value.tolist()


def _stored(value):
    """Texts as fixed-length UTF-8, which every viewer shows and which needs no heap."""
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
