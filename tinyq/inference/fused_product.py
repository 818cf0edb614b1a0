"""Steps made ready to run: a product with its weights packed once, a max pooling that forgets where its maxima were."""
import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tinyq import kernels
from tinyq.inference.fuse import PRODUCT

MAX_POOL = "max_pool2d"


@dataclass(frozen=True, eq=False)
class Ready:
    """Weights of some shape as the kernels take them."""

    packed: Any
    shape: tuple[int, ...]


def ready(w, options, output_size, levels=None) -> Ready:
    """Weights w of a convolution with these options and planes (oh, ow), or of a linear layer (None).

    levels: ascending float32, where w holds their values alone; it is then kept in codes as far as the target can.
    """
    if options is None:
        return Ready(kernels.pack_linear(w) if levels is None else kernels.code_linear(w, levels), w.shape)
    groups, pixels = options["groups"], math.prod(output_size)
    packed = (kernels.pack_weights(w, groups, pixels) if levels is None
              else kernels.code_weights(w, groups, levels, pixels))
    return Ready(packed, w.shape)


def prepare(step, input_shape, first=None):
    """The step as it runs; of a product's inputs (see fuse.PRODUCT) the first and what is added are left.

    Of a product: weights may be Ready, or an array; input_shape is needed; first is the channel from which on it fills
    its last input (see join.py).
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
        added, room = (None, *others)[-2:]
        return kernels.conv2d_packed(x, weights.packed, geometry, scale, shift, added, relu, room, first)

    return into
