"""Tables of the pooling windows in a plane, worked out once per shape for the kernels and their references."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinyq.errors import UsageError
from tinyq.kernels.geometry.conv_geometry import pair

# A number for both axes, alone or in a tuple, or a pair.
Size = int | tuple[int] | tuple[int, int]


@dataclass(frozen=True, eq=False)
class Windows:
    """The elements of an (h, w) plane that each output reads; outputs in row-major order.

    Output o reads `origins[o] + i * step[0] + j * step[1]` for i < heights[o], j < widths[o]: padding is cut away.
    The tables are read-only.
    """

    output_size: tuple[int, int]
    step: tuple[int, int]          # from one tap to the next: downwards, to the right
    taps: tuple[int, int]          # of the largest window: rows, columns
    origins: np.ndarray            # int32: flat index of the first tap
    heights: np.ndarray            # int32: taps downwards
    widths: np.ndarray             # int32: taps to the right
    divisors: np.ndarray           # float32: divisors of an average

    @property
    def outputs(self) -> int:
        """Number of windows in a plane."""
        return self.output_size[0] * self.output_size[1]


@lru_cache(maxsize=256)
def sliding_windows(size: tuple[int, int], kernel: Size, stride: Size, padding: Size, dilation: Size = 1,
                    ceil_mode: bool = False, count_include_pad: bool = True) -> Windows:
    """Place windows of `kernel` taps every `stride` elements over a plane of `size` (h, w), by PyTorch's rules.

    Sizes are numbers or pairs. UsageError names a window that does not fit.
    """
    rows, columns = _axes(size, kernel, stride, padding, dilation, ceil_mode, count_include_pad)
    return _cross(size, rows, columns, pair(dilation, "pooling: dilation"))


def sliding_size(size: tuple[int, int], kernel: Size, stride: Size, padding: Size, dilation: Size = 1,
                 ceil_mode: bool = False) -> tuple[int, int]:
    """Return (oh, ow) of the sliding windows without their tables, which grow with the plane."""
    rows, columns = _axes(size, kernel, stride, padding, dilation, ceil_mode, True)
    return len(rows[0]), len(columns[0])


@lru_cache(maxsize=256)
def adaptive_windows(size: tuple[int, int], output_size: Size) -> Windows:
    """Cover the plane by `output_size` (oh, ow) windows: output o reads floor(o h / oh) to ceil((o + 1) h / oh)."""
    outputs = pair(output_size, "pooling: output size")
    rows, columns = (_divide(length, count) for length, count in zip(size, outputs, strict=True))
    return _cross(size, rows, columns, (1, 1))


def _axes(size, kernel, stride, padding, dilation, ceil_mode, count_include_pad):
    """_slide for the rows and for the columns."""
    kernels, strides, paddings, dilations = (pair(value, f"pooling: {name}") for value, name in (
        (kernel, "kernel"), (stride, "stride"), (padding, "padding"), (dilation, "dilation")))
    return [_slide(size[axis], kernels[axis], strides[axis], paddings[axis], dilations[axis], ceil_mode,
                   count_include_pad) for axis in (0, 1)]


def _slide(length, taps, stride, padding, dilation, ceil_mode, count_padding):
    """Return (first, count, divisor) of each window along one axis."""
    reach = dilation * (taps - 1) + 1
    if min(length, taps, stride, dilation) < 1 or not 0 <= padding <= reach // 2:
        raise UsageError(
            f"pooling: window {taps}, stride {stride}, padding {padding}, dilation {dilation} over {length} elements; "
            "sizes must be positive and padding at most half of the window")
    outputs = (length + 2 * padding - reach + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (outputs - 1) * stride >= length + padding:
        outputs -= 1                                     # this window would begin in the padding on the right
    start = np.arange(max(outputs, 0)) * stride - padding
    skipped = -(np.minimum(start, 0) // dilation)        # taps before the first element
    first = start + skipped * dilation
    count = np.minimum((length - 1 - first) // dilation + 1, taps - skipped)
    if outputs < 1 or count.min() < 1:
        raise UsageError(f"pooling: a window of {taps} taps (dilation {dilation}, padding {padding}) does not fit "
                         f"{length} elements")
    reached = np.minimum(start + taps, length + padding) - start
    return first, count, reached if count_padding else count


def _divide(length, outputs):
    """Return (first, count, divisor) of `outputs` windows that cover one axis."""
    if min(length, outputs) < 1:
        raise UsageError(f"adaptive pooling: {length} elements cannot be pooled to {outputs}")
    o = np.arange(outputs)
    first, end = o * length // outputs, -(-(o + 1) * length // outputs)
    return first, end - first, end - first


def _cross(size, rows, columns, dilation):
    """Combine the windows of the two axes."""
    width = size[1]
    ones = np.ones((len(rows[0]), len(columns[0])), np.int64)
    return Windows(
        output_size=ones.shape,
        step=(dilation[0] * width, dilation[1]),
        taps=(int(rows[1].max()), int(columns[1].max())),
        origins=_table(rows[0][:, None] * width + columns[0], np.int32),
        heights=_table(rows[1][:, None] * ones, np.int32),
        widths=_table(columns[1] * ones, np.int32),
        divisors=_table(rows[2][:, None] * columns[2], np.float32))


def _table(values, dtype):
    """Make a flat, read-only array."""
    table = values.astype(dtype).reshape(-1)
    table.flags.writeable = False
    return table
