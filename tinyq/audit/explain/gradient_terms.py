"""The gradient of one weight as a sum of float64 terms over samples and places, compared with the float32 gradient."""
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinyq.audit.capture.capture import Application, Captured
from tinyq.audit.explain.one_weight import Index, OneWeight
from tinyq.audit.step import error_bounds
from tinyq.kernels.geometry.conv_geometry import pair


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """The gradient of one weight from one application of its layer.

    terms: (samples, *places) float64, None where the layer's primitive is not taken apart. samples: their indices in
    the dataset. float64: the sum of the terms. float32: the result of the vjp. bound: of rounding errors. quantiser:
    its name, or "". reaches: the gradient that the quantiser hands on to the latent weight, None without a quantiser.
    """

    layer: str
    terms: np.ndarray | None
    samples: np.ndarray
    float64: float
    float32: np.float32
    bound: float
    quantiser: str
    reaches: np.float32 | None


def layer_gradients(captured: Captured, weight: OneWeight) -> list[LayerGradient]:
    """Take the weight's gradient apart, one LayerGradient per application of its layer and micro-batch."""
    uses = list(_uses(captured, weight.name))
    per_batch = -(-len(uses) // len(captured.batches))
    return [_layer_gradient(*use, weight.index, captured.batches[i // per_batch].indices) for i, use in enumerate(uses)]


def value_in_layer(captured: Captured, weight: OneWeight) -> tuple[float, bool]:
    """Return the value that the layer used in this step, and whether it is in units of the layer's scale."""
    quantisers = _quantisers(captured, weight.name)
    array = quantisers[0].output if quantisers else captured.before[weight.name]
    return float(array[weight.index]), bool(quantisers)


def _quantisers(captured, name):
    if captured.parametrizations.get(name) is None:
        return []
    return [a for a in captured.applications if a.inputs[0] is captured.before[name]]


def _uses(captured: Captured, name: str) -> Iterator[tuple[Application, int, Application | None]]:
    """Yield (application, position of the weight, its quantiser) wherever a gradient flows to the weight."""
    quantisers = _quantisers(captured, name)
    carriers = [(q.output, q) for q in quantisers] or [(captured.before[name], None)]
    for array, quantiser in carriers:
        for application in captured.applications:
            yield from ((application, position, quantiser) for position in application.vjps
                        if application.inputs[position] is array)


def _layer_gradient(application, position, quantiser, index, samples):
    terms = _terms(application, position, index)
    exact, bound = error_bounds.backward(application, position)
    total = float(exact[index]) if terms is None else float(terms.sum())
    return LayerGradient(application.name, terms, samples, total, application.vjps[position][1][index],
                         float(bound[index]), quantiser.primitive.name if quantiser else "",
                         quantiser.vjps[0][1][index] if quantiser else None)


def _terms(application: Application, position: int, index: Index) -> np.ndarray | None:
    """Return the terms of the sum that is the gradient, (samples, *places) float64; None for other primitives."""
    g, inputs = application.vjps[position][0].astype(np.float64), application.inputs
    match application.primitive.name, position:
        case "conv2d", 1:
            return _scaled(g, inputs, index) * _under_tap(application, index, g.shape[2:])
        case "linear", 1:
            return _scaled(g, inputs, index) * inputs[0][:, index[1]]
        case ("conv2d" | "linear"), 3:
            return g[:, index[0]]
        case ("batch_norm" | "batch_norm_relu"), (1 | 2):
            g = np.where(application.output > 0, g, 0) if application.primitive.name == "batch_norm_relu" else g
            return g[:, index[0]] * (_normalised(application, index[0]) if position == 1 else 1)
    return None


def _scaled(g, inputs, index):
    return g[:, index[0]] * (1.0 if inputs[2] is None else np.float64(inputs[2][index[0]]))


def _under_tap(application, index, size):
    """Return the input's values under this tap of the kernel, (samples, *size)."""
    x, w, params = application.inputs[0], application.inputs[1], application.params
    out, channel, *tap = index
    stride, padding, dilation = (pair(params.get(key, default), key) for key, default in (
        ("stride", 1), ("padding", 0), ("dilation", 1)))
    group = out // (len(w) // params.get("groups", 1))
    image = np.pad(x[:, group * w.shape[1] + channel], ((0, 0), *((p, p) for p in padding))).astype(np.float64)
    rows, columns = (slice(k * d, k * d + s * (n - 1) + 1, s)
                     for k, d, s, n in zip(tap, dilation, stride, size, strict=True))
    return image[:, rows, columns]


def _normalised(application, channel):
    x = application.inputs[0][:, channel].astype(np.float64)
    return (x - x.mean()) / np.sqrt(x.var() + application.params["eps"])
