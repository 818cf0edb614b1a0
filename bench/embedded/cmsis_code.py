"""Write a program of integer operations as calls of CMSIS-NN, with the same weights."""
import math

import numpy as np
from embedded.cmsis_numbers import SIGN, Meaning, fixed_point, meaning_of, product

from tinyq.packed.c.entry import find_entry
from tinyq.packed.file.format import Packed
from tinyq.packed.integer.arena import Lifetime, offsets
from tinyq.packed.integer.program import IntegerProduct, IntegerProgram, MaxPool, Mean, Move, Reshape

LEFT_SHIFT = 20                         # of arm_elementwise_add_s8, as TensorFlow Lite sets it
TEMPLATE = """\
#include <string.h>

#include "arm_nnfunctions.h"

void cmsis_run(const int8_t *input, int32_t *output);
void cmsis_scratch(const int8_t *input, int32_t *output);

#ifndef SCRATCH
#define SCRATCH 4
#endif
static int8_t arena[{arena}];
static int32_t scratch[SCRATCH / 4];

/* Copy every STEPth pixel of an image, some channels of it, to channels of another image. */
static inline void move(const int8_t *x, int8_t *y, int height, int width, int channels, int step, int x_width,
                 int x_channels, int y_channels)
{{
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            memcpy(y + (i * width + j) * y_channels, x + (i * x_width + j) * step * x_channels, (size_t)channels);
}}

{constants}
void cmsis_run(const int8_t *input, int32_t *output)
{{
    int8_t result[{outputs}];
    cmsis_nn_context context = {{scratch, SCRATCH}};
    {calls}
    for (int i = 0; i < {outputs}; i++)
        output[i] = result[i];
}}

static inline int32_t larger(int32_t a, int32_t b)
{{
    return a > b ? a : b;
}}

/* Bytes of scratch memory that the layers need on this core. */
void cmsis_scratch(const int8_t *input, int32_t *output)
{{
    int32_t needed = 4;
    (void)input;
    {sizes}
    output[0] = needed;
}}
"""


class CmsisCode:
    """C text of a network in CMSIS-NN's functions, which compute in the order row, column, channel."""

    def __init__(self, program: IntegerProgram, packed: Packed, result: Meaning):
        """result: what the int8 codes of the outputs mean. ValueError for an operation without a translation."""
        self.program, self.nodes = program, packed.graph.nodes
        entry = find_entry(program, packed)
        self.constants: list[str] = []
        self.calls: list[str] = []
        self.sizes: list[str] = []
        self.meanings = {entry.quantise.y: meaning_of(program.quants[entry.quantise.y])}
        self.images: dict[int, tuple[int, ...]] = {}            # shapes before flattening
        self.homes: dict[int, int] = {}
        self.lives: dict[int, Lifetime] = {}
        self.result = result
        self._place_values(entry.behind, {entry.quantise.y: "input", program.end: "result"})
        for i, op in enumerate(entry.behind):
            self._translate(op, f"{i}")

    def text(self) -> str:
        """Return the C file."""
        calls, sizes = ("\n    ".join(lines) for lines in (self.calls, self.sizes))
        return TEMPLATE.format(arena=self.arena, constants="\n".join(self.constants), calls=calls, sizes=sizes,
                               outputs=math.prod(self.program.shapes[self.program.end]))

    def _place_values(self, operations, outside):
        """Place values in the arena as tinyq places its own; outside: those in other memory."""
        for i, op in enumerate(operations):
            if isinstance(op, Reshape):
                self.homes[op.y] = self.homes.get(op.x, op.x)
            for value in (*op.reads, op.y):
                home = self.homes.get(value, value)
                self.lives[home] = self.lives.get(home, Lifetime(i, i)).joined(Lifetime(i, i))
        sizes = {value: math.prod(self.program.shapes[value]) for value in self.lives if value not in outside}
        places = offsets(sizes, {value: self.lives[value] for value in sizes})
        self.places = {value: f"arena + {at}" for value, at in places.items()} | outside
        self.arena = max(at + sizes[value] for value, at in places.items())

    def _place(self, value):
        return self.places[self.homes.get(value, value)]

    def _image(self, value):
        """(c, h, w) of a value, from before it was flattened."""
        return self.images.get(value, self.program.shapes[value])

    def _translate(self, op, i):
        x = self.meanings[op.x]
        self.meanings[op.y] = self.result if op.y == self.program.end else meaning_of(self.program.quants[op.y])
        match op:
            case IntegerProduct():
                self._product(op, i, x)
            case MaxPool() | Mean():
                self.meanings[op.y] = x                         # pooling keeps the scale
                self._pool(op, i)
            case Move():
                self._move(op)
            case Reshape():
                self.meanings[op.y], self.images[op.y] = x, self._image(op.x)
            case _:
                raise ValueError(f"{type(op).__name__} has no translation to CMSIS-NN")

    def _product(self, op, i, x):
        sum_ = Meaning(2 * self.program.quants[op.y].scale, 0)      # of a product that something is added to
        y = self.meanings[op.y] if op.added is None else sum_
        numbers = product(op, self.program.quants, x, y, self._image(op.x))
        whole = op.added is not None or self.program.is_wide(op.y)
        low, high = (-128, 127) if whole else (op.requant.low - SIGN, op.requant.high - SIGN)
        for name, values in (("bias", numbers.bias), ("multiplier", numbers.multiplier), ("shift", numbers.shift)):
            self._array("int32_t", f"{name}_{i}", values)
        self._array("int8_t", f"weights_{i}", numbers.weights)
        if op.geometry is None:
            self._linear(op, i, x, y, numbers, (low, high))
        else:
            self._convolution(op, i, x, y, (low, high))
        if op.added is not None:
            self._add(op, sum_)

    def _convolution(self, op, i, x, y, limits):
        g = op.geometry
        (_, channels, height, width), (rows, of_group, kh, kw) = g.x_shape, g.w_shape
        self._constant("cmsis_nn_conv_params", f"options_{i}", -x.zero, y.zero, _tile(g.stride), _tile(g.padding),
                       _tile(g.dilation), _braced(limits))
        self._quantisation("cmsis_nn_per_channel_quant_params", i)
        self._dims(x_=(1, height, width, channels), w=(rows, kh, kw, of_group), b=(1, 1, 1, rows),
                   y_=(1, *g.output_size, rows), i=i)
        self.calls.append(
            f"arm_convolve_wrapper_s8(&context, &options_{i}, &quantisation_{i}, &x_{i}, {self._place(op.x)}, &w_{i}, "
            f"weights_{i}, &b_{i}, bias_{i}, &y_{i}, {self._place(op.y)});")
        self.sizes.append(f"needed = larger(needed, arm_convolve_wrapper_s8_get_buffer_size(&options_{i}, &x_{i}, "
                          f"&w_{i}, &y_{i}));")

    def _linear(self, op, i, x, y, numbers, limits):
        rows, k = len(numbers.weights), numbers.weights[0].size
        self._constant("cmsis_nn_fc_params", f"options_{i}", -x.zero, 0, y.zero, _braced(limits))
        self._quantisation("cmsis_nn_quant_params", i, 1)
        self._dims(x_=(1, 1, 1, k), w=(k, 1, 1, rows), b=(1, 1, 1, rows), y_=(1, 1, 1, rows), i=i)
        self.constants.append("#ifdef ARM_MATH_MVEI")           # other cores take the bias
        self._array("int32_t", f"sums_{i}", numbers.sums)
        self.constants.append(f"#else\n#define sums_{i} NULL\n#endif\n")
        self.calls.append(
            f"arm_fully_connected_wrapper_s8(&(cmsis_nn_context){{(void *)sums_{i}, 0}}, &options_{i}, "
            f"&quantisation_{i}, &x_{i}, {self._place(op.x)}, &w_{i}, weights_{i}, &b_{i}, bias_{i}, &y_{i}, "
            f"{self._place(op.y)});")

    def _add(self, op, sum_):
        """Add a value to the sums that stand in the output's place."""
        added, y = self.meanings[op.added], self.meanings[op.y]
        largest = 2 * max(sum_.scale, added.scale)
        first, second = fixed_point(sum_.scale / largest), fixed_point(added.scale / largest)
        out = fixed_point(largest / (2**LEFT_SHIFT * y.scale))
        place, requant = self._place(op.y), op.requant
        numbers = (-sum_.zero, *first, -added.zero, *second, LEFT_SHIFT)
        self.calls.append(
            f"arm_elementwise_add_s8({place}, {self._place(op.added)}, {', '.join(map(str, numbers))}, {place}, "
            f"{y.zero}, {out[0]}, {out[1]}, {requant.low - SIGN}, {requant.high - SIGN}, "
            f"{math.prod(self.program.shapes[op.y])});")

    def _pool(self, op, i):
        (channels, height, width), (_, out_height, out_width) = self._image(op.x), self._image(op.y)
        params = self.nodes[op.y].params
        whole = {"kernel": (height, width), "stride": (1, 1), "padding": (0, 0)}
        kernel, stride, padding = ((params if "kernel" in params else whole)[key] for key in whole)
        if params.get("dilation", [1, 1]) != [1, 1] or params.get("ceil_mode") or (
                "kernel" not in params and (out_height, out_width) != (1, 1)):
            raise ValueError(f"pooling {params} has no translation to CMSIS-NN")
        self._constant("cmsis_nn_pool_params", f"options_{i}", _tile(stride), _tile(padding), _braced((-128, 127)))
        self._dims(x_=(1, height, width, channels), w=(1, *kernel, 1), y_=(1, out_height, out_width, channels), i=i)
        function = "arm_max_pool_s8" if isinstance(op, MaxPool) else "arm_avgpool_s8"
        self.calls.append(f"{function}(&context, &options_{i}, &x_{i}, {self._place(op.x)}, &w_{i}, &y_{i}, "
                          f"{self._place(op.y)});")
        if isinstance(op, Mean):
            self.sizes.append(f"needed = larger(needed, {4 * channels});")

    def _move(self, op):
        (x_channels, x_height, x_width), (y_channels, y_height, y_width) = self._image(op.x), self._image(op.y)
        (first, *rows), (to, *targets) = ([range(*part.indices(size)) for part, size in zip(parts, shape, strict=True)]
                                          for parts, shape in ((op.source, self._image(op.x)),
                                                               (op.target, self._image(op.y))))
        step = rows[0].step
        plain = rows == [range(0, n, step) for n in (x_height, x_width)] and first.step == to.step == 1
        if not plain or targets != [range(y_height), range(y_width)]:
            raise ValueError("this move has no translation to CMSIS-NN's order of elements")
        x, y = self._place(op.x), self._place(op.y)
        if op.fill is not None:
            self.calls.append(f"memset({y}, {op.fill - SIGN}, {math.prod(self._image(op.y))});")
        self.calls.append(f"move({x} + {first.start}, {y} + {to.start}, {y_height}, {y_width}, {len(first)}, {step}, "
                          f"{x_width}, {x_channels}, {y_channels});")

    def _array(self, ctype, name, values):
        numbers = ", ".join(map(str, np.asarray(values).reshape(-1).tolist()))
        self.constants.append(f"static const {ctype} {name}[] = {{{numbers}}};\n")

    def _constant(self, ctype, name, *members):
        self.constants.append(f"static const {ctype} {name} = {_braced(members)};\n")

    def _quantisation(self, ctype, i, *more):
        self._constant(ctype, f"quantisation_{i}", f"(int32_t *)multiplier_{i}", f"(int32_t *)shift_{i}", *more)

    def _dims(self, i, **dims):
        for name, sizes in dims.items():
            self._constant("cmsis_nn_dims", f"{name.rstrip('_')}_{i}", *sizes)


def _braced(values):
    return "{" + ", ".join(map(str, values)) + "}"


def _tile(pair):
    """cmsis_nn_tile, width first."""
    return _braced((pair[1], pair[0]))
