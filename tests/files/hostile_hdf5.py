"""HDF5 files made to do harm or to mislead: {name: bytes}, for a reader that expects float32 "w" of shape (4,)."""
import struct
from pathlib import Path

import h5py
import numpy as np

from tinyq.files import hdf5
from tinyq.files.hdf5 import Spec

EXPECTED = {"w": Spec((4,), np.dtype(np.float32))}
UNDEFINED = b"\xff" * 8
PLANTED, PATCHED = {}, {}


def planted(function):
    """A file that h5py makes: function(file, path of a file with a secret)."""
    PLANTED[function.__name__] = function
    return function


def patched(name, at, new, within=b""):
    """The valid file with bytes replaced: at an offset, counted from the first place where `within` is found."""
    PATCHED[name] = (within, at, new)


def valid() -> bytes:
    """What all others pretend to be."""
    return hdf5.encode({"w": np.arange(4, dtype=np.float32)}, {"/": {"format": "tinyq/1", "names": ["a", "b"]}})


def corpus(folder) -> dict[str, bytes]:
    """Every hostile file; `folder` is where a secret is put and where h5py writes."""
    folder = Path(folder)
    secret = folder / "secret.h5"
    hdf5.write(secret, {"w": np.full(4, 7, np.float32)}, {})
    files = {}
    for name, plant in PLANTED.items():
        options = getattr(plant, "options", {})
        with h5py.File(folder / "made.h5", "w", **options) as file:
            plant(file, str(secret))
        files[name] = (folder / "made.h5").read_bytes()
    (folder / "made.h5").unlink()
    base = valid()
    for name, (within, at, new) in PATCHED.items():
        start = base.index(within) + at if within else at % len(base)
        files[name] = base[:start] + new + base[start + len(new):]
    files |= {f"cut at {share} %": base[:len(base) * share // 100] for share in (0, 1, 5, 20, 50, 90, 99)}
    files |= {"text": b"not HDF5", "zeros": bytes(4096), "signature alone": base[:8], "zip": b"PK\x03\x04" + base}
    return files


@planted
def soft_link(file, secret):
    file["w"] = h5py.SoftLink("/elsewhere")


@planted
def soft_link_to_itself(file, secret):
    file["w"] = h5py.SoftLink("/w")


@planted
def soft_link_to_a_dataset(file, secret):
    file["v"] = np.ones(4, "f4")
    file["w"] = h5py.SoftLink("/v")


@planted
def external_link(file, secret):
    file["w"] = h5py.ExternalLink(secret, "w")


@planted
def external_link_to_a_device(file, secret):
    file["w"] = h5py.ExternalLink("/dev/zero", "w")


@planted
def external_link_for_a_group(file, secret):
    file["group"] = h5py.ExternalLink(secret, "/")


@planted
def external_link_among_many(file, secret):
    for i in range(20):
        file[f"d{i}"] = np.ones(4, "f4")
    file["w"] = h5py.ExternalLink(secret, "w")


@planted
def external_storage(file, secret):
    file.create_dataset("w", (4,), "f4", external=[("/etc/passwd", 0, 16)])


@planted
def external_storage_of_many_files(file, secret):
    file.create_dataset("w", (4,), "f4", external=[(secret, i, 4) for i in range(4)])


@planted
def virtual(file, secret):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(secret, "w", (4,))
    file.create_virtual_dataset("w", layout)


@planted
def virtual_of_itself(file, secret):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(".", "w", (4,))
    file.create_virtual_dataset("w", layout)


def _filtered(name, **options):
    def plant(file, secret):
        file.create_dataset("w", data=np.ones(4, "f4"), chunks=(4,), **options)
    PLANTED[name] = plant


for _name, _options in {"gzip": dict(compression="gzip"), "lzf": dict(compression="lzf"), "shuffle": dict(shuffle=True),
                        "fletcher32": dict(fletcher32=True), "scaleoffset": dict(scaleoffset=3),
                        "gzip_and_shuffle": dict(compression="gzip", shuffle=True)}.items():
    _filtered(_name, **_options)


@planted
def gzip_bomb(file, secret):
    file.create_dataset("w", data=np.zeros(1 << 24, "f4"), compression="gzip", compression_opts=9)


@planted
def never_written(file, secret):
    file.create_dataset("w", (4,), "f4", chunks=(2,))


@planted
def half_written(file, secret):
    file.create_dataset("w", (4,), "f4", chunks=(2,))[:2] = 1


@planted
def contiguous_never_written(file, secret):
    file.create_dataset("w", (4,), "f4")


@planted
def four_tebibytes(file, secret):
    file.create_dataset("w", (1 << 40,), "f4", chunks=(1 << 20,))


@planted
def four_tebibytes_contiguous(file, secret):
    file.create_dataset("w", (1 << 40,), "f4")


@planted
def thirty_two_axes(file, secret):
    file.create_dataset("w", (3,) * 32, "f4", chunks=(1,) * 32)


@planted
def many_tiny_chunks_declared(file, secret):
    file.create_dataset("w", (1 << 60,), "f4", chunks=(1,))


@planted
def huge_chunk(file, secret):
    file.create_dataset("w", (4,), "f4", chunks=(1 << 29,), maxshape=(None,))


def _typed(name, make):
    PLANTED[name] = lambda file, secret: make(file)


_compound, _enumeration = np.dtype([("a", "f4"), ("b", "i4")]), h5py.enum_dtype({"A": 0, "B": 1}, "i4")
for _name, _make in {
    "big_endian": lambda f: f.create_dataset("w", data=np.ones(4, ">f4")),
    "float16": lambda f: f.create_dataset("w", data=np.ones(4, "f2")),
    "float64": lambda f: f.create_dataset("w", data=np.ones(4, "f8")),
    "integers": lambda f: f.create_dataset("w", data=np.ones(4, "i4")),
    "booleans": lambda f: f.create_dataset("w", data=np.ones(4, bool)),
    "texts": lambda f: f.create_dataset("w", (4,), h5py.string_dtype()),
    "fixed_texts": lambda f: f.create_dataset("w", (4,), "S4"),
    "variable_length": lambda f: f.create_dataset("w", (4,), h5py.vlen_dtype("f4")),
    "object_references": lambda f: f.create_dataset("w", (4,), h5py.ref_dtype),
    "region_references": lambda f: f.create_dataset("w", (4,), h5py.regionref_dtype),
    "compound": lambda f: f.create_dataset("w", (4,), _compound),
    "enumeration": lambda f: f.create_dataset("w", (4,), _enumeration),
    "opaque": lambda f: f.create_dataset("w", (4,), "V4"),
    "array_type": lambda f: f.create_dataset("w", (4,), np.dtype(("f4", (2,)))),
    "complex": lambda f: f.create_dataset("w", (4,), "c8"),
    "time": lambda f: h5py.h5d.create(f.id, b"w", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((4,))),
    "bitfield": lambda f: h5py.h5d.create(f.id, b"w", h5py.h5t.STD_B32LE, h5py.h5s.create_simple((4,))),
    "named_type": lambda f: f.__setitem__("w", np.dtype("f4")),
    "no_shape": lambda f: f.__setitem__("w", h5py.Empty("f4")),
    "scalar": lambda f: f.create_dataset("w", data=np.float32(1)),
    "two_axes": lambda f: f.create_dataset("w", data=np.ones((2, 2), "f4")),
    "nothing": lambda f: None,
    "another_name": lambda f: f.create_dataset("v", data=np.ones(4, "f4")),
    "one_more": lambda f: (f.create_dataset("w", data=np.ones(4, "f4")), f.create_dataset("v", data=np.ones(4, "f4"))),
    "not_a_number": lambda f: f.create_dataset("w", data=np.array([0, 0, np.nan, 0], "f4")),
    "infinite": lambda f: f.create_dataset("w", data=np.array([0, 0, 0, -np.inf], "f4")),
    "group_in_its_place": lambda f: f.create_group("w"),
}.items():
    _typed(_name, _make)


@planted
def committed_type(file, secret):
    file["t"] = np.dtype("f4")
    file.create_dataset("w", (4,), file["t"])[:] = 1


@planted
def group_that_holds_itself(file, secret):
    file.create_group("a")["again"] = file["/"]


@planted
def groups_that_hold_each_other_many_times(file, secret):
    for i in range(20):
        file.create_group(f"g{i}")
    for i in range(20):
        for j in range(20):
            file[f"g{i}"][f"to{j}"] = file[f"g{j}"]


@planted
def a_thousand_levels(file, secret):
    group = file
    for _ in range(1000):
        group = group.create_group("g")


@planted
def many_names_for_the_same_values(file, secret):
    file["w"] = np.ones(1 << 20, "f4")
    for i in range(2000):
        file[f"w{i}"] = file["w"]


@planted
def thousands_of_groups(file, secret):
    for i in range(3000):
        file.create_group(f"g{i}/a")


@planted
def a_name_of_sixty_thousand(file, secret):
    file["x" * 60_000] = np.ones(4, "f4")


@planted
def a_name_that_is_no_utf8(file, secret):
    h5py.h5d.create(file.id, b"\xff\xfe", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)))


@planted
def a_name_with_control_characters(file, secret):
    file["w\x1b[2J\n"] = np.ones(4, "f4")


@planted
def newest_form(file, secret):
    file["w"] = np.arange(4, dtype="f4")


newest_form.options = {"libver": "latest"}


@planted
def many_links_in_the_newest_form(file, secret):
    for i in range(100):
        file.create_dataset(f"w{i}", data=np.ones(4, "f4"), track_order=True)


many_links_in_the_newest_form.options = {"libver": "latest", "track_order": True}


@planted
def ordered_links(file, secret):
    for i in range(20):
        file[f"w{i}"] = np.ones(4, "f4")


ordered_links.options = {"track_order": True}


@planted
def behind_a_user_block(file, secret):
    file["w"] = np.arange(4, dtype="f4")


behind_a_user_block.options = {"userblock_size": 512}


def _attributed(name, value, **options):
    def plant(file, secret):
        file["w"] = np.arange(4, dtype="f4")
        file.attrs.create("format", value, **options)
    PLANTED[f"attribute: {name}"] = plant


for _name, _value, _options in [
        ("of variable length", "on a heap", {}),
        ("nothing", h5py.Empty("f4"), {}), ("two axes", np.ones((2, 2)), {}),
        ("compound", np.zeros(2, _compound), {}),
        ("boolean", True, {}), ("long", np.zeros(8001), {}), ("complex", 1j, {})]:
    _attributed(_name, _value, **_options)


@planted
def attributes_by_the_thousand(file, secret):
    file["w"] = np.arange(4, dtype="f4")
    for i in range(3000):
        file.attrs[f"a{i}"] = i


@planted
def attributes_in_the_newest_form(file, secret):
    file["w"] = np.arange(4, dtype="f4")
    for i in range(100):
        file.attrs[f"a{i}"] = i


attributes_in_the_newest_form.options = {"libver": "latest"}


@planted
def a_reference_as_attribute(file, secret):
    file["w"] = np.arange(4, dtype="f4")
    file.attrs["format"] = file["w"].ref


_HEADER, _WORD = struct.pack("<BBH", 1, 0, 5), 1 << 63
for _at, _name in ((8, "superblock version"), (13, "size of offsets"), (14, "size of lengths"),
                   (9, "free-space version"), (24, "base address"), (40, "end of file"), (64, "root header")):
    for _value in (b"\x09", b"\xff" * (8 if _at > 20 else 1), b"\0" * (8 if _at > 20 else 1)):
        patched(f"{_name} {_value.hex()}", _at, _value)
patched("root header in the superblock", 64, struct.pack("<Q", 0))
patched("root header beyond the end", 64, struct.pack("<Q", 1 << 40))
patched("root header at 2^63", 64, struct.pack("<Q", _WORD))
for _name, _at, _value in [
        ("type", 4, b"\1"), ("level", 5, b"\1"), ("level 255", 5, b"\xff"), ("65535 entries", 6, b"\xff\xff"),
        ("child is the tree", 32, struct.pack("<Q", 0)), ("child beyond", 32, UNDEFINED), ("signature", 0, b"EERT"),
        ("level one", 5, b"\1\1\0")]:
    patched(f"tree: {_name}", _at, _value, within=b"TREE")
for _name, _at, _value in [("signature", 0, b"PAEH"), ("size", 8, UNDEFINED), ("size 0", 8, bytes(8)),
                           ("address", 24, UNDEFINED), ("address 0", 24, bytes(8))]:
    patched(f"heap: {_name}", _at, _value, within=b"HEAP")
for _name, _at, _value in [("signature", 0, b"DONS"), ("65535 entries", 6, b"\xff\xff"), ("name offset", 8, UNDEFINED),
                           ("header address", 16, UNDEFINED), ("header address 0", 16, bytes(8)),
                           ("soft link", 24, struct.pack("<I", 2))]:
    patched(f"table: {_name}", _at, _value, within=b"SNOD")
_FLOAT = bytes.fromhex("11201f000400000000002000170800177f000000")
for _name, _at, _value in [("class", 0, b"\x1f"), ("size 0", 4, bytes(4)), ("size 2^31", 4, struct.pack("<I", 1 << 31)),
                           ("exponent", 12, b"\xff"), ("vax order", 1, b"\x61"), ("bias", 16, UNDEFINED[:4])]:
    patched(f"number: {_name}", _at, _value, within=_FLOAT)
_SPACE = struct.pack("<BBBB", 1, 1, 1, 0) + bytes(4) + struct.pack("<Q", 4)
for _name, _at, _value in [("version 9", 0, b"\x09"), ("255 axes", 1, b"\xff"), ("no axes", 1, b"\0"),
                           ("2^63", 8, struct.pack("<Q", _WORD)), ("2^62", 8, struct.pack("<Q", 1 << 62)),
                           ("0", 8, bytes(8)), ("5", 8, struct.pack("<Q", 5))]:
    patched(f"shape: {_name}", _at, _value, within=_SPACE)
