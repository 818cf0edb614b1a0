"""Parse the part of HDF5's file format that weights need, in plain Python, because libhdf5 trusts its input.

Supported: superblocks 0 and 1, object headers of version 1, groups as symbol tables, and datasets that are contiguous,
compact or in unfiltered chunks. libhdf5 writes these unless asked for newer forms.
Every offset is checked against the file, every loop against a budget, and no allocation exceeds the size of the file.
Parts of a file may refer to the same bytes many times, so what is read is counted, and limited by the file's size.
The layout of each message: "HDF5 File Format Specification", version 3.0.
"""
import bisect
import math
import struct

import numpy as np

from tinyq.files.hdf5_messages import (
    CHUNKED,
    COMPACT,
    LINK_INFO,
    MORE,
    NEWER,
    TABLE,
    Damaged,
    Message,
    Stored,
    decode_text,
    find_layout,
    unpack,
)

SIGNATURE, UNDEFINED = b"\x89HDF\r\n\x1a\n", (1 << 64) - 1
MAX_WORK = 1_000_000                   # messages, links and chunks visited per file
MAX_READ = 2                           # bytes of structure and names that one request may read, per byte of the file
MAX_LEVELS, MAX_NAME = 8, 4096


def find_signature(data: bytes) -> int | None:
    """Return where an HDF5 file begins: at 0, or behind a user block of 512 bytes, 1024, 2048 ...; None if nowhere."""
    at = 0
    while at < len(data):
        if data.startswith(SIGNATURE, at):
            return at
        at = max(512, 2 * at)
    return None


class Image:
    """The bytes of a file and their structure."""

    def __init__(self, data: bytes):
        """Parse the superblock; Damaged where there is none."""
        start = find_signature(data)
        if start is None:
            raise Damaged("its first bytes are not those of an HDF5 file")
        content = data[start:]                                  # without a user block; addresses count from there
        self.data, self._content, self._work, self._read = memoryview(content), content, 0, 0
        version, offsets, lengths = self.number(8, 1), self.number(13, 1), self.number(14, 1)
        if version > 1:
            raise Damaged(NEWER)
        at = 24 + 4 * version
        base, end = self.number(at), self.number(at + 16)
        if (offsets, lengths, base) != (8, 8, start) or end > len(data):
            raise Damaged("it is cut short, or its layout is not one that weight files use")
        self.root = self.number(at + 40)

    def begin(self) -> None:
        """Begin a request, which may read every part once more."""
        self._read = 0

    def spend(self, size: int) -> None:
        """Count a part and its bytes; Damaged where the file has too many, or refers to them again and again."""
        self._work += 1
        self._read += size
        if self._work > MAX_WORK:
            raise Damaged("it has more parts than any model has")
        if self._read > MAX_READ * len(self.data):
            raise Damaged("its parts refer to the same bytes again and again")

    def number(self, at: int, size: int = 8) -> int:
        """Return the unsigned number in `size` bytes."""
        return int.from_bytes(self.take(at, size), "little")

    def take(self, at: int, size: int) -> memoryview:
        """Return a view of `size` bytes; Damaged where they are not all within the file."""
        if at + size > len(self.data):
            raise Damaged(f"it refers to byte {at + size}, but has {len(self.data)} bytes")
        return self.data[at:at + size]

    def messages(self, address: int) -> list[Message]:
        """Return the messages in the header of the object at `address`."""
        version, count, length = struct.unpack("<BxHxxxxI", self.take(address, 12))
        if version != 1:
            raise Damaged(NEWER if self.take(address, 4) == b"OHDR" else f"there is no object at byte {address}")
        found: list[Message] = []
        blocks, known = [(address + 16, length)], [(address, address + 16 + length)]
        for start, length in blocks:
            block, at = self.take(start, length), 0
            while at + 8 <= length and len(found) < count:
                kind, size, flags = struct.unpack_from("<HHB", block, at)
                self.spend(8 + size)
                body = block[at + 8:at + 8 + size]
                if len(body) < size:
                    raise Damaged(f"a message at byte {start + at} is cut short")
                if kind == MORE:
                    more, size_of_more = unpack("<QQ", body)
                    _add_apart(known, more, more + size_of_more)
                    blocks.append((more, size_of_more))
                found.append((kind, flags, body))
                at += 8 + size
        return found

    @staticmethod
    def is_group(messages: list[Message]) -> bool:
        """Return whether the messages are the header of a group."""
        return any(kind in (TABLE, LINK_INFO) for kind, _, _ in messages)

    def links(self, messages: list[Message]) -> dict[str, int | None]:
        """Return {name: address} of a group; the address is None for a soft or external link."""
        if any(kind == LINK_INFO for kind, _, _ in messages):
            raise Damaged(NEWER)
        links: dict[str, int | None] = {}
        for kind, _, body in messages:
            for name, address in self._table(*unpack("<QQ", body)) if kind == TABLE else ():
                if name in links or name in ("", ".") or "/" in name:
                    raise Damaged("a group has a duplicate or invalid name")
                links[name] = address
        return links

    def values(self, stored: Stored, messages: list[Message]) -> np.ndarray:
        """Return a dataset's values as a new array; Damaged unless all of them are in the file."""
        kind, body = find_layout(messages)
        if stored.size > len(self.data):
            raise Damaged("it is larger than the file")
        if kind == CHUNKED:
            return self._chunks(stored, body)
        if kind == COMPACT:
            data = body[2:2 + unpack("<H", body)[0]]
        else:
            address, held = unpack("<QQ", body)
            data = memoryview(b"") if address == UNDEFINED else self.take(address, held)
        if len(data) < stored.size:
            raise Damaged(f"holds only {len(data)} of {stored.size} bytes")
        return np.frombuffer(data, stored.dtype, math.prod(stored.sizes)).reshape(stored.sizes).copy()

    def _table(self, tree, heap):
        """Yield (name, address) of each entry of a symbol table."""
        if self.take(heap, 4) != b"HEAP":
            raise Damaged("the table of names of a group is missing")
        size, _, start = unpack("<QQQ", self.take(heap + 8, 24))
        self.take(start, size)
        names = self._content
        for _, node in self._leaves(tree, kind=0, key=8):
            if self.take(node, 4) != b"SNOD":
                raise Damaged("a group's table is broken")
            for i in range(self.number(node + 6, 2)):
                name, address, cached = unpack("<QQI", self.take(node + 8 + 40 * i, 20))
                end = names.find(b"\0", start + name, start + min(size, name + MAX_NAME))
                if end < 0:
                    raise Damaged("a group's names are broken")
                self.spend(40 + end - start - name)
                yield decode_text(names[start + name:end]), None if cached == 2 else address

    def _leaves(self, address, kind, key, level=None):
        """Yield (key, child) of every leaf entry of a B-tree whose keys take `key` bytes."""
        signature, found, depth, count = unpack("<4sBBH", self.take(address, 8))
        if signature != b"TREE" or found != kind or depth > MAX_LEVELS or level not in (None, depth):
            raise Damaged(f"a tree is broken at byte {address}")
        for i in range(count):
            self.spend(key + 8)
            at = address + 24 + i * (key + 8)
            child = self.number(at + key)
            if depth:
                yield from self._leaves(child, kind, key, depth - 1)
            else:
                yield self.take(at, key), child

    def _chunks(self, stored, body):
        """Return the values of a chunked dataset; every chunk of its grid must be there exactly once."""
        axes = body[0] - 1
        tree, *chunk, width = unpack(f"<Q{axes + 1}I", body[1:])
        if axes != len(stored.shape) or width != stored.dtype.itemsize or 0 in chunk:
            raise Damaged("its chunks do not fit its shape")
        size = math.prod(chunk) * width
        needed = math.prod(-(-n // c) for n, c in zip(stored.shape, chunk, strict=True))
        array, seen = np.empty(stored.shape, stored.dtype), set()
        for entry, child in () if tree == UNDEFINED else self._leaves(tree, kind=1, key=16 + 8 * axes):
            held, mask, *corner = unpack(f"<II{axes}Q", entry)
            inside = all(at % c == 0 and at < n for at, c, n in zip(corner, chunk, stored.shape, strict=True))
            if held != size or mask or not inside or tuple(corner) in seen:
                raise Damaged("a chunk is filtered or misplaced")
            seen.add(tuple(corner))
            piece = np.frombuffer(self.take(child, size), stored.dtype).reshape(chunk)
            place = tuple(slice(at, at + c) for at, c in zip(corner, chunk, strict=True))
            array[place] = piece[tuple(slice(n) for n in array[place].shape)]
        if len(seen) < needed:
            raise Damaged(f"holds only {len(seen)} of {needed} chunks")
        return array


def _add_apart(known, start, end):
    """Insert a range of bytes into the sorted ranges; Damaged where it overlaps one of them."""
    at = bisect.bisect(known, (start, end))
    if at and known[at - 1][1] > start or at < len(known) and known[at][0] < end or start >= end:
        raise Damaged("a continuation of a header overlaps the header")
    known.insert(at, (start, end))
