"""What a disk may hold after the power was cut: any part of what was not synced, in any order (as ALICE assumes).

A file's bytes are certain up to its last fsync; later writes are each kept, lost, or torn at 512 bytes. A name is
certain up to its folder's last fsync; later changes of names are each kept or lost, a rename as a whole.
"""
import os
from pathlib import Path

SECTOR = 512


class Disk:
    """Follows recorded calls, and makes states that the disk may be found in."""

    def __init__(self, root):
        """root: the folder, which itself is certain."""
        self.root = os.path.abspath(root)
        self.names = {self.root: _Folder()}             # path -> what it is now
        self.kinds = {"open": self._open, "write": self._write, "fsync": self._fsync, "mkdir": self._mkdir,
                      "unlink": self._unlink, "replace": self._replace}

    def follow(self, call):
        """Take in one recorded call; others are marks."""
        name, path, more = call
        if name in self.kinds:
            self.kinds[name](path, more)

    def state(self, random, folder):
        """Write one of the possible states into an empty folder; random: a random.Random."""
        self.names[self.root].make(random, Path(folder))

    def _parent(self, path):
        return self.names[os.path.dirname(path)], os.path.basename(path)

    def _open(self, path, flags):
        if path not in self.names:
            assert flags & os.O_CREAT, path
            self._create(path, _File())

    def _create(self, path, made):
        self.names[path] = made
        folder, name = self._parent(path)
        folder.changes.append({name: made})

    def _mkdir(self, path, _):
        self._create(path, _Folder())

    def _write(self, path, data):
        file = self.names[path]
        file.writes.append((file.size, data))           # all of tinyq's writes are at the end
        file.size += len(data)

    def _fsync(self, path, _):
        self.names[path].sync()

    def _unlink(self, path, _):
        folder, name = self._parent(path)
        folder.changes.append({name: None})
        del self.names[path]

    def _replace(self, path, target):
        folder, name = self._parent(path)
        other, new = self._parent(target)
        assert folder is other
        self.names[target] = self.names.pop(path)
        folder.changes.append({name: None, new: self.names[target]})


class _File:
    def __init__(self):
        self.certain, self.writes, self.size = b"", [], 0

    def sync(self):
        for at, data in self.writes:
            self.certain = self.certain[:at].ljust(at, b"\0") + data + self.certain[at + len(data):]
        self.writes = []

    def make(self, random, path):
        data = bytearray(self.certain)
        for at, piece in self.writes:
            kept = random.choice((0, len(piece), random.randrange(0, len(piece) + 1, SECTOR)))
            if kept or random.random() < 0.5:           # a lost write may still have made the file longer
                data.extend(b"\0" * (at + len(piece) - len(data)) if random.random() < 0.5 else b"")
                data[at:at + kept] = piece[:kept]
        path.write_bytes(data)


class _Folder:
    def __init__(self):
        self.certain, self.changes = {}, []

    def sync(self):
        for change in self.changes:
            self.certain.update(change)
        self.changes = []

    def make(self, random, path):
        path.mkdir(exist_ok=True)
        names = dict(self.certain)
        share = random.choice((0.0, 0.5, 1.0))
        for change in self.changes:
            if random.random() < share:
                names.update(change)
        for name, item in names.items():
            if item is not None:
                item.make(random, path / name)
