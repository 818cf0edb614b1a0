"""Define the operations of a packed network other than its products: parameters as JSON, and output shapes.

Shapes are per sample, without the batch axis. A file's graph contains only products and these operations.
"""
import math
from collections.abc import Callable
from dataclasses import dataclass
from operator import index
from typing import Any, TypeAlias

from tinyq.kernels.geometry.conv_geometry import conv_geometry, pair
from tinyq.kernels.geometry.pooling_windows import Windows, adaptive_windows, sliding_size, sliding_windows
from tinyq.packed.file.reducing import (
    clip_json,
    clip_params,
    power_params,
    reduced_shape,
    reduction_json,
    reduction_params,
)

Json: TypeAlias = dict[str, Any]        # parameters as a file holds them: numbers, flags, lists
PRODUCT = "product"
MAX_BEYOND = 64                        # elements by which windows, strides and padding may exceed twice the plane
MAX_ALONG_AN_AXIS = 1 << 20            # of a pooled plane: index tables are made from the shapes before data is read


@dataclass(frozen=True)
class Operation:
    """Conversions of an operation's parameters, and what inputs it takes.

    to_json(params, y_shape) converts a recorded step's params, y_shape with the batch axis; from_json(json) converts
    them back.
    shape(shapes, json) is the output's shape. from_json and shape raise ValueError, TypeError, KeyError, IndexError
    or a TinyqError if inputs and parameters do not fit. inputs: their number, None for any. optional: positions of
    inputs that may be None. constants: True if inputs may be arrays of the file.
    """

    to_json: Callable
    from_json: Callable
    shape: Callable
    inputs: int | None = 1
    optional: tuple[int, ...] = ()
    constants: bool = False


def _as_they_are(*names):
    return lambda params, shape: {name: params[name] for name in names if name in params}


def _unchanged(shapes, json):
    return shapes[0]


def _broadcast(shapes, json):
    """Output shape of two inputs broadcast together."""
    if len(shapes) != 2:
        raise ValueError(f"{len(shapes)} inputs, not 2")
    rank = max(map(len, shapes))
    wide = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    for sizes in zip(*wide, strict=True):
        if len(set(sizes) - {1}) > 1:
            raise ValueError(f"shapes {shapes} cannot be broadcast")
    return tuple(max(sizes) for sizes in zip(*wide, strict=True))


def _pairs(params, *names):
    return {name: list(pair(params[name], name)) for name in names}


def _max_pool_json(params, shape):
    stride = params["kernel"] if params["stride"] is None else params["stride"]
    return {**_pairs({**params, "stride": stride}, "kernel", "stride", "padding", "dilation"),
            "ceil_mode": bool(params["ceil_mode"])}


def _avg_pool_json(params, shape):
    stride = params["kernel"] if params["stride"] is None else params["stride"]
    return {**_pairs({**params, "stride": stride}, "kernel", "stride", "padding"),
            "ceil_mode": bool(params["ceil_mode"]), "count_include_pad": bool(params["count_include_pad"])}


def _pool_params(*flags):
    """Return a from_json for parameters that are pairs, except `flags`, which are true or false."""
    def params(json):
        if not all(isinstance(json[flag], bool) for flag in flags):
            raise ValueError(f"{', '.join(flags)} must be true or false")
        return {name: value if name in flags else pair(tuple(value), name) for name, value in json.items()}

    return params


def pool_geometry(shape: tuple[int, ...], name: str, json: Json) -> Windows:
    """Return the pooling_windows.Windows of a pooling operation on a sample of this shape."""
    if len(shape) != 3:
        raise ValueError(f"pooling does not fit shape {shape}")
    if name == "adaptive_avg_pool2d":
        return adaptive_windows(shape[1:], tuple(json["output_size"]))
    dilation = tuple(json.get("dilation", (1, 1)))
    return sliding_windows(shape[1:], tuple(json["kernel"]), tuple(json["stride"]), tuple(json["padding"]), dilation,
                        json["ceil_mode"], json.get("count_include_pad", True))


def _pool_size(shape, name, json):
    """Return the (oh, ow) of pool_geometry without allocating its windows."""
    if len(shape) != 3 or max(shape[1:]) > MAX_ALONG_AN_AXIS:
        raise ValueError(f"pooling does not fit shape {shape}")
    if name == "adaptive_avg_pool2d":
        return pair(json["output_size"], "output size")
    _check_windows(shape[1:], json["kernel"], json["stride"], json["padding"], json.get("dilation", (1, 1)))
    return sliding_size(shape[1:], json["kernel"], json["stride"], json["padding"], json.get("dilation", 1),
                        json["ceil_mode"])


def _pool_shape(name):
    return lambda shapes, json: (shapes[0][0], *_pool_size(shapes[0], name, json))


def _flat(shapes, json):
    return (math.prod(shapes[0]),)


def _reshape_json(params, shape):
    return {"shape": [int(size) for size in shape[1:]]}


def _reshaped(shapes, json):
    shape = tuple(map(index, json["shape"]))
    if min(shape, default=1) < 1 or math.prod(shape) != math.prod(shapes[0]):
        raise ValueError(f"shape {shapes[0]} cannot become {shape}")
    return shape


def _concatenate_json(params, shape):
    axis = params.get("axis", 0)
    return {"axis": (axis if axis >= 0 else axis + len(shape)) - 1}        # -1: the batch, refused below


def _concatenated(shapes, json):
    axis, first = index(json["axis"]), tuple(shapes[0])
    if not 0 <= axis < len(first) or any(
            s[:axis] + s[axis + 1:] != first[:axis] + first[axis + 1:] for s in map(tuple, shapes)):
        raise ValueError(f"shapes {shapes} cannot be concatenated along axis {axis}")
    return (*first[:axis], sum(s[axis] for s in shapes), *first[axis + 1:])


def _getitem_json(params, shape):
    index = params["index"] if isinstance(params["index"], tuple) else (params["index"],)
    if not all(isinstance(part, slice) for part in index) or index[:1] not in ((), (slice(None),)):
        raise ValueError(f"index {index} is not of slices that keep the batch axis whole")
    return {"index": [[part.start, part.stop, part.step] for part in index[1:]]}


def slices(json: Json) -> tuple[slice, ...]:
    """Return the slices of a getitem, one for each of a sample's first axes."""
    return tuple(slice(*(None if end is None else index(end) for end in part)) for part in json["index"])


def _indexed(shapes, json):
    parts = slices(json)
    if len(parts) > len(shapes[0]):
        raise ValueError(f"{len(parts)} slices do not fit shape {shapes[0]}")
    sizes = [len(range(*part.indices(size))) for part, size in zip(parts, shapes[0], strict=False)]
    if 0 in sizes:
        raise ValueError(f"slices of shape {shapes[0]} are empty")
    return (*sizes, *shapes[0][len(parts):])


def _pad_json(params, shape):
    widths = [[int(before), int(after)] for before, after in params["widths"]]
    if widths[0] != [0, 0]:
        raise ValueError("it pads the batch axis")
    if params.get("value", 0.0):
        raise ValueError(f"it pads with {params['value']}, not with 0")
    return {"widths": widths[1:]}


def _padded(shapes, json):
    widths = [(index(before), index(after)) for before, after in json["widths"]]
    if len(widths) != len(shapes[0]) or min(map(min, widths)) < 0:
        raise ValueError(f"shape {shapes[0]} cannot be padded by {widths}")
    return tuple(size + before + after for size, (before, after) in zip(shapes[0], widths, strict=True))


def _normalised(shapes, json):
    """Output shape of batch norm: its extra inputs are per-channel vectors (c,); optional ones may be missing."""
    if any(tuple(s) not in ((), shapes[0][:1]) for s in shapes[1:]):
        raise ValueError(f"batch norm of shape {shapes[0]} has statistics of shapes {shapes[1:]}")
    return shapes[0]


def _nothing(json):
    return {}


_PLAIN = Operation(_as_they_are(), _nothing, _unchanged)
_BINARY = Operation(_as_they_are(), _nothing, _broadcast, inputs=2, constants=True)
_REDUCTION = Operation(reduction_json, reduction_params, reduced_shape)

OPERATIONS = {
    **dict.fromkeys(("relu", "tanh", "sigmoid", "exp", "log", "neg", "abs", "sqrt"), _PLAIN),
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum"), _BINARY),
    **dict.fromkeys(("sum", "mean", "max"), _REDUCTION),
    "clip": Operation(clip_json, clip_params, _unchanged),
    "power": Operation(_as_they_are("exponent"), power_params, _unchanged),
    "batch_norm_inference": Operation(_as_they_are("eps"), lambda json: {"eps": float(json["eps"])}, _normalised,
                                      inputs=5, optional=(1, 2), constants=True),
    "max_pool2d": Operation(_max_pool_json, _pool_params("ceil_mode"), _pool_shape("max_pool2d")),
    "avg_pool2d": Operation(_avg_pool_json, _pool_params("ceil_mode", "count_include_pad"),
                            _pool_shape("avg_pool2d")),
    "adaptive_avg_pool2d": Operation(lambda params, shape: _pairs(params, "output_size"), _pool_params(),
                                     _pool_shape("adaptive_avg_pool2d")),
    "flatten": Operation(_as_they_are(), lambda json: {"start": 1}, _flat),
    "reshape": Operation(_reshape_json, lambda json: {"shape": (-1, *json["shape"])}, _reshaped),
    "concatenate": Operation(_concatenate_json, lambda json: {"axis": json["axis"] + 1}, _concatenated,
                             inputs=None),
    "getitem": Operation(_getitem_json, lambda json: {"index": (slice(None), *slices(json))}, _indexed),
    "pad": Operation(_pad_json, lambda json: {"widths": ((0, 0), *map(tuple, json["widths"]))}, _padded),
}


def product_shape(input_shape: tuple[int, ...], weight_shape: tuple[int, ...], options: Json | None) -> tuple[int, ...]:
    """Output shape of a convolution with these options, or of a linear layer if `options` is None."""
    if options is None:
        if len(input_shape) != 1 or len(weight_shape) != 2 or weight_shape[1] != input_shape[0]:
            raise ValueError(f"an input of shape {input_shape} does not fit a weight of shape {weight_shape}")
        return (weight_shape[0],)
    _check_windows(input_shape[1:], weight_shape[2:], options["stride"], options["padding"], options["dilation"])
    return conv_geometry((1, *input_shape), weight_shape, **conv_options(options)).output_shape[1:]


def _check_windows(sizes, kernels, strides, paddings, dilations):
    """ValueError for steps and padding far beyond the plane: executors make room for them, in 32 bits."""
    pairs = (pair(value, "a window's size") for value in (kernels, strides, paddings, dilations))
    for size, kernel, stride, padding, dilation in zip(sizes, *pairs, strict=True):
        if max(kernel, stride, padding, dilation) > 2 * size + MAX_BEYOND:
            raise ValueError(f"a window of {kernel}, stride {stride}, padding {padding}, dilation {dilation} is "
                             f"too large for {size} elements")


def conv_options(json: Json) -> dict:
    """Return the keyword arguments of conv_geometry from a convolution's JSON."""
    return {**{name: tuple(json[name]) for name in ("stride", "padding", "dilation")}, "groups": index(json["groups"])}


def conv_json(options: Json) -> dict:
    """Return a convolution's options as JSON values."""
    return {**_pairs(options, "stride", "padding", "dilation"), "groups": int(options["groups"])}
