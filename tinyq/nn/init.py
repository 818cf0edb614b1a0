"""Initial values: functions of a random stream and the weight's shape, float64 arrays (the layer rounds once)."""
import math
from collections.abc import Callable

import numpy as np

from tinyq.streams import Stream

InitialWeight = Callable[[Stream, tuple[int, ...]], np.ndarray]


def fan_in(shape: tuple[int, ...]) -> int:
    """Fan-in, the number of inputs summed per output, of (out, in) or (c_out, c_in / groups, kh, kw)."""
    return math.prod(shape[1:])


def uniform(stream: Stream, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """Uniform on [-bound, bound)."""
    return stream.uniform(shape, -bound, bound)


def uniform_fan_in(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Torch's default for conv and linear weights: uniform within 1 / sqrt(fan_in)."""
    return uniform(stream, shape, 1 / math.sqrt(fan_in(shape)))


def kaiming_normal(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """He et al. 2015, eq. (10): normal of variance 2 / fan_in, which keeps the scale through ReLUs."""
    return math.sqrt(2 / fan_in(shape)) * stream.normal(shape)


def kaiming_normal_fan_out(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """He et al. 2015, eq. (14): normal of variance 2 / fan_out, which keeps the scale of gradients; torchvision's."""
    return math.sqrt(2 / (shape[0] * math.prod(shape[2:]))) * stream.normal(shape)


def normal_of_hundredths(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Normal of deviation 0.01, as torchvision's GoogLeNet."""
    return 0.01 * stream.normal(shape)
