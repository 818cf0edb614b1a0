"""Write the constants of a program as C99: arrays, each stored once, and structures of them."""
from collections.abc import Sequence

import numpy as np

from tinyq.kernels.geometry.pooling_windows import Windows
from tinyq.packed.c.c_convolution import Convolution, Plan, is_binary, lists_of
from tinyq.packed.c.c_names import string_literal
from tinyq.packed.c.structures import Members, braced, size_of
from tinyq.packed.file.tensor import BYTES
from tinyq.packed.integer.program import IntegerProduct, Move, Requant

WEIGHTS = ("codes", "lists")            # roles of arrays that hold weights
MAX_AXES = 3                            # of tinyq_move
COLUMNS = 24                            # numbers per line
DECODERS = {"p3": "tinyq_decode_planes", "t243": "tinyq_decode_trits", BYTES: None}     # any other: tinyq_decode_bits


class Constants:
    """Arrays and structures at the top of a program's file.

    layer: C name of the layer whose constants follow; their names begin with it. nbytes: of each layer's arrays and
    structures on a 32-bit processor; what layers share counts for the first. weights: bytes of all weights.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.layer = ""
        self.nbytes: dict[str, int] = {}
        self.weights = 0
        self._names: dict[tuple[str, bytes], str] = {}
        self._taken: set[str] = set()

    def array(self, ctype: str, values: np.ndarray, role: str) -> str:
        """Define a constant integer array LAYER_role and return its name; equal arrays share one definition."""
        key = ctype, values.tobytes()
        if key not in self._names:
            name = self._names[key] = self._new(role)
            self.texts.append(array_text(ctype, name, values))
            self._count(values.nbytes)
            self.weights += values.nbytes if role in WEIGHTS else 0
        return self._names[key]

    def structure(self, ctype: str, members: Members, role: str = "layer") -> str:
        """Define a constant structure LAYER_role and return "&LAYER_role"."""
        name = self._new(role)
        self.texts.append(f"TINYQ_CONST static const {ctype} {name} = {braced(ctype, members)};\n")
        self._count(size_of(ctype))
        return f"&{name}"

    def _new(self, role):
        name = f"{self.layer}_{role}"
        assert name not in self._taken, name
        self._taken.add(name)
        return name

    def _count(self, size):
        self.nbytes[self.layer] = self.nbytes.get(self.layer, 0) + size


def array_text(ctype: str, name: str, values: np.ndarray, linkage: str = "TINYQ_CONST static const",
               sizes: str = "[]") -> str:
    """Return the definition of an array, and a check of its size at compile time.

    values: (n,), or (n, m) for an array of structures or of arrays.
    """
    if values.ndim == 1:
        flat = [str(v) for v in values.tolist()]
        lines = [", ".join(flat[i:i + COLUMNS]) for i in range(0, len(flat), COLUMNS)]
    else:
        lines = ["{" + ", ".join(map(str, row)) + "}" for row in values.tolist()]
    body = ",\n    ".join(lines)
    return f"{linkage} {ctype} {name}{sizes} = {{\n    {body}\n}};\n{size_check(name, values.nbytes)}"


def text_array(name: str, texts: Sequence[str]) -> str:
    """Return the definition of an array of UTF-8 strings."""
    body = ",\n    ".join(map(string_literal, texts))
    return f"TINYQ_CONST const char *const {name}[] = {{\n    {body}\n}};\n"


def size_check(name: str, size: int) -> str:
    """Return a typedef that does not compile if the size differs: C99 has no _Static_assert."""
    return f"typedef char {name}_has_its_size[sizeof {name} == {size} ? 1 : -1];\n"


def weights(constants: Constants, op: IntegerProduct, stored: bool = True, decoded: bool = True) -> Members:
    """Return the members of tinyq_weights; the codes are those of the file.

    stored: False where they are stored elsewhere. decoded: False where the kernel needs no decoder.
    """
    tensor = op.tensor
    assert tensor is not None
    size = {"rows": tensor.rows, "k": tensor.k, "row_bytes": tensor.data.shape[1]}
    if not stored:
        return {"data": None, "levels": None, "decode": None, "bits": 0, **size}
    decoder = DECODERS.get(tensor.scheme, "tinyq_decode_bits")
    bits, levels = int(tensor.scheme[1:]) if decoder == "tinyq_decode_bits" else 0, None
    if tensor.levels is not None:
        levels = (tensor.levels / np.float32(op.unit)).astype(np.int8)
        levels = np.pad(levels, (0, max(0, (1 << bits) - len(levels))))     # tables have a place for every code
    return {"data": constants.array("uint8_t", tensor.data.view(np.uint8).reshape(-1), "codes"),
            "levels": None if levels is None else constants.array("int8_t", levels, "levels"),
            "decode": decoder if decoded else None, "bits": bits, **size}


def requant(constants: Constants, r: Requant) -> Members:
    """Return the members of tinyq_requant; numbers equal for all rows or windows are stored once."""
    multiplier, offset = (values[:1] if len(set(values.tolist())) == 1 else values for values in
                          (r.multiplier.astype(np.int32), r.offset.astype(np.int64) + (1 << (r.shift - 1))))
    return {"multiplier": constants.array("int32_t", multiplier, "multiplier"),
            "offset": constants.array("int64_t", offset, "offset"),
            "added_step": r.added_multiplier << r.added_shift, "multiplier_each": int(len(multiplier) > 1),
            "offset_each": int(len(offset) > 1), "shift": r.shift, "low": r.low, "high": r.high}


def windows(constants: Constants, windows: Windows, channels: int, plane: int) -> Members:
    """Return the members of tinyq_windows, which stores windows by row and column; plane: elements per channel."""
    (oh, ow), origins = windows.output_size, windows.origins.reshape(windows.output_size)
    rows = np.stack([origins[:, 0], windows.heights.reshape(oh, ow)[:, 0]], axis=1).astype(np.int32)
    columns = np.stack([origins[0] - origins[0, 0], windows.widths.reshape(oh, ow)[0]], axis=1).astype(np.int32)
    assert (rows[:, :1] + columns[:, 0] == origins).all()
    return {"rows": constants.array("tinyq_taps", rows, "rows"),
            "columns": constants.array("tinyq_taps", columns, "columns"),
            "channels": channels, "plane": plane, "out_height": oh, "out_width": ow,
            "step_y": windows.step[0], "step_x": windows.step[1]}


def convolution(constants: Constants, op: Convolution, plan: Plan) -> Members:
    """Return the members of tinyq_conv, without its product."""
    g = op.product.geometry
    assert g is not None
    height, width, stripe = op.out_height, op.out_width, min(op.stripe, op.out_height)
    return {"groups": g.groups, "channels": g.w_shape[1], "rows": g.w_shape[0] // g.groups,
            "height": g.x_shape[2], "width": g.x_shape[3], "out_height": height, "out_width": width,
            "kh": g.w_shape[2], "kw": g.w_shape[3], "stride_y": g.stride[0], "stride_x": g.stride[1],
            "padding_y": g.padding[0], "padding_x": g.padding[1], "dilation_y": g.dilation[0],
            "dilation_x": g.dilation[1], "padding_code": op.product.padding_code, "pool": op.pool,
            "pooled_height": height // op.pool, "pooled_width": width // op.pool, "stripe": stripe,
            "pooled_stripe": stripe // op.pool, "block": plan.block, "pooled_block": plan.block // op.pool,
            "lane": plan.lane, "count": len(plan.parts), "sums_at": plan.sums_at,
            "parts": constants.array("tinyq_part", np.array(plan.parts, np.int32), "parts") if plan.parts else None,
            "lists": constants.array("uint16_t", lists_of(op, plan.parts), "lists")
            if plan.parts and not is_binary(op.product) else None}


def move(op: Move, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> Members | None:
    """Return the members of tinyq_move; None where more than MAX_AXES axes remain after merging whole ones."""
    axes: list[list[int]] = []                      # [count, step in x, step in y], the last axis first
    start, steps = [0, 0], [1, 1]
    for size, end, source, target in reversed(list(zip(x_shape, y_shape, op.source, op.target, strict=True))):
        ranges = range(*source.indices(size)), range(*target.indices(end))
        start = [at + r.start * step for at, r, step in zip(start, ranges, steps, strict=True)]
        axis = [len(ranges[0]), *(r.step * step for r, step in zip(ranges, steps, strict=True))]
        if axes and all(axis[i] == axes[-1][i] * axes[-1][0] for i in (1, 2)):
            axes[-1][0] *= axis[0]
        elif axis[0] > 1:
            axes.append(axis)
        steps = [steps[0] * size, steps[1] * end]
    if len(axes) > MAX_AXES:
        return None
    axes = [[1, 0, 0]] * (MAX_AXES - len(axes)) + axes[::-1]
    count, from_step, to_step = ("{" + ", ".join(map(str, part)) + "}" for part in zip(*axes, strict=True))
    return {"from": start[0], "to": start[1], "count": count, "from_step": from_step, "to_step": to_step}
