"""HDF5 without its two dangers: libhdf5 never writes to the disk, and nothing it reads is taken on trust.

Writing: the file is built in memory and saved as bytes, because a full disk kills a process in which libhdf5 writes.
Reading: the bytes are read once and opened as an image; links are looked at before they are followed, and a dataset
is read only when the caller expected its name, shape and dtype.
"""
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tinyq.errors import BadInput
from tinyq.files.atomic import write_bytes

MOST_BYTES = 8 << 30                  # of a file read into memory
MOST_OBJECTS, DEEPEST = 100_000, 16   # of a tree that is walked
MOST_ATTRIBUTE_BYTES = 64 << 10


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
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        for name, array in datasets.items():
            file.create_dataset(name, data=array)
        for group, values in attributes.items():
            for name, value in values.items():
                file[group].attrs.create(name, _stored(value))
        file.flush()
        return file.id.get_file_image()


class Reader:
    """An HDF5 file opened in memory: `with Reader(path) as file: file.attributes(); file.read(expected)`."""

    def __init__(self, path):
        """Read the whole file; BadInput when it is missing, too big or not HDF5."""
        self.path = Path(path)
        try:
            size = self.path.stat().st_size
            if size > MOST_BYTES:
                raise BadInput(f"{path}: {size} bytes, more than the {MOST_BYTES} that are read")
            self.image = self.path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
        try:
            self._file = h5py.File(h5py.h5f.open_file_image(self.image))
        except (ValueError, OSError, RuntimeError) as error:       # which of them depends on h5py's version
            raise BadInput(f"{path}: not an HDF5 file, or damaged") from error

    def __enter__(self):
        """The reader itself."""
        return self

    def __exit__(self, *exception):
        """Close."""
        self._file.close()

    def attributes(self, group: str = "/") -> dict:
        """A group's attributes: texts, lists of texts, numbers; BadInput for any other kind."""
        with self._damage_told():
            holder = self._object(group)
            return {} if holder is None else {name: self._attribute(holder, name) for name in holder.attrs}

    def specs(self) -> dict[str, Spec]:
        """Path and spec of every dataset, found without following a link that could lead out of the file."""
        with self._damage_told():
            return self._walked()

    def _walked(self):
        found, pending, objects = {}, [("", 0)], 0
        while pending:
            group, depth = pending.pop()
            holder = self._object(group or "/")
            objects += len(holder)
            if depth > DEEPEST or objects > MOST_OBJECTS:
                raise BadInput(f"{self.path}: more groups than any model has")
            for name in holder:
                path = f"{group}/{name}" if group else name
                item = self._object(path)
                if isinstance(item, h5py.Group):
                    pending.append((path, depth + 1))
                elif item is not None:
                    found[path] = self._spec(path, item)
                else:
                    raise BadInput(f"{self.path}: damaged (no name of an object: {name!r})")
        return found

    def read(self, expected: Mapping[str, Spec], allow_extra=False, finite=True) -> dict[str, np.ndarray]:
        """The expected datasets; BadInput lists every difference between the file and what was expected.

        A dataset nobody expected is a difference too, unless `allow_extra`; so is a NaN or an infinity if `finite`.
        """
        specs = self.specs()
        problems = [f"{name} is missing" for name in expected if name not in specs]
        problems += [] if allow_extra else [f"{name} is not of this model" for name in specs if name not in expected]
        arrays = {}
        for name in (n for n in expected if n in specs):
            with self._damage_told():
                problem = self._difference(name, specs[name], expected[name])
                if problem is None:
                    arrays[name] = self._object(name)[()] if expected[name].shape == () else self._object(name)[...]
            if problem is None:
                problem = _first_not_finite(arrays[name]) if finite else None
            if problem is not None:
                problems.append(f"{name} {problem}")
        if problems:
            raise BadInput(f"{self.path}: {'; '.join(problems)}")
        return {name: np.asarray(arrays[name]) for name in expected}

    @contextmanager
    def _damage_told(self):
        """BadInput for whatever h5py raises on the way through a damaged file."""
        try:
            yield
        except (KeyError, OSError, RuntimeError, TypeError, ValueError, MemoryError) as error:
            raise BadInput(f"{self.path}: damaged ({error})") from error

    def _object(self, path):
        """The group or dataset at a path, None where nothing is; each link on the way must be a plain one."""
        item = self._file["/"]
        for part in path.strip("/").split("/") if path != "/" else ():
            if not isinstance(item, h5py.Group):
                return None
            link = item.get(part, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise BadInput(f"{self.path}: {path} is a link out of its place; such files are refused")
            try:
                item = item[part]
            except (KeyError, OSError, RuntimeError, ValueError) as error:
                raise BadInput(f"{self.path}: {path} is damaged") from error
            if not isinstance(item, (h5py.Group, h5py.Dataset)):
                raise BadInput(f"{self.path}: {path} is neither a group nor a dataset")
        return item

    def _spec(self, path, dataset):
        try:
            shape, dtype = dataset.shape, dataset.dtype
        except (TypeError, OSError, RuntimeError, ValueError) as error:
            raise BadInput(f"{self.path}: {path} is of a type that holds no numbers ({error})") from error
        if shape is None:
            raise BadInput(f"{self.path}: {path} is a dataset without a shape")
        return Spec(shape, dtype)

    def _difference(self, name, spec, expected):
        if spec != Spec(tuple(expected.shape), np.dtype(expected.dtype)):
            return f"is {spec} instead of {expected}"
        dataset = self._object(name).id
        layout = dataset.get_create_plist()
        if layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
            return "keeps its data in another file"
        if layout.get_nfilters():
            return "is compressed or filtered (h5repack -f NONE undoes that)"
        held = dataset.get_storage_size()
        size = int(np.prod(expected.shape, dtype=np.int64)) * np.dtype(expected.dtype).itemsize
        return None if held >= size else f"holds {held} bytes of {size}"

    def _attribute(self, holder, name):
        if not isinstance(name, str):                       # bytes that are no UTF-8
            raise BadInput(f"{self.path}: damaged (no name of an attribute: {name!r})")
        try:
            stored = h5py.h5a.open(holder.id, name.encode())
            dtype, shape = stored.dtype, stored.shape
        except (TypeError, OSError, RuntimeError, ValueError) as error:
            raise BadInput(f"{self.path}: attribute {name} is damaged") from error
        short = shape is not None and len(shape) <= 1 and dtype.itemsize * sum(shape or (1,)) <= MOST_ATTRIBUTE_BYTES
        if not short or dtype.kind not in "Siuf":
            raise BadInput(f"{self.path}: attribute {name} is neither a short text nor a number")
        value = holder.attrs[name]
        if dtype.kind == "S":
            texts = [bytes(text).decode("utf-8", "replace") for text in np.atleast_1d(value)]
            return texts if shape else texts[0]
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
