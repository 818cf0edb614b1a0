"""A fused product made ready to run: its weights packed for the kernels once."""
import dataclasses
from dataclasses import dataclass

from tinyq import kernels


@dataclass(frozen=True, eq=False)
class Ready:
    """Weights of some shape as the kernels take them."""

    packed: object
    shape: tuple[int, ...]


def ready(w, options, levels=None) -> Ready:
    """Weights w of a convolution with these options, or of a linear layer (None).

    levels: ascending float32, where w holds their values alone; it is then kept in codes as far as the target can.
    """
    if levels is not None:
        packed = kernels.code_linear(w, levels) if options is None else kernels.code_weights(
            w, options["groups"], levels)
    else:
        packed = kernels.pack_linear(w) if options is None else kernels.pack_weights(w, options["groups"])
    return Ready(packed, w.shape)


def prepare(step, input_shape):
    """The product `step` (see fuse.PRODUCT) as a step of its input, and of what is added, for this shape.

    Its weights may be Ready, or an array.
    """
    x, w, scale, shift, *added = step.inputs
    options, relu = step.params["options"], step.params["relu"]
    weights = w if isinstance(w, Ready) else ready(w, options)
    make = _linear if options is None else _convolution
    return dataclasses.replace(step, run=make(weights, scale, shift, options, relu, input_shape), inputs=(x, *added),
                               params={})


def _linear(weights, scale, shift, options, relu, input_shape):
    return lambda x: kernels.linear_packed(x, weights.packed, scale, shift, relu)


def _convolution(weights, scale, shift, options, relu, input_shape):
    geometry = kernels.conv_geometry(input_shape, weights.shape, **options)
    return lambda x, added=None: kernels.conv2d_packed(x, weights.packed, geometry, scale, shift, added, relu)
