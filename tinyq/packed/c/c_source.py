"""Write the C files of one network: NAME.h, NAME.c, its self-test and its example."""
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyq import __version__
from tinyq.inputs.targets import CLASSES
from tinyq.packed.c import templates
from tinyq.packed.c.c_names import comment_text, macro_prefix
from tinyq.packed.c.calls import Body
from tinyq.packed.c.constants import array_text, text_array
from tinyq.packed.c.entry import expected_codes, find_entry, pixel_codes, preparation_of
from tinyq.packed.c.layer_costs import LayerCost, layer_costs
from tinyq.packed.c.placement import ALIGN, place
from tinyq.packed.c.project.c_example import example
from tinyq.packed.c.project.c_self_test import self_test
from tinyq.packed.c.project.provenance import DIGEST, HEAD, SAME_EXPORT
from tinyq.packed.file.format import Packed, golden_input
from tinyq.packed.integer.program import IntegerProgram
from tinyq.tasks.task import CROSS_ENTROPY, task_of

NAMED = 32                              # outputs whose names stand in NAME.h
SHAPING = {"flatten", "reshape"}        # operations before the first codes that change no value
CTYPES = {"int8": "uint8_t", "int16": "int16_t"}


@dataclass(frozen=True)
class Origin:
    """Name and SHA-256 of a packed file, for the head of each file made from it."""

    file: str = "none"
    sha256: str = "none"


UNKNOWN = Origin()


@dataclass(frozen=True)
class Samples:
    """Inputs of a self-test, float32 (n, ...), and their classes, if they are known."""

    inputs: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Sizes:
    """Bytes of all constants, of the weights and of the table of pixels among them, and of the arena.

    layers: the costs of each; their constants and the table of pixels are all constants.
    """

    flash: int
    weights: int
    pixels: int
    arena: int
    layers: Sequence[LayerCost]


class Source:
    """The texts of one network's files, by `files`, and its `sizes`."""

    def __init__(self, program: IntegerProgram, packed: Packed, name: str, pixels: np.ndarray | None, origin: Origin):
        """Translate the program; pixels: as in export.export."""
        self.program, self.packed = program, packed
        self.names = {"name": name, "NAME": macro_prefix(name), "ctype": CTYPES[program.kind], "origin": origin.file,
                      "sha256": origin.sha256, "digest": DIGEST}
        self.names["same_export"] = SAME_EXPORT.substitute(self.names)
        self.entry = find_entry(program, packed)
        self.pixels = None if pixels is None else pixel_codes(program, packed, self.entry, pixels)
        self.outputs = math.prod(program.shapes[program.end])
        self.task = task_of(str(packed.meta.get("loss", CROSS_ENTROPY)), str(packed.meta.get("targets", CLASSES))).kind
        self.has_classes = self.task == "classes" and not self.entry.after
        self.class_names = _class_names(packed.meta, self.outputs) if self.has_classes else []
        outside = {self.entry.quantise.y: "input"}
        outside |= {program.end: "output"} if program.is_wide(program.end) else {}
        self.memory = place(self.entry.behind, program, outside)
        self.parts = Body(program, self.memory, packed.graph.nodes, lambda value: (
            self._at(self.memory.values[value]) if value in self.memory.values else outside.get(value, "input")))
        layers = layer_costs(self.memory, self.parts.layers, program, self.parts.constants.nbytes)
        table = self.pixels.nbytes if self.pixels is not None else 0
        self.sizes = Sizes(sum(layer.flash for layer in layers) + table, self.parts.constants.weights, table,
                           max(self.memory.size, ALIGN), layers)

    def files(self, samples: Samples | None) -> dict[str, str]:
        """Return {file name: text}; without samples the self-test has the packed file's own (format.golden_input)."""
        about = "uniform noise" if samples is None else "samples"
        given = Samples(golden_input(self.packed.graph)) if samples is None else samples
        labels = given.labels if self.has_classes else None
        self.names |= {"samples": str(len(given.inputs)), "labels": str(0 if labels is None else len(labels))}
        name = self.names["name"]
        return {f"{name}.h": self._header(), f"{name}.c": self._body(),
                **self_test(self.names, about, self._sample_arrays(given.inputs, labels), labels is not None),
                **self._example()}

    def _at(self, offset):
        """Return the C expression of codes in the arena."""
        ctype = self.names["ctype"]
        return f"arena + {offset}" if ctype == "uint8_t" else f"({ctype} *)(void *)(arena + {offset})"

    def _header(self):
        start, result, names = self.entry.quantise, self.program.quants[self.program.end], self.names
        shape = self.packed.graph.input_shape
        about = (f"the network of {names['name']}.c in integer arithmetic ({self.program.kind} activations, "
                 f"{names['ctype']} codes).")
        return templates.HEADER.substitute(
            names, head=HEAD.substitute(names, about=about), version=__version__, inputs=math.prod(shape),
            input_shape=" x ".join(map(str, shape)), dimensions=self._dimensions(),
            before=f", after its {', '.join(self.entry.before)}," if self.entry.before else "",
            meaning=self._meaning(), reciprocal=_macro(start.reciprocal), input_zero=start.quant.zero,
            input_low=start.quant.low, input_high=start.quant.high, outputs=self.outputs,
            output_scale=_macro(result.scale), output_zero=result.zero, layers=len(self.parts.layers),
            flash=self.sizes.flash, arena=self.sizes.arena, align=ALIGN, preparation=self._preparation(),
            pixel_table="" if self.pixels is None else
            templates.PIXEL_TABLE.substitute(names, channels=len(self.pixels)), **self._of_classes(
                templates.CLASSES_IN, templates.CLASSES),
            class_names=templates.CLASS_NAMES.substitute(names) if self.class_names else "")

    def _body(self):
        constants, names = list(self.parts.constants.texts), self.names
        if self.pixels is not None:
            constants.append(array_text(names["ctype"], f"{names['name']}_code_of_pixel", self.pixels,
                                        "TINYQ_CONST const", "[][256]"))
        if self.class_names:
            constants.append(text_array(f"{names['name']}_class_names", self.class_names))
        about = f"runs the network; {names['name']}.h describes its functions."
        return templates.SOURCE.substitute(
            names, head=HEAD.substitute(names, about=about), constants="\n".join(constants),
            calls="\n    ".join(self.parts.calls),
            **self._of_classes(templates.CLASSES_IN_SOURCE, templates.CLASSES_SOURCE))

    def _of_classes(self, in_arena, in_static_arena):
        """Return what a template substitutes for the functions that classify, if there are any."""
        texts = {"classes_in": in_arena, "classes": in_static_arena}
        return {key: text.substitute(self.names) if self.has_classes else "" for key, text in texts.items()}

    def _sample_arrays(self, inputs, labels):
        codes, results = expected_codes(self.program, self.packed, self.entry, inputs)
        arrays = [array_text(self.names["ctype"], "inputs", codes, sizes=f"[][{codes.shape[1]}]"),
                  array_text("int32_t", "expected", results, sizes=f"[][{results.shape[1]}]")]
        if labels is not None:
            arrays.append(array_text("int32_t", "labels", labels.astype(np.int32)))
        return "\n".join(arrays)

    def _example(self):
        inputs = "pixels" if self.pixels is not None else "codes" if {*self.entry.before} - SHAPING else "values"
        shows = "class name" if self.class_names else "class" if self.has_classes else "values"
        return example(self.names, inputs, shows, preparation_of(self.packed) is not None)

    def _meaning(self):
        """Return what the outputs are, by the task of the packed network."""
        if self.entry.after:
            return templates.BEFORE_FLOATS.substitute(after=", ".join(self.entry.after))
        found = self.packed.meta.get("class_names")
        given = [comment_text(str(name)) for name in found] if isinstance(found, list) else []
        names = ", ".join(given[:NAMED]) + (", ..." if len(given) > NAMED else "")
        return templates.MEANINGS[self.task].substitute(self.names, names=names)

    def _dimensions(self):
        shape = self.packed.graph.input_shape
        if len(shape) != 3:
            return ""
        return templates.DIMENSIONS.substitute(self.names, channels=shape[0], height=shape[1], width=shape[2])

    def _preparation(self):
        found = preparation_of(self.packed)
        return "" if found is None else templates.PREPARATION.substitute(
            self.names, divisor=found.divisor, mean=_floats(found.mean), std=_floats(found.std))


def _class_names(meta, outputs):
    """Return the names of classes that a file holds for each output, or none."""
    names = meta.get("class_names")
    fits = isinstance(names, list) and len(names) == outputs and all(isinstance(name, str) for name in names)
    return names if fits else []


def _floats(values):
    """Return the initialisers of an array, eight in a line of the macro."""
    texts = [_float(value) for value in values]
    return ", \\\n    ".join(", ".join(texts[k:k + 8]) for k in range(0, len(texts), 8))


def _macro(value):
    """Return a float32 for a macro, with its exact value in a comment."""
    return f"{_float(value)}  /* {float(np.float32(value)).hex()} */"


def _float(value):
    """Return a float32 in nine decimal digits, which determine it."""
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
