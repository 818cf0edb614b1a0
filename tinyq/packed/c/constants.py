"""Constants of a program as C99: arrays, each kept once, and structures of them."""
import numpy as np

from tinyq.packed.file.tensor import BYTES

COLUMNS = 24                            # numbers a line
SCHEMES = {"p3": "TINYQ_PLANES", "t243": "TINYQ_TRITS", BYTES: "TINYQ_BYTES"}      # any other: TINYQ_BITS


class Constants:
    """The arrays and structures that a program's file begins with; bytes: of the arrays."""

    def __init__(self):
        """None yet."""
        self.texts, self.bytes, self._names = [], 0, {}

    def array(self, ctype: str, values) -> str:
        """The name of a constant array of whole numbers, the same for the same numbers."""
        values = np.asarray(values)
        key = ctype, values.tobytes()
        if key not in self._names:
            name = self._names[key] = f"{ctype.removesuffix('_t').removeprefix('tinyq_')}_{len(self._names)}"
            self.texts.append(array_text(ctype, name, values))
            self.bytes += values.nbytes
        return self._names[key]

    def structure(self, ctype: str, name: str, members: dict) -> str:
        """"&name" of a constant structure."""
        self.texts.append(f"static const {ctype} {name} = {braced(members)};\n")
        return f"&{name}"


def array_text(ctype: str, name: str, values, linkage: str = "static const", sizes: str = "[]") -> str:
    """The definition of an array, and a check, which no compiler lets pass, of its size.

    values (n,), or (n, m) for an array of structures or of arrays.
    """
    values = np.asarray(values)
    if values.ndim == 1:
        flat = [str(v) for v in values.tolist()]
        lines = [", ".join(flat[i:i + COLUMNS]) for i in range(0, len(flat), COLUMNS)]
    else:
        lines = ["{" + ", ".join(map(str, row)) + "}" for row in values.tolist()]
    body = ",\n    ".join(lines)
    return f"{linkage} {ctype} {name}{sizes} = {{\n    {body}\n}};\n{size_check(name, values.nbytes)}"


def size_check(name: str, size: int) -> str:
    """C99's way to say _Static_assert."""
    return f"typedef char {name}_has_its_size[sizeof {name} == {size} ? 1 : -1];\n"


def braced(members: dict) -> str:
    """An initialiser, structures within it included."""
    parts = [f".{name} = {braced(v) if isinstance(v, dict) else v}" for name, v in members.items()]
    return "{" + ", ".join(parts) + "}"


def weights(constants, op) -> dict:
    """tinyq_weights of a product; codes stay as the file has them."""
    tensor = op.tensor
    members = {"data": constants.array("uint8_t", tensor.data.view(np.uint8).reshape(-1))}
    if tensor.levels is not None:
        members["levels"] = constants.array("int8_t", (tensor.levels / np.float32(op.unit)).astype(np.int8))
    scheme = SCHEMES.get(tensor.scheme, "TINYQ_BITS")
    bits = int(tensor.scheme[1:]) if scheme == "TINYQ_BITS" else 0
    return {**members, "scheme": scheme, "bits": bits, "rows": tensor.rows, "k": tensor.k,
            "row_bytes": tensor.data.shape[1]}


def requant(constants, r) -> dict:
    """tinyq_requant; numbers that are the same for every row or window are kept once."""
    each = len(set(zip(r.multiplier.tolist(), r.offset.tolist(), strict=True))) > 1
    count = len(r.multiplier) if each else 1
    return {"multiplier": constants.array("int32_t", r.multiplier[:count].astype(np.int32)),
            "offset": constants.array("int64_t", r.offset[:count].astype(np.int64)), "each": int(each),
            "shift": r.shift, "low": r.low, "high": r.high, "added_multiplier": r.added_multiplier,
            "added_shift": r.added_shift}


def spans(constants, geometry) -> str:
    """tinyq_span of each column of a convolution's weights."""
    width, outputs = geometry.x_shape[3], np.arange(geometry.output_size[1])
    rows = []
    for j in range(geometry.w_shape[3]):
        columns = outputs * geometry.stride[1] + j * geometry.dilation[1] - geometry.padding[1]
        inside = np.flatnonzero((columns >= 0) & (columns < width))
        rows.append((inside[0], inside[-1] + 1, columns[inside[0]]) if inside.size else (0, 0, 0))
    return constants.array("tinyq_span", np.array(rows, np.int32))


def windows(constants, windows, channels, plane) -> dict:
    """tinyq_windows: those of a plane's rows and columns instead of all of them."""
    (oh, ow), origins = windows.output_size, windows.origins.reshape(windows.output_size)
    rows = np.stack([origins[:, 0], windows.heights.reshape(oh, ow)[:, 0]], axis=1).astype(np.int32)
    columns = np.stack([origins[0] - origins[0, 0], windows.widths.reshape(oh, ow)[0]], axis=1).astype(np.int32)
    assert (rows[:, :1] + columns[:, 0] == origins).all()
    return {"rows": constants.array("tinyq_taps", rows), "columns": constants.array("tinyq_taps", columns),
            "channels": channels, "plane": plane, "out_height": oh, "out_width": ow,
            "step_y": windows.step[0], "step_x": windows.step[1]}


def convolution(constants, op) -> dict:
    """tinyq_conv but for its product."""
    g = op.geometry
    return {"spans": spans(constants, g), "groups": g.groups, "channels": g.w_shape[1],
            "height": g.x_shape[2], "width": g.x_shape[3], "out_height": g.output_size[0],
            "out_width": g.output_size[1], "kh": g.w_shape[2], "kw": g.w_shape[3],
            "stride_y": g.stride[0], "stride_x": g.stride[1], "padding_y": g.padding[0],
            "dilation_y": g.dilation[0], "padding_code": op.padding_code}


def move(op, x_shape, y_shape) -> dict | None:
    """tinyq_move: neighbouring axes are one where they are moved whole; None where more than three are left."""
    axes = []                                       # [count, step in x, step in y], the last axis first
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
    if len(axes) > 3:
        return None
    axes = [[1, 0, 0]] * (3 - len(axes)) + axes[::-1]
    count, from_step, to_step = ("{" + ", ".join(map(str, part)) + "}" for part in zip(*axes, strict=True))
    return {"from": start[0], "to": start[1], "count": count, "from_step": from_step, "to_step": to_step}
