"""Prepare steps for running: pack the weights of products once, and pool without recording where the maxima are."""
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyq import kernels
from tinyq.inference.steps import PRODUCT, Step

MAX_POOL = "max_pool2d"


@dataclass(frozen=True, eq=False)
class Ready:
    """Weights packed for the kernels, and their shape before packing."""

    packed: Any
    shape: tuple[int, ...]


def ready(w: np.ndarray, options: dict[str, Any] | None, output_size: tuple[int, ...],
          levels: np.ndarray | None = None) -> Ready:
    """Pack the weights w of a convolution with these options and output size (oh, ow), or of a linear layer (None).

    levels: the ascending float32 values that w consists of, if any; w is then stored as codes if the CPU supports it.
    """
    if options is None:
        return Ready(kernels.pack_linear(w) if levels is None else kernels.code_linear(w, levels), w.shape)
    groups, pixels = options["groups"], math.prod(output_size)
    packed = (kernels.pack_weights(w, groups, pixels) if levels is None
              else kernels.code_weights(w, groups, levels, pixels))
    return Ready(packed, w.shape)


def prepare(step: Step, input_shape: tuple[int, ...] | None, first: int | None = None) -> Step:
    """Return the step with a `run`; of the inputs of a product (see fuse.PRODUCT) only x and the added array stay.

    For a product, the weights may be Ready or an array, and input_shape is required. first: the first channel of its
    last input, an output buffer, that a convolution writes (see join.py).
    """
    if step.name == MAX_POOL:
        return dataclasses.replace(step, run=_max_pool)
    return _product(step, input_shape, first) if step.name == PRODUCT else step


def _max_pool(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False):
    return kernels.max_pool2d_values(x, kernel, kernel if stride is None else stride, padding, dilation, ceil_mode)


def _product(step, input_shape, first):
    x, w, scale, shift, *others = step.inputs
    options, relu = step.params["options"], step.params["relu"]
    weights = w if isinstance(w, Ready) else ready(w, options, step.shape[2:])
    if options is None:
        def run(x):
            return kernels.linear_packed(x, weights.packed, scale, shift, relu)
    else:
        run = _convolution(weights, scale, shift, options, relu, input_shape, first)
    return dataclasses.replace(step, run=run, inputs=(x, *others), params={})


def _convolution(weights, scale, shift, options, relu, input_shape, first):
    geometry = kernels.conv_geometry(input_shape, weights.shape, **options)
    if first is None:
        return lambda x, added=None: kernels.conv2d_packed(x, weights.packed, geometry, scale, shift, added, relu)

    def into(x, *others):
        added, buffer = (None, *others)[-2:]
        return kernels.conv2d_packed(x, weights.packed, geometry, scale, shift, added, relu, buffer, first)

    return into
