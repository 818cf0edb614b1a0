"""List and read image trees, <split>/<class>/<image>, in a folder or in a .zip."""
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq.data.images.decode import BYTE_LIMIT, SKIP
from tinyq.errors import BadInput
from tinyq.files.read import read_file

SMALL, MAX_RATIO = 1 << 20, 50                          # of a member: images hardly shrink in a .zip
SUFFIXES = (".jpg", ".jpeg", ".png")


class FolderTree:
    """An image tree on disk. Names are relative paths with "/", in code-point order."""

    def __init__(self, path: str | Path) -> None:
        """Raise BadInput unless `path` is a readable folder."""
        self.path = Path(path)
        _check(self.path.is_dir(),
               f"{str(path)!r}: no such folder; give the one that holds train/<class>/*.jpg with --data-path")

    def splits(self) -> list[str]:
        """Return the names of the top-level folders."""
        return self._folders("")

    def classes(self, split: str) -> dict[str, list[str]]:
        """Return the image names of each class folder of a split."""
        return {name: self._images(f"{split}/{name}") for name in self._folders(split)}

    def folders(self, split: str) -> list[str]:
        """Return the names of the class folders of a split."""
        return self._folders(split)

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

    def _folders(self, below):
        return sorted(entry.name for entry in self._entries(below) if entry.is_dir() and not entry.name.startswith("."))

    def _images(self, below):
        return sorted(f"{below}/{entry.name}" for entry in self._entries(below) if is_image_name(entry.name))

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
        self._classes: dict[str, dict[str, list[str]]] = {}
        for member in self._zip.infolist():
            self._add(member)
        held = sum(member.compress_size for member in self._members.values())
        _check(held <= os.path.getsize(path), f"{str(path)!r}: its members overlap; do not trust this file")

    def _add(self, member):
        parts = member.filename.split("/")
        where = f"{str(self.path)!r}: member {member.filename!r}"
        safe = "\\" not in member.filename and not any(part in ("..", ".") for part in parts) and parts[0] != ""
        _check(safe, f"{where} would lie outside the archive; do not trust this file")
        if member.is_dir() or len(parts) != 3 or not is_image_name(parts[2]) or parts[0].startswith("."):
            if member.is_dir() and len(parts) == 3:             # "train/cat/": an empty class is still a class
                self._classes.setdefault(parts[0], {}).setdefault(parts[1], [])
            return
        _check(member.filename not in self._members, f"{where} occurs twice; do not trust this file")
        _check(member.file_size <= BYTE_LIMIT, f"{where} claims {member.file_size:,} bytes for one image; remove it")
        _check(member.file_size <= SMALL + MAX_RATIO * member.compress_size,
               f"{where} claims {member.file_size:,} bytes, unpacked from {member.compress_size:,}; remove it")
        self._members[member.filename] = member
        self._classes.setdefault(parts[0], {}).setdefault(parts[1], []).append(member.filename)

    def splits(self) -> list[str]:
        """Return the names of the top-level folders."""
        return sorted(self._classes)

    def classes(self, split: str) -> dict[str, list[str]]:
        """Return the image names of each class folder of a split."""
        return {name: sorted(images) for name, images in sorted(self._classes[split].items())}

    def folders(self, split: str) -> list[str]:
        """Return the names of the class folders of a split."""
        return sorted(self._classes[split])

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
    """Open the image tree at `path`, a .zip file or a folder."""
    return ZipTree(path) if Path(path).suffix.lower() == ".zip" else FolderTree(path)


def labelled_images(tree: FolderTree | ZipTree, split: str, class_names: Sequence[str] | None = None,
                    partial: bool = False) -> tuple[Sequence[str], list[str], np.ndarray]:
    """Return (class names, image names, labels) of a split, class by class; labels are int64 indices of class names.

    class_names: by default the split's class folders, in code-point order. If given, the folders must be exactly
    these, or with `partial` some of these. BadInput lists all folders that are empty, unknown or missing.
    """
    classes, where = tree.classes(split), f"{str(tree.path)!r}: {split!r}"
    class_names = list(classes) if class_names is None else class_names
    _check(classes, f"{where} holds no class folders; images belong in {split}/<class>/")
    empty = [name for name, images in classes.items() if not images]
    _check(not empty, f"{where} has no {', '.join(SUFFIXES)} images for {_listed(empty)}; fill or remove these folders")
    foreign = [name for name in classes if name != name.encode(errors="ignore").decode()]
    _check(not foreign, f"{where} has folders whose names are not UTF-8: {_listed(foreign)}; rename these classes")
    unknown, missing = sorted(set(classes) - set(class_names)), sorted(set(class_names) - set(classes))
    _check(not unknown, f"{where} has folders of unknown classes: {_listed(unknown)}; remove them or list all classes")
    _check(partial or not missing, f"{where} lacks the classes {_listed(missing)}; restore them or list all classes")
    index = {name: k for k, name in enumerate(class_names)}
    labels = [index[name] for name, images in classes.items() for _ in images]
    return class_names, [image for images in classes.values() for image in images], np.array(labels, np.int64)


def is_image_name(name: str) -> bool:
    """Return whether a file's name is that of a picture which is not hidden."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _check(holds, message):
    if not holds:
        raise BadInput(message)


def _listed(names, most=5):
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
