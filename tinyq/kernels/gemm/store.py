"""Store the sums of a tile: every product ends here, by addresses, so that storing counts no reference to an array."""
from typing import NamedTuple

import numpy as np

from tinyq.kernels.jit.compile import part
from tinyq.kernels.simd.memory_ops import finish_run, load_float, store_every_second, store_float, store_run


class Outputs(NamedTuple):
    """Destination and epilogue of some channels' outputs: addresses, and strides in bytes."""

    target: int                     # of sample 0, channel 0
    sample_stride: int
    plane_stride: int
    row_stride: int
    scale: int                      # of channel 0, as is shift
    shift: int
    added: int                      # of sample 0, channel 0; 0: nothing is added
    added_stride: int               # from one sample to the next
    relu: bool


@part
def locate_outputs(epilogue, target, channel):
    """Return the Outputs of the channels of a convolution from `channel` on; target (n, channels, ., .) contiguous."""
    channels, height, width = target.shape[1:]
    plane = height * width * 4
    added, added_channels = 0, epilogue.added.shape[1]
    if epilogue.added.size:
        added = epilogue.added.ctypes.data + channel * plane
    return Outputs(target.ctypes.data + (epilogue.first + channel) * plane, channels * plane, plane, width * 4,
                   epilogue.scale.ctypes.data + channel * 4, epilogue.shift.ctypes.data + channel * 4,
                   added, added_channels * plane, epilogue.relu)


@part
def store_outputs(sums, target, count, writable, spread, scale, shift):
    """target[j * spread] = sums[j] * scale + shift for j < count <= NR, by address.

    Where spread is 1, up to LANES - 1 of the first `writable` elements are clobbered past the run; see store_run.
    """
    if spread == 1:
        store_run(sums, target, count, writable, scale, shift)
    elif spread == 2:
        store_every_second(sums, target, count, scale, shift)
    else:
        for j in range(count):
            store_float(target, j * spread, (load_float(sums, j) + np.float32(0)) * scale + shift)


@part
def finish_outputs(outputs, sample, channel, start, count):
    """Add to, and rectify, `count` stored outputs of one plane from element `start` on."""
    if outputs.relu or outputs.added != 0:
        at = channel * outputs.plane_stride + start * 4
        added = outputs.added + sample * outputs.added_stride + at if outputs.added != 0 else 0
        finish_run(outputs.target + sample * outputs.sample_stride + at, added, count, outputs.relu)
