"""Export an integer program as C99 without heap or floating point: NAME.h, NAME.c, a self-test and the runtime."""
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tinyq.errors import UsageError, did_you_mean
from tinyq.files.file_group import write_files
from tinyq.files.read import sha256_of
from tinyq.packed.c.c_names import PACKED, check_free, check_name, is_foreign, name_of, shown
from tinyq.packed.c.c_source import CTYPES, UNKNOWN, Origin, Samples, Sizes, Source
from tinyq.packed.c.entry import pixel_values
from tinyq.packed.c.project.build_files import build_files
from tinyq.packed.c.project.provenance import DIGEST, RUNTIME_HEAD, RUNTIME_MACRO
from tinyq.packed.c.project.provenance import RUNTIME as RUNTIME_DIGEST
from tinyq.packed.c.structures import runtime_text
from tinyq.packed.file import format
from tinyq.packed.file.format import Packed
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.program import IntegerProgram

RUNTIME = ("tinyq_runtime.h", "tinyq_internal.h", "tinyq_kernels.h", "tinyq_additions.h",
           "tinyq_runtime.c", "tinyq_decode.c",
           "tinyq_additions.c", "tinyq_tile.c")
COMPILED = tuple(file for file in RUNTIME if file.endswith(".c"))


def export(program: IntegerProgram, packed: Packed, folder: str | Path, name: str,
           samples: np.ndarray | Samples | None = None, pixels: np.ndarray | None = None,
           origin: Origin = UNKNOWN) -> Sizes:
    """Write NAME.h, NAME.c, its self-test, an example, build files and the runtime into a folder, all or none.

    The folder is created if missing. Files of NAME compile only together: a kill while they are renamed may leave files
    of two exports. Build files of the same name that tinyq did not write stay.

    samples: inputs of the self-test, float32 (n, ...); by default the packed file's own (format.golden_input).
    pixels: float32 (c, 256), the network's input per 8-bit pixel and channel; NAME.c then has a table of their codes.
    UsageError if a part of the network is not in integers, or `name` is not a C identifier.
    """
    files, sizes = files_of(program, packed, name, samples, pixels, origin)
    write(folder, files)
    return sizes


def files_of(program: IntegerProgram, packed: Packed, name: str, samples: np.ndarray | Samples | None = None,
             pixels: np.ndarray | None = None, origin: Origin = UNKNOWN) -> tuple[dict[str, str], Sizes]:
    """Return ({file name: text}, sizes) of an export; arguments and errors as for `export`."""
    check_name(name)
    source = Source(program, packed, name, pixels, origin)
    runtime = {file: RUNTIME_HEAD + (RUNTIME_MACRO if file == RUNTIME[0] else "") + runtime_text(file)
               for file in RUNTIME}
    own = {**source.files(Samples(samples) if isinstance(samples, np.ndarray) else samples),
           **build_files(name, origin.file, origin.sha256)}
    bound = {RUNTIME_DIGEST: _digest(runtime), DIGEST: _digest({**own, **runtime})}
    return {file: _filled(text, bound) for file, text in {**own, **runtime}.items()}, source.sizes


def write(folder: str | Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files of `files_of`, and others, into a folder, all or none; foreign build files stay as they are."""
    write_files(folder, {file: content for file, content in files.items()
                         if file.endswith((".c", ".h", PACKED)) or not is_foreign(Path(folder) / file)})


def export_file(path: str | Path, folder: str | Path, kind: str, samples: Samples | None = None) -> dict[str, Any]:
    """Export a packed file under its own name for activations "int8" or "int16"; return a report.

    samples: of the self-test, as for `export`. BadInput where the file is damaged; CannotCreate where the folder holds
    another file's export of this name; UsageError as from `lower` and `export`.
    """
    check_kind(kind)
    packed = format.read(path)
    name, origin = name_of(path), Origin(shown(path), sha256_of(path))
    check_free(folder, name, origin.file)
    sizes = export(lower(packed, kind), packed, folder, name, samples, pixel_values(packed), origin)
    return report_of(folder, name, kind, sizes)


def check_kind(kind: str) -> None:
    """Raise UsageError for activations that C does not have."""
    if kind not in CTYPES:
        raise UsageError(f"activations {kind}: {did_you_mean(kind, CTYPES)}")


def report_of(folder: str | Path, name: str, kind: str, sizes: Sizes) -> dict[str, Any]:
    """Return what was written, its costs in bytes, and the command that compiles and runs the self-test."""
    return {"files": f"{Path(folder) / name}.h, .c, _selftest.c; {', '.join(RUNTIME)}; example and build files",
            "activations": kind, "bytes_flash": sizes.flash, "bytes_flash_weights": sizes.weights,
            "bytes_flash_pixel_table": sizes.pixels, "bytes_arena": sizes.arena,
            "not_counted": "code and stack: see tinyq/packed/README.md",
            "self_test": f"cc -std=c99 -O2 -I. {name}.c {name}_selftest.c {' '.join(COMPILED)} "
                         f"examples/{name}/selftest.c && ./a.out",
            "layers": [asdict(layer) for layer in sizes.layers]}


def _digest(texts):
    return f"0x{hashlib.sha256(''.join(texts.values()).encode()).hexdigest()[:16]}u"


def _filled(text, bound):
    for token, digest in bound.items():
        text = text.replace(token, digest)
    return text
