"""Windows of ONNX's pooling and convolutions, by its attributes."""
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyq.files.foreign.protobuf import Malformed
from tinyq.kernels.geometry.pooling_windows import Windows

MAX_SIZE = 1 << 20                      # of a window, a stride or padding
Attributes = Mapping[str, Any]


def window_params(attributes: Attributes, shape: tuple[int, ...], kernel: list[int]
                  ) -> tuple[list[int], list[int], list[int]]:
    """Return (strides, pads [top, left, bottom, right], dilations)."""
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        raise Malformed("it pads by a rule (auto_pad), which tinyq's networks do not")
    stride, dilation, pads = (_list(attributes, name, usual) for name, usual in (
        ("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0] * 4)))
    numbers = [*kernel, *stride, *dilation]
    if len(kernel) != 2 or len(stride) != 2 or len(dilation) != 2 or len(pads) != 4 or len(shape) != 3 or (
            min(numbers) < 1 or min(pads) < 0 or max(*numbers, *pads) > MAX_SIZE):
        raise Malformed("a window does not fit its plane")
    return stride, pads, dilation


def pooled(size: tuple[int, ...], kernel: list[int], stride: list[int], pads: list[int], dilation: list[int],
           ceil_mode: bool) -> tuple[int, int]:
    """Return the size of the plane of windows."""
    found = []
    for axis in (0, 1):
        room = size[axis] + pads[axis] + pads[2 + axis] - dilation[axis] * (kernel[axis] - 1) - 1
        count = (room + (stride[axis] - 1 if ceil_mode else 0)) // stride[axis] + 1
        if ceil_mode and (count - 1) * stride[axis] >= size[axis] + pads[axis]:
            count -= 1                                  # it would begin in the padding at the end
        if room < 0 or count < 1:
            raise Malformed("a window does not fit its plane")
        found.append(count)
    return found[0], found[1]


def pool_windows(attributes: Attributes, shape: tuple[int, ...], average: bool, limit: int) -> Windows:
    """Return the windows of a pooling of planes; limit: of their number."""
    kernel = _list(attributes, "kernel_shape", [])
    stride, pads, dilation = window_params(attributes, shape, kernel)
    ceil_mode, padded = bool(attributes.get("ceil_mode", 0)), bool(attributes.get("count_include_pad", 0))
    rows, columns = pooled(shape[1:], kernel, stride, pads, dilation, ceil_mode)
    if rows * columns > limit or average and dilation != [1, 1]:
        raise Malformed("its pooling has too many windows, or windows that are none of tinyq's")
    axes = [_axis(shape[1 + k], kernel[k], stride[k], pads[k], pads[2 + k], dilation[k], count, padded)
            for k, count in enumerate((rows, columns))]
    (top, heights, divisors), (left, widths, across) = axes
    ones = np.ones((rows, columns), np.int64)
    return Windows((rows, columns), (dilation[0] * shape[2], dilation[1]), (int(heights.max()), int(widths.max())),
                   (top[:, None] * shape[2] + left).astype(np.int32).reshape(-1),
                   (heights[:, None] * ones).astype(np.int32).reshape(-1),
                   (widths * ones).astype(np.int32).reshape(-1),
                   (divisors[:, None] * across).astype(np.float32).reshape(-1))


def _axis(size, taps, stride, begin, end, dilation, count, padded):
    """Return (first, number, divisor) of each window along an axis."""
    start = np.arange(count) * stride - begin
    skipped = -(np.minimum(start, 0) // dilation)
    first = start + skipped * dilation
    number = np.minimum((size - 1 - first) // dilation + 1, taps - skipped)
    if number.min() < 1:
        raise Malformed("a window of its pooling lies in the padding alone")
    return first, number, np.minimum(start + taps, size + end) - start if padded else number


def _list(attributes, name, usual):
    value = attributes.get(name, usual)
    try:
        return [int(n) for n in value]
    except TypeError:
        raise Malformed(f"its attribute {name} is no list") from None
