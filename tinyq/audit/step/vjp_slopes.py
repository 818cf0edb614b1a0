"""VJPs held against differences of their rule, and the whole loss against differences, in float64.

The float64 shadow runs the same rule, so a wrong formula would agree with itself: differences know no formula.
"""
import copy
import dataclasses

import numpy as np

from tinyq import nn
from tinyq.audit.step.error_bounds import wide
from tinyq.autodiff import Tensor, examine_gradients, finite_differences
from tinyq.streams import Streams

RTOL, LOSS_RTOL = 1e-5, 1e-4
JITTER = 1e-3                           # inputs are moved by so much of their size, off the kinks that zeros lie on
SAMPLES, LOSS_SAMPLES = 4, 16           # of the batch; a primitive that couples samples is given all of it
BY_SAMPLE = ("conv2d", "linear", "relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "flatten")
# Their vjps are those of another function on purpose, or of one whose kinks no jitter avoids.
NOT_DIFFERENTIABLE = ("getitem",)


def of_primitive(application, seed: int) -> list[tuple[int, finite_differences.Slope]]:
    """(position, Slope) of every vjp of this application, at its own inputs slightly moved."""
    stream = Streams(seed).key("slopes", application.name)
    op = application.primitive
    arrays, params, g = _part(application)
    arrays = [a if a is None or a.dtype.kind != "f" or (op.surrogate and i == 0) else _moved(a, stream)
              for i, a in enumerate(arrays)]
    vjps = op.forward(*arrays, **params)[1]
    found = []
    for position in application.vjps:
        gradient = op.gradient(vjps[position], g, position, np.empty(arrays[position].shape))

        def output(x, position=position):
            rule = op.surrogate or op.forward
            result = rule(*arrays[:position], x, *arrays[position + 1:], **params)
            return np.asarray(result[0] if isinstance(result, tuple) else result)

        direction = _direction(gradient, stream)
        found.append((position, finite_differences.compare(output, arrays[position], gradient, g, direction, RTOL)))
    return found


def of_loss(captured, streams) -> list:
    """Findings of autodiff.check for every parameter: backward against differences of the loss, surrogates declared."""
    model = copy.deepcopy(captured.model)
    model.load_state_dict(captured.before)
    model.astype(np.float64).train()
    for name, parameter in model.named_parameters():
        parameter.parametrization = _widened(captured.views.get(name))
    x, y = (array[:LOSS_SAMPLES] for array in captured.batches[0][:2])
    smoothing = captured.phase.method.label_smoothing

    def loss():
        model.key_step(streams, captured.epoch, captured.batch)
        logits, auxiliary = model.training_outputs(Tensor(x.astype(np.float64)))
        total = nn.cross_entropy(logits, y, smoothing)
        for share, output in auxiliary:
            total = total + share * nn.cross_entropy(output, y, smoothing)
        return total

    reached = {name: p for name, p in model.named_parameters() if name in captured.backpropagated}
    return examine_gradients(loss, reached, rng=streams.key("audit-check", captured.step), rtol=LOSS_RTOL)


def _widened(view):
    """The view with its float arrays as float64."""
    if view is None:
        return None
    fields = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    return dataclasses.replace(view, **{name: value.astype(np.float64) for name, value in fields.items()
                                        if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f"})


def _part(application):
    """Inputs, parameters and incoming gradient in float64, of the first samples where these do not meet."""
    arrays, params = list(wide(application.inputs)), application.params
    g = next(iter(application.vjps.values()))[0].astype(np.float64)
    if application.primitive.name in BY_SAMPLE:
        arrays[0], g = arrays[0][:SAMPLES], g[:SAMPLES]
    return arrays, params, g


def _moved(a, stream):
    size = max(float(np.sqrt(np.square(a).mean())) if a.size else 1.0, 1e-3)
    return a + JITTER * size * stream.uniform(a.shape, -1, 1)


def _direction(gradient, stream):
    """Random, no element left out, with the gradient's signs so that contributions do not cancel."""
    z = stream.normal(gradient.shape)
    sign = np.where(gradient == 0, np.where(z < 0, -1, 1), np.where(gradient < 0, -1, 1))
    return sign * np.maximum(np.abs(z), 0.1) / np.sqrt(max(gradient.size, 1))
