"""A fused product made ready to run: its weights packed for the kernels once."""
import dataclasses

from tinyq import kernels


def prepare(step, input_shape):
    """The product `step` (see fuse.product_step) as a step of its input, and of what is added, for this shape."""
    x, w, scale, shift, *added = step.inputs
    make = _linear if step.params["options"] is None else _convolution
    run = make(w, scale, shift, step.params, input_shape)
    return dataclasses.replace(step, run=run, inputs=(x, *added), params={})


def _linear(w, scale, shift, params, input_shape):
    packed, relu = kernels.pack_linear(w), params["relu"]
    return lambda x: kernels.linear_packed(x, packed, scale, shift, relu)


def _convolution(w, scale, shift, params, input_shape):
    geometry = kernels.conv_geometry(input_shape, w.shape, **params["options"])
    packed, relu = kernels.pack_weights(w, geometry.groups), params["relu"]
    return lambda x, added=None: kernels.conv2d_packed(x, packed, geometry, scale, shift, added, relu)
