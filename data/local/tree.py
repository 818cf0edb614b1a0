"""List and read image trees, <split>/<class>/<image>, in a folder or in a .zip."""
import os
import zipfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from tinyq.data.images.decode import BYTE_LIMIT, SKIP
from tinyq.data.images.formats import ALL_SUFFIXES
from tinyq.data.local.filters import (
    HIDDEN,
    LOOPING,
    OUTSIDE,
    PARTS,
    described,
    is_hidden,
    is_image,
    quoted,
    suffix_of,
    total,
)
from tinyq.errors import BadInput
from tinyq.files.read import read_file

SMALL, MAX_RATIO = 1 << 20, 50                          # of a member: images hardly shrink in a .zip
USUAL_SUFFIXES = (".jpg", ".jpeg", ".png")

Classes = dict[str, list[str]]                          # names of the images in each class folder


class FolderTree:
    """An image tree on disk. Names are relative paths with "/", in code-point order; links are followed."""

    def __init__(self, path: str | Path) -> None:
        """Raise BadInput unless `path` is a readable folder."""
        self.path = Path(path)
        self._passed_over: dict[str, Counter] = {}
        _check(self.path.is_dir(),
               f"{str(path)!r}: no such folder; give the one that holds train/<class>/*.jpg with --data-path")

    def splits(self) -> list[str]:
        """Return the names of the top-level folders, without those that others beside them link to."""
        folders = self._split_up("", self._passed_over.setdefault("", Counter()))
        linked = {os.path.realpath(self.path / name) for name in folders if (self.path / name).is_symlink()}
        return [name for name in folders if (self.path / name).is_symlink()
                or os.path.realpath(self.path / name) not in linked]

    def classes(self, split: str) -> Classes:
        """Return the image names of each class folder of a split, those in sub-folders of it included."""
        counts = self._passed_over[split] = Counter()
        return {name: sorted(self._images(f"{split}/{name}", counts, (os.path.realpath(self.path / split / name),)))
                for name in self._split_up(split, counts)}

    def folders(self, split: str) -> list[str]:
        """Return the names of the class folders of a split."""
        return self._split_up(split, Counter())

    def passed_over(self) -> dict[str, int]:
        """Return {reason: number} of the files and folders that were not read, in the splits listed so far."""
        return total(self._passed_over.values())

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; BadInput if it does not exist, as for a broken link."""
        try:
            return os.stat(self.path / name).st_size
        except OSError as error:
            raise BadInput(f"{str(self.path / name)!r}: cannot be read ({error.strerror}); restore it, remove it, or "
                           f"{SKIP}") from error

    def read(self, name: str) -> bytes:
        """Read a file; BadInput unless it is a regular file within the size limit."""
        try:
            return read_file(self.path / name, BYTE_LIMIT)
        except BadInput as error:
            raise BadInput(f"{error}; restore it, remove it, or {SKIP}") from error

    def _split_up(self, below, counts):
        """Return the folders in the folder `below`; files beside them count as passed over."""
        counts.clear()
        folders = []
        for entry in self._entries(below):
            if is_hidden(entry.name):
                counts[HIDDEN] += 1
            elif entry.is_dir():
                folders.append(entry.name)
            else:
                counts[OUTSIDE] += 1
        return sorted(folders)

    def _images(self, below, counts, above):
        """Yield the images in the folder `below` and its sub-folders; above: real paths of the folders around it."""
        for entry in self._entries(below):
            name = f"{below}/{entry.name}"
            if is_hidden(entry.name):
                counts[HIDDEN] += 1
            elif entry.is_dir() and not is_image(entry.name):   # a folder named as an image is refused when it is read
                real = os.path.realpath(entry.path)
                if real in above:
                    counts[LOOPING] += 1
                else:
                    yield from self._images(name, counts, (*above, real))
            elif is_image(entry.name):
                yield name
            else:
                counts[suffix_of(entry.name)] += 1

    def _entries(self, below):
        try:
            return list(os.scandir(self.path / below))
        except OSError as error:
            raise BadInput(f"{str(self.path / below)!r}: cannot be listed ({error.strerror})") from error


class ZipTree:
    """An image tree inside a .zip, never unpacked to disk."""

    def __init__(self, path: str | Path) -> None:
        """Raise BadInput unless `path` is a readable zip file whose names all stay inside it."""
        self.path = Path(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise BadInput(f"{str(path)!r}: not a readable zip file ({error})") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._classes: dict[str, Classes] = {}
        self._counts: Counter = Counter()
        self._hidden: set[str] = set()
        self._depth = _depth(member.filename.split("/") for member in self._zip.infolist())
        for member in self._zip.infolist():
            self._add(member)
        held = sum(member.compress_size for member in self._members.values())
        _check(held <= os.path.getsize(path), f"{str(path)!r}: its members overlap; do not trust this file")

    def _add(self, member):
        parts = member.filename.split("/")
        where = f"{str(self.path)!r}: member {member.filename!r}"
        safe = "\\" not in member.filename and not any(part in ("..", ".") for part in parts) and parts[0] != ""
        _check(safe, f"{where} would lie outside the archive; do not trust this file")
        hidden = next((k for k, part in enumerate(parts) if is_hidden(part)), None)
        if hidden is not None:
            self._hidden.add("/".join(parts[:hidden + 1]))
            return
        if self._depth and member.is_dir() and len(parts) == 2:         # the folder around all others
            return
        parts = parts[self._depth:]
        if len(parts) > 1:
            split = self._classes.setdefault(parts[0], {})
        if len(parts) > 2 and parts[1]:
            split.setdefault(parts[1], [])                      # "train/cat/": an empty class is still a class
        if member.is_dir():
            return
        if len(parts) < 3 or not is_image(parts[-1]):
            self._counts[OUTSIDE if len(parts) < 3 else suffix_of(parts[-1])] += 1
            return
        name = "/".join(parts)
        _check(name not in self._members, f"{where} occurs twice; do not trust this file")
        _check(member.file_size <= BYTE_LIMIT, f"{where} claims {member.file_size:,} bytes for one image; remove it")
        _check(member.file_size <= SMALL + MAX_RATIO * member.compress_size,
               f"{where} claims {member.file_size:,} bytes, unpacked from {member.compress_size:,}; remove it")
        self._members[name] = member
        split[parts[1]].append(name)

    def splits(self) -> list[str]:
        """Return the names of the top-level folders."""
        return sorted(self._classes)

    def classes(self, split: str) -> Classes:
        """Return the image names of each class folder of a split, those in sub-folders of it included."""
        return {name: sorted(images) for name, images in sorted(self._classes[split].items())}

    def folders(self, split: str) -> list[str]:
        """Return the names of the class folders of a split."""
        return sorted(self._classes[split])

    def passed_over(self) -> dict[str, int]:
        """Return {reason: number} of the members that are not read."""
        return total([self._counts, Counter({HIDDEN: len(self._hidden)} if self._hidden else {})])

    def size(self, name: str) -> int:
        """Return the unpacked size of a file in bytes."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """Read a file; zipfile checks its checksum and unpacks no more than the declared size."""
        try:
            return self._zip.read(self._members[name])
        except Exception as error:              # damaged, encrypted or of an unknown compression
            raise BadInput(f"{str(self.path)!r}: member {name!r} cannot be unpacked ({error})") from error


def open_tree(path: str | Path) -> FolderTree | ZipTree:
    """Open the image tree at `path`, a .zip file or a folder; one folder around the parts is passed through."""
    if Path(path).suffix.lower() == ".zip":
        return ZipTree(path)
    if not os.path.isdir(path):
        return FolderTree(path)                                         # which says what is missing
    tops = _folders(path)
    below = [inner.name for inner in _folders(tops[0].path)] if len(tops) == 1 else []
    return FolderTree(tops[0].path if _is_around([top.name for top in tops], below) else path)


def _folders(path):
    """Return the entries of the folders in a folder, without hidden ones; none where it cannot be listed."""
    try:
        return [entry for entry in os.scandir(path) if entry.is_dir() and not is_hidden(entry.name)]
    except OSError:
        return []


def _depth(names: Iterable[list[str]]) -> int:
    """Return 1 where one folder lies around the parts in a .zip, 0 where the parts are its top folders."""
    seen = [parts for parts in names if not any(map(is_hidden, parts))]
    tops, below = ({parts[k] for parts in seen if len(parts) > k + 1} for k in (0, 1))
    return int(_is_around(tops, below))


def _is_around(tops: Collection[str], below: Collection[str]) -> bool:
    return len(tops) == 1 and not set(tops) & set(PARTS) and bool(set(below) & set(PARTS))


def labelled_images(tree: FolderTree | ZipTree, split: str, class_names: Sequence[str] | None = None,
                    partial: bool = False) -> tuple[Sequence[str], list[str], np.ndarray]:
    """Return (class names, image names, labels) of a split, class by class; labels are int64 indices of class names.

    class_names: by default the split's class folders, in code-point order. If given, the folders must be exactly
    these, or with `partial` some of these. BadInput lists all folders that are empty, unknown or missing.
    """
    classes, where = tree.classes(split), f"{str(tree.path)!r}: {split!r}"
    class_names = list(classes) if class_names is None else class_names
    _check(classes, f"{where} holds no class folders; images belong in {split}/<class>/; a folder of images without "
           "labels belongs elsewhere")
    empty = [name for name, images in classes.items() if not images]
    others = ", ".join(suffix for suffix in ALL_SUFFIXES if suffix not in USUAL_SUFFIXES)
    seen = f"; passed over: {described(tree.passed_over())}" if tree.passed_over() else ""
    _check(not empty, f"{where} has no {', '.join(USUAL_SUFFIXES)} images for {quoted(empty)}; fill or remove these "
           f"folders ({others} are read too{seen})")
    foreign = [name for name in classes if name != name.encode(errors="ignore").decode()]
    _check(not foreign, f"{where} has folders whose names are not UTF-8: {quoted(foreign)}; rename these classes")
    unknown, missing = sorted(set(classes) - set(class_names)), sorted(set(class_names) - set(classes))
    _check(not unknown, f"{where} has folders of unknown classes: {quoted(unknown)}; remove them or list all classes")
    _check(partial or not missing, f"{where} lacks the classes {quoted(missing)}; restore them or list all classes")
    index = {name: k for k, name in enumerate(class_names)}
    labels = [index[name] for name, images in classes.items() for _ in images]
    return class_names, [image for images in classes.values() for image in images], np.array(labels, np.int64)


def _check(holds, message):
    if not holds:
        raise BadInput(message)
