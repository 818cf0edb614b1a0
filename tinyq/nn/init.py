"""Initial weights: functions from a random stream and a shape to a float64 array, which the layer rounds once."""
import math
from collections.abc import Callable

import numpy as np

from tinyq.streams import Stream

InitialWeight = Callable[[Stream, tuple[int, ...]], np.ndarray]


def fan_in(shape: tuple[int, ...]) -> int:
    """Return the fan-in, the number of inputs summed per output; shape: (out, in) or (c_out, c_in / groups, kh, kw)."""
    return math.prod(shape[1:])


def uniform(stream: Stream, shape: tuple[int, ...], bound: float) -> np.ndarray:
    """Draw uniformly from [-bound, bound)."""
    return stream.uniform(shape, -bound, bound)


def uniform_fan_in(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Draw uniformly within 1 / sqrt(fan_in), torch's default for conv and linear weights."""
    return uniform(stream, shape, 1 / math.sqrt(fan_in(shape)))


def kaiming_normal(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from a normal of variance 2 / fan_in, which keeps the scale of activations (He et al. 2015, eq. 10)."""
    return math.sqrt(2 / fan_in(shape)) * stream.normal(shape)


def kaiming_normal_fan_out(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from a normal of variance 2 / fan_out, which keeps the scale of gradients (He et al. 2015, eq. 14)."""
    return math.sqrt(2 / (shape[0] * math.prod(shape[2:]))) * stream.normal(shape)


def normal_of_hundredths(stream: Stream, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from a normal of standard deviation 0.01, as in torchvision's GoogLeNet."""
    return 0.01 * stream.normal(shape)
