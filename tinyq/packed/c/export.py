"""Export an integer program as C99 without heap or floating point: NAME.h, NAME.c, a self-test and the runtime."""
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq.errors import UsageError, did_you_mean
from tinyq.files import atomic
from tinyq.inputs.targets import CLASSES
from tinyq.packed.c import templates
from tinyq.packed.c.c_names import FROM, check_free, check_name, comment_text, macro_prefix, name_of, shown
from tinyq.packed.c.calls import Body
from tinyq.packed.c.constants import array_text
from tinyq.packed.c.entry import expected_codes, find_entry, pixel_codes, pixel_values, preparation_of
from tinyq.packed.c.placement import place
from tinyq.packed.c.structures import runtime_text
from tinyq.packed.file import format
from tinyq.packed.file.format import Packed, golden_input
from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.program import IntegerProgram
from tinyq.tasks.loss_choice import CROSS_ENTROPY, task_of

RUNTIME = ("tinyq_runtime.h", "tinyq_runtime.c", "tinyq_kernels.h")
COMPILED = tuple(file for file in RUNTIME if file.endswith(".c"))
NAMED = 32                              # outputs whose names stand in NAME.h
ALIGN = 4                               # of the arena, in bytes
CTYPES = {"int8": "uint8_t", "int16": "int16_t"}


@dataclass(frozen=True)
class Sizes:
    """Bytes of all constants, of the weights among them, and of the arena."""

    flash: int
    weights: int
    arena: int


def export(program: IntegerProgram, packed: Packed, folder: str | Path, name: str, samples: np.ndarray | None = None,
           pixels: np.ndarray | None = None, origin: str = "none") -> Sizes:
    """Write NAME.h, NAME.c, NAME_selftest.c and the runtime into a folder, all or none; it is created if missing.

    The first three compile only together: a kill while they are renamed may leave files of two exports.

    samples: float32 (n, ...), inputs of the self-test; by default the packed file's own (format.golden_input).
    pixels: float32 (c, 256), the network's input per 8-bit pixel and channel; NAME.c then has a table of their codes.
    origin: name of the packed file, for a comment. UsageError if a part of the network is not in integers, or `name` is
    not a C identifier.
    """
    check_name(name)
    source = _Source(program, packed, name, pixels, origin)
    texts = {f"{name}.h": source.header(), f"{name}.c": source.body(),
             f"{name}_selftest.c": source.self_test(golden_input(packed.graph) if samples is None else samples),
             **{file: runtime_text(file) for file in RUNTIME}}
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    atomic.write_files(folder, {file: text.replace(templates.DIGEST, f"0x{digest}u") for file, text in texts.items()})
    return source.sizes


def export_file(path: str | Path, folder: str | Path, kind: str) -> dict[str, str | int]:
    """Export a packed file under its own name for activations "int8" or "int16"; return a report.

    BadInput where the file is damaged; CannotCreate where the folder holds another file's export of this name;
    UsageError as from `lower` and `export`.
    """
    if kind not in CTYPES:
        raise UsageError(f"activations {kind}: {did_you_mean(kind, CTYPES)}")
    packed = format.read(path)
    name, origin = name_of(path), shown(path)
    check_free(folder, name, origin)
    sizes = export(lower(packed, kind), packed, folder, name, pixels=pixel_values(packed), origin=origin)
    return {"files": f"{Path(folder) / name}.h, .c, _selftest.c; {', '.join(RUNTIME)}", "activations": kind,
            "bytes_flash": sizes.flash, "bytes_flash_weights": sizes.weights, "bytes_arena": sizes.arena,
            "self_test": f"cc -std=c99 -O2 {name}.c {name}_selftest.c {' '.join(COMPILED)} && ./a.out"}


class _Source:
    def __init__(self, program, packed, name, pixels, origin):
        self.program, self.packed = program, packed
        self.names = {"name": name, "NAME": macro_prefix(name), "ctype": CTYPES[program.kind],
                      "origin": f"{FROM}{origin}"}
        self.entry = find_entry(program, packed)
        self.pixels = None if pixels is None else pixel_codes(program, packed, self.entry, pixels)
        outside = {self.entry.quantise.y: "input"}
        outside |= {program.end: "output"} if program.is_wide(program.end) else {}
        self.memory = place(self.entry.behind, program, outside)
        self.parts = Body(program, self.entry.behind, packed.graph.nodes, lambda value: (
            f"codes + {self.memory.offsets[value]}" if value in self.memory.offsets else outside.get(value, "input")))
        self.pointers, arena = self._arena()
        flash = sum(self.parts.constants.nbytes.values()) + (0 if self.pixels is None else self.pixels.nbytes)
        self.sizes = Sizes(flash, sum(t.data.nbytes for t in packed.tensors.values()), arena)

    def _arena(self):
        """Return lines of C that find the parts of the arena, and its size in bytes."""
        parts, end, lines = self.parts, 0, []
        for name, ctype, size in (("codes", self.names["ctype"], self.memory.size * self.program.dtype.itemsize),
                                  ("sums", "int32_t", 4 * parts.sums), ("levels", "int8_t", parts.levels)):
            if size:
                lines.append(f"{ctype} *const {name} = ({ctype} *)(void *)((uint8_t *)arena + {end});")
            end += -(-size // ALIGN) * ALIGN
        return lines or ["(void)arena;"], max(end, ALIGN)

    def header(self):
        """Return NAME.h."""
        start, result = self.entry.quantise, self.program.quants[self.program.end]
        shape = self.packed.graph.input_shape
        before = f", after its {', '.join(self.entry.before)}," if self.entry.before else ""
        meaning = (templates.BEFORE_FLOATS.substitute(after=", ".join(self.entry.after)) if self.entry.after
                   else self._meaning())
        preparation = preparation_of(self.packed)
        table = "" if self.pixels is None else templates.PIXEL_TABLE.substitute(self.names, channels=len(self.pixels))
        return templates.HEADER.substitute(
            self.names, kind=self.program.kind, inputs=math.prod(shape), input_shape=" x ".join(map(str, shape)),
            before=before, meaning=meaning, reciprocal=_float(start.reciprocal), input_zero=start.quant.zero,
            input_low=start.quant.low, input_high=start.quant.high,
            outputs=math.prod(self.program.shapes[self.program.end]), output_scale=_float(result.scale),
            output_zero=result.zero, flash=self.sizes.flash, arena=self.sizes.arena, align=ALIGN, pixel_table=table,
            preparation="" if preparation is None else templates.PREPARATION.substitute(
                self.names, divisor=preparation.divisor, mean=_floats(preparation.mean), std=_floats(preparation.std)))

    def _meaning(self):
        """Return what the outputs are, by the task of the packed network."""
        meta = self.packed.meta
        kind = task_of(str(meta.get("loss", CROSS_ENTROPY)), str(meta.get("targets", CLASSES))).kind
        given = [comment_text(str(name)) for name in meta.get("class_names", ())]
        names = ", ".join(given[:NAMED]) + (", ..." if len(given) > NAMED else "")
        return templates.MEANINGS[kind].substitute(self.names, names=names)

    def body(self):
        """Return NAME.c."""
        parts, ctype = self.parts, self.names["ctype"]
        constants = list(parts.constants.texts)
        if self.pixels is not None:
            name = f"{self.names['name']}_code_of_pixel"
            constants.append(array_text(ctype, name, self.pixels, "TINYQ_CONST const", "[][256]"))
        return templates.SOURCE.substitute(self.names, constants="\n".join(constants),
                                           calls="\n    ".join(self.pointers + parts.calls))

    def self_test(self, samples):
        """Return NAME_selftest.c."""
        codes, results = expected_codes(self.program, self.packed, self.entry, samples)
        arrays = [array_text(self.names["ctype"], "inputs", codes, sizes=f"[][{codes.shape[1]}]"),
                  array_text("int32_t", "expected", results, sizes=f"[][{results.shape[1]}]")]
        return templates.SELF_TEST.substitute(self.names, samples=len(codes), arrays="\n".join(arrays))


def _floats(values):
    """Return the initialisers of an array, eight in a line of the macro."""
    texts = [_float(value) for value in values]
    return ", \\\n    ".join(", ".join(texts[k:k + 8]) for k in range(0, len(texts), 8))


def _float(value):
    """Return a float32 in C99's hexadecimal form, which is exact."""
    return f"{float(np.float32(value)).hex()}f"
