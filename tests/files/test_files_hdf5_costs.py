"""Small HDF5 files whose parts refer to each other again and again: refused before they cost memory."""
import struct
import tracemalloc

import h5py
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.hdf5_bytes import SIGNATURE

WIDE = "\U0001F600".encode()                        # one wide character makes Python keep four bytes for each
ROOT = 96


def superblock(end):
    return (SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
            + struct.pack("<QQQQ", 0, 2**64 - 1, end, 2**64 - 1) + struct.pack("<QQII16x", 0, ROOT, 0, 0))


def message(kind, body):
    body += bytes(-len(body) % 8)
    return struct.pack("<HHB3x", kind, len(body), 0) + body


def placed(*parts):
    data = bytearray(max(at + len(part) for at, part in parts))
    for at, part in parts:
        data[at:at + len(part)] = part
    data[:ROOT] = superblock(len(data))
    return bytes(data)


def attribute(name):
    return message(12, struct.pack("<BBHHH", 1, 0, len(name), 8, 8) + name + bytes(-len(name) % 8) + bytes(16))


def continued(*blocks, count=65535):
    """A header whose first block is continued at the blocks: (offset behind the header, its messages)."""
    first = b"".join(message(16, struct.pack("<QQ", ROOT + 16 + at, len(block))) for at, block in blocks)
    header = struct.pack("<BxHIIxxxx", 1, count, 1, len(first)) + first
    return placed((ROOT, header), *((ROOT + 16 + at, block) for at, block in blocks if block))


def block_in_itself(name=WIDE + b"a" * 60_000 + b"\0"):
    held = attribute(name)
    held += message(16, struct.pack("<QQ", ROOT + 40, len(held) + 24))
    return continued((24, held))


def overlapping_blocks():
    """Each block begins a little further within the same name."""
    held = attribute(WIDE + b"a" * 60_000 + b"\0")
    blocks = [(24 * 2000 + 8 * i, held[8 * i:]) for i in range(2000)]
    return continued(*blocks)


def one_node_named(nodes, per_node=1000, name=WIDE + b"a" * 4_080 + b"\0", child=ROOT):
    """A symbol table whose tree names one node many times, of entries with one name each."""
    tree_at = ROOT + 40
    heap_at = tree_at + 24 + nodes * 16 + 8
    names_at = heap_at + 32
    node_at = names_at + len(name) + -len(name) % 8
    tree = struct.pack("<4sBBHQQ", b"TREE", 0, 0, nodes, 2**64 - 1, 2**64 - 1) + struct.pack(
        "<QQ", 0, node_at) * nodes + bytes(8)
    heap = b"HEAP" + bytes(4) + struct.pack("<QQQ", len(name), 0, names_at)
    node = b"SNOD" + struct.pack("<BxH", 1, per_node) + struct.pack("<QQII16x", 0, child, 0, 0) * per_node
    header = struct.pack("<BxHIIxxxx", 1, 1, 1, 24) + message(17, struct.pack("<QQ", tree_at, heap_at))
    return placed((ROOT, header), (tree_at, tree), (heap_at, heap), (names_at, name), (node_at, node))


def names_of_many_starts():
    """Every entry's name is another end of one long text."""
    data = bytearray(one_node_named(1))
    at = data.index(b"SNOD") + 8
    for i in range(1000):
        data[at + 40 * i:at + 40 * i + 8] = struct.pack("<Q", 4 + i)
    return bytes(data)


def long_paths():
    """A group with a long name that contains itself: each path is longer than the one before."""
    return one_node_named(1, per_node=1)


FILES = [block_in_itself, overlapping_blocks, lambda: one_node_named(200), lambda: one_node_named(999),
         names_of_many_starts, long_paths]


@pytest.mark.parametrize("request_of", [hdf5.Reader.attributes, hdf5.Reader.specs], ids=["attributes", "specs"])
@pytest.mark.parametrize("make", FILES, ids=["block in itself", "overlapping blocks", "200 nodes", "999 nodes",
                                             "ends of a name", "long paths"])
def test_parts_that_are_read_again_and_again_are_refused(tmp_path, make, request_of):
    data = make()
    (tmp_path / "f.h5").write_bytes(data)
    tracemalloc.start()
    try:
        with hdf5.Reader(tmp_path / "f.h5") as file:
            request_of(file)
    except BadInput as error:
        assert "f.h5" in str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * len(data), f"{peak / len(data):.1f} bytes for each of the file"


def test_a_file_with_many_names_is_read_many_times(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        for i in range(300):
            file[f"{'group' * 10}{i}/{'weight' * 10}"] = np.zeros(4, "f4")
        file.create_dataset("chunked", data=np.zeros((64, 64), "f4"), chunks=(2, 2))
    with hdf5.Reader(tmp_path / "f.h5") as file:
        for _ in range(3):
            assert len(file.read(file.specs())) == 301
            assert file.attributes(f"{'group' * 10}7") == {}
