"""Fuse into each product the batch norm, addition and ReLU that follow it, if nothing else reads what lies between."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.autodiff import Tensor
from tinyq.inference.steps import PRODUCT, Step, Value, readers_of


@dataclass(eq=False)
class Product:
    """A convolution or linear layer, and what is fused into it: y = relu(scale * (x * w) + shift + added)."""

    x: Value
    w: np.ndarray               # (c_out, c_in / groups, kh, kw), or (out, in)
    scale: np.ndarray           # (c_out,) float64
    shift: np.ndarray
    options: dict | None        # of the convolution; None for a linear layer
    added: Value | None = None
    relu: bool = False
    tensor: Tensor | None = None            # w as a Tensor: a Parameter or its effective weight


def fuse(steps: Sequence[Step], result: Value, input_shape: tuple[int, ...]) -> list[Step | None]:
    """Return the steps with None for those fused into a product; the result differs only by rounding of the affine.

    The affine of a product is computed in float64 and rounded once; its weights do not change. The products have no
    `run` yet: fused_product.prepare sets it.
    """
    fused: list[Step | None] = list(steps)
    readers = readers_of(steps, result)
    shapes = {Value(-1): input_shape, **{Value(i): step.shape for i, step in enumerate(steps)}}
    for i, step in enumerate(steps):
        product = _product(step) if fused[i] else None
        if product:
            last = _grow(product, Value(i), fused, readers, shapes)
            fused[last] = _step(product, shapes[Value(last)])
    return fused


def _grow(product, own, steps, readers, shapes):
    """Fuse the steps after the product as long as possible; return the number of the last one fused."""
    while True:
        following = readers.get(own, [])
        if len(following) != 1 or following[0] < 0 or not _absorb(product, own, steps[following[0]], shapes):
            return own.step
        steps[own.step], own = None, Value(following[0])


def _product(step):
    if step.name not in ("conv2d", "linear") or type(step.inputs[0]) is not Value:
        return None
    x, w, scale, bias = (*step.inputs, None, None)[:4]
    if any(type(a) is Value for a in (w, scale, bias)):
        return None
    linear = step.name == "linear"
    scale, shift = (np.full(len(w), least) if a is None else a.astype(np.float64) for a, least in ((scale, 1.0),
                                                                                                   (bias, 0.0)))
    return Product(x, w, scale, shift, None if linear else step.params, tensor=step.tensors.get(1))


def _absorb(product, own, step, shapes):
    """Fuse a step that reads `own`, the product's present output, if its kind and order allow; return success."""
    if product.relu or step is None:
        return False
    if step.name == "batch_norm_inference" and product.added is None and step.inputs[0] == own:
        return _normalise(product, step)
    if step.name in _SCALED and product.added is None and _scale(product, own, step, shapes):
        return True
    if step.name == "add" and product.added is None:
        return _add(product, own, step, shapes)
    product.relu = step.name == "relu"
    return product.relu


def _normalise(product, step):
    weight, bias, mean, variance = step.inputs[1:]
    if any(type(a) is Value for a in (weight, bias, mean, variance)):
        return False
    factor = 1 / np.sqrt(variance.astype(np.float64) + float(step.params["eps"]))
    factor = factor if weight is None else weight * factor
    product.scale = product.scale * factor
    product.shift = (product.shift - mean) * factor + (0 if bias is None else bias)
    return True


def _scale(product, own, step, shapes):
    """Fuse a number, or one per channel, that is added to the product or that it is multiplied by."""
    constants = [a for a in step.inputs if type(a) is not Value]
    if len(step.inputs) != 1 + len(constants) or tuple(step.shape) != tuple(shapes[own]):
        return False
    channels = [_per_channel(a, shapes[own]) for a in constants]
    if any(a is None or not np.isfinite(a).all() for a in channels):
        return False
    first = type(step.inputs[0]) is Value
    if step.name == "div" and (not first or not channels[0].all()):
        return False
    factor, shift = _SCALED[step.name](first, *channels)
    product.scale, product.shift = product.scale * factor, product.shift * factor + shift
    return True


# {operation: function of (True if the product comes first, constant), which returns (factor, shift)}
_SCALED: dict[str, Callable[..., tuple]] = {
    "add": lambda first, a: (1.0, a), "sub": lambda first, a: (1.0, -a) if first else (-1.0, a),
    "mul": lambda first, a: (a, 0.0), "div": lambda first, a: (1 / a, 0.0), "neg": lambda first: (-1.0, 0.0)}


def _per_channel(constant, shape):
    """Return a constant as float64 (channels,) or (1,) for values of this shape (n, c, ...), None if it varies more."""
    if constant is None or constant.ndim > len(shape):
        return None
    wide = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape).astype(np.float64)
    return wide.reshape(-1) if wide.size == wide.shape[1] else None


def _add(product, own, step, shapes):
    others = [a for a in step.inputs if type(a) is not Value or a != own]
    if product.options is None or len(others) != 1 or type(others[0]) is not Value or shapes[others[0]] != shapes[own]:
        return False
    product.added = others[0]
    return True


def _step(product, shape):
    scale, shift = (a.astype(product.w.dtype) for a in (product.scale, product.shift))
    added = () if product.added is None else (product.added,)
    params = {"options": product.options, "relu": product.relu}
    tensors = {} if product.tensor is None else {1: product.tensor}
    return Step(PRODUCT, None, (product.x, product.w, scale, shift, *added), shape, params, tensors)
