"""Hostile files against the readers: python hostile.py KIND CASES SEED, KIND one of KINDS below.

Prints a line of JSON: how many files were read or refused, the longest time, the growth of memory, files opened beside
the one given, and failures: whatever else happened. The process that reads is this one: were it to die, that shows.
"""
import encodings.cp437  # noqa: F401  (zipfile loads it when it first reads a name)
import io
import json
import random
import struct
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

for folder in ("files", "files/foreign", "packed/integer"):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / folder))
import hostile_hdf5  # noqa: E402

from tinyq.data.images.decode import ImageFile  # noqa: E402
from tinyq.errors import BadInput  # noqa: E402
from tinyq.files import hdf5, safetensors  # noqa: E402
from tinyq.files import weights as weight_files  # noqa: E402
from tinyq.files.foreign import opening  # noqa: E402

INTERESTING = [0, 1, 0x7F, 0x80, 0xFF]
WORDS = [0, 1, 2, 0xFFFF, 0xFFFFFFFF, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def mutant(data: bytes, rng: random.Random) -> bytes:
    """One to sixteen changes: bits, bytes, words, pieces moved, doubled, cut or zeroed, the end cut off."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not data:
            break
        at, kind, length = rng.randrange(len(data)), rng.randrange(9), rng.choice((1, 2, 4, 8, 16, 64, 512))
        other = rng.randrange(len(data))
        if kind < 2:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at] = rng.choice(INTERESTING)
        elif kind == 3:
            width = rng.choice((2, 4, 8))
            at -= at % width
            data[at:at + width] = (rng.choice(WORDS) & (1 << 8 * width) - 1).to_bytes(width, "little")
        elif kind == 4:
            data[at:at + 8] = struct.pack("<Q", other)
        elif kind == 5:
            data[at:at + length] = data[other:other + length]
        elif kind == 6:
            data[at:at + length] = bytes(len(data[at:at + length]))
        elif kind == 7:
            data[at:at] = data[other:other + length]
        else:
            del data[at:at + length if rng.random() < 0.5 else None]
    return bytes(data)


def numbers(seed=0):
    return np.random.Generator(np.random.Philox(seed))


def _hdf5_files(folder):
    state = {"layer1.0.conv1.weight": numbers().standard_normal((4, 3, 3, 3)).astype("f4"),
             "fc.bias": np.ones(4, "f4"), "bn.num_batches_tracked": np.int64(3)}
    attributes = {"model": "x", "class_names": ["a"] * 9}
    weight_files.write(folder / "v.h5", weight_files.Weights(state, attributes=attributes))
    many = {f"g{i}/d{j}": np.full(j, i, "f4") for i in range(12) for j in range(12)}
    with h5py.File(folder / "c.h5", "w") as file:
        file.create_dataset("chunked", data=np.arange(300, dtype="f4").reshape(20, 15), chunks=(7, 4))
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), dcpl)
        file.attrs["text"] = np.bytes_(b"x")
    return [(folder / "v.h5").read_bytes(), (folder / "c.h5").read_bytes(),
            hdf5.encode(many, {"g0": {"a": ["b", "c"]}}), hostile_hdf5.valid()]


def _read_hdf5(path):
    with hdf5.Reader(path) as file:
        file.attributes()
        file.read(file.specs(), finite=False)


def _pth_files(folder):
    """The three formats, written by hand as torch would: no torch is needed."""
    from test_files_foreign import VALUES, legacy, saved_as_torch_would, tarred, tensor

    return [saved_as_torch_would(folder / "a", tensor(), [("0", VALUES.tobytes())]).read_bytes(), legacy(),
            tarred(folder / "b").read_bytes()]


def _read_foreign(path):
    file = opening.open_weights(path)
    for key in file.keys:
        file.read(key)


def _safetensors_files(folder):
    safetensors.write(folder / "v", {"a.weight": np.ones((3, 4), "f4"), "b": np.arange(5), "c": np.zeros((0, 2), "f4")})
    return [(folder / "v").read_bytes()]


def _packed_files(folder):
    """Small networks that hold every kind of array between them; golden outputs and ranges in one of them."""
    from small_models import small

    from tinyq.packed.file import format
    from tinyq.packed.network import with_golden

    made = {"residual": with_golden(small("residual")), "island": small("island", "shift2", trits=True),
            "prepared": small("prepared", "binary", float_layer_bits=8)}
    for name, network in made.items():
        format.write(folder / f"{name}.tq.h5", network)
    files = [(folder / f"{name}.tq.h5").read_bytes() for name in made]
    _ORIGINALS.update(_contents(network) for network in made.values())
    return files


_ORIGINALS = set()                      # what the valid packed files hold


def _contents(network):
    return weight_files.weights_sha256({name: np.frombuffer(a.tobytes(), np.uint8) if a.dtype.kind == "S" else a
                                        for name, a in network.payload().items()})


def _read_packed(path):
    """A mutant that is read must hold what an original holds: its hash says so."""
    from tinyq.packed.file import format

    network = format.read(path)
    assert _contents(network) in _ORIGINALS, "a changed network is read as if it were whole"


def _image_files(folder):
    from PIL import Image

    from tinyq.data.images.formats import decoder_of

    decoder_of("PNG")                                   # imports Pillow's decoders, which is no deed of a hostile file
    files = []
    pixels = numbers().integers(0, 256, (40, 60, 3), np.uint8)
    for mode, form, options in (("RGB", "JPEG", {}), ("RGB", "JPEG", {"progressive": True}), ("CMYK", "JPEG", {}),
                                ("L", "PNG", {}), ("RGBA", "PNG", {}), ("P", "PNG", {}), ("RGB", "PNG", {}),
                                ("I;16", "PNG", {}), ("RGB", "WEBP", {}), ("RGB", "BMP", {}), ("RGB", "TIFF", {}),
                                ("P", "GIF", {})):
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, form, **options)
        files.append(file.getvalue())
    return files


def _read_image(path):
    from tinyq.data.images.formats import SUFFIXES, format_of

    data = path.read_bytes()                            # under the name that its format needs
    ImageFile(data, path.name + SUFFIXES.get(format_of(data), ("",))[0]).pixels()


KINDS = {"hdf5": (_hdf5_files, _read_hdf5), "pth": (_pth_files, _read_foreign),
         "safetensors": (_safetensors_files, safetensors.read), "packed": (_packed_files, _read_packed),
         "images": (_image_files, _read_image)}


def png_bomb(width, height, colour=2):
    """A PNG of so many pixels, all of one colour, in a few kilobytes at most."""
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = bytes(1 + width * {0: 1, 2: 3, 6: 4}[colour]) if width < 1 << 20 else b""
    packer, body = zlib.compressobj(9), b""
    for _ in range(min(height, 5000)):
        body += packer.compress(row)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body + packer.flush()) + chunk(b"IEND", b"")


def jpeg_bomb(width, height):
    """A small JPEG whose header says something else."""
    data = _image_files(None)[0]
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4:]


def bombs(count, rng):
    sides = [(65_500, 65_500), (50_000, 1_001), (1, 60_000_000), (7_072, 7_072), (30_000, 30_000), (2**31 - 1,) * 2]
    for i in range(count):
        width, height = sides[i % 6] if i < 12 else (rng.randrange(5_000, 65_500), rng.randrange(10_001, 65_500))
        yield png_bomb(width, height, (0, 2, 6)[i % 3]) if i % 2 else jpeg_bomb(min(width, 65_535), min(height, 65_535))


class Judge:
    """Gives files to a reader and keeps what became of them."""

    def __init__(self, folder, read):
        self.path, self.read = folder / "given", read
        self.report = {"cases": 0, "read": 0, "refused": 0, "seconds": 0.0, "growth MiB": 0, "failures": [],
                       "opened": []}
        sys.addaudithook(self._note)

    def _note(self, event, arguments):
        if event in ("open", "socket.connect", "subprocess.Popen", "os.system", "exec", "ctypes.dlopen"):
            what = str(arguments[0])
            if what != str(self.path) and getattr(self, "reading", False) and not what.endswith((".py", ".pyc")):
                self.report["opened"].append(f"{event} {what[:200]}")

    def judge(self, name, data):
        self.path.write_bytes(data)
        before, started, self.reading = memory(), time.monotonic(), True
        try:
            self.read(self.path)
            outcome = "read"
        except BadInput as error:
            outcome = "refused"
            if "given" not in str(error):
                self.report["failures"].append(f"{name}: the message names no file: {error}"[:300])
        except BaseException as error:
            outcome = "failed"
            self.report["failures"].append(f"{name}: {type(error).__name__}: {error}"[:300])
            Path(tempfile.gettempdir(), f"tinyq-hostile-{len(self.report['failures'])}").write_bytes(data)
        self.reading, seconds = False, time.monotonic() - started
        report = self.report
        report["cases"] += 1
        report[outcome] = report.get(outcome, 0) + 1
        report["seconds"] = max(report["seconds"], round(seconds, 3))
        report["growth MiB"] = max(report["growth MiB"], memory() - before)
        if seconds > 10:
            report["failures"].append(f"{name}: took {seconds:.0f} s")
        return outcome


def memory():
    """MiB resident at most so far; ru_maxrss would begin with what the parent had."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) >> 10


def main(kind, cases, seed):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make, read = KINDS[kind]
        judge, originals = Judge(folder, read), make(folder)
        for data in originals:
            if judge.judge("the original", data) != "read":
                judge.report["failures"].append("an original is not read")
        if kind == "hdf5":
            for name, data in hostile_hdf5.corpus(folder).items():
                judge.judge(name, data)
        if kind == "images":
            for i, data in enumerate(bombs(max(12, cases // 100), rng)):
                if judge.judge(f"bomb {i}", data) == "read":
                    judge.report["failures"].append(f"bomb {i} was decoded")
            for colour in (0, 2, 6):
                if judge.judge("as large as is decoded", png_bomb(5000, 5000, colour)) != "read":
                    judge.report["failures"].append("an image as large as allowed is not decoded")
        for i in range(cases):
            judge.judge(f"mutant {i}", mutant(rng.choice(originals), rng))
    judge.report["opened"] = sorted(set(judge.report["opened"]))[:10]
    judge.report["MiB at most"] = memory()
    print(json.dumps({"kind": kind, **judge.report}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
