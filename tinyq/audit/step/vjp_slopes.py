"""Compare vjps with finite differences of their primitive, and gradients of the whole loss likewise, in float64.

The comparison with float64 in error_bounds.py uses the same formulas as float32, so it cannot find a wrong formula.
Finite differences use none.
"""
import copy
import dataclasses

import numpy as np

from tinyq.audit.capture.capture import Application, Captured
from tinyq.audit.step.error_bounds import wide
from tinyq.autodiff import Tensor
from tinyq.checks import Finding, examine_gradients, finite_differences
from tinyq.methods.base import GradientMethod
from tinyq.output.work import Work
from tinyq.streams import Streams
from tinyq.tasks.loss import CROSS_ENTROPY

RTOL, LOSS_RTOL = 1e-5, 1e-4
JITTER = 1e-3                           # inputs are moved by this share of their size, away from kinks at 0
SAMPLES, LOSS_SAMPLES = 4, 16           # of the batch; a primitive that couples samples gets all of them
BY_SAMPLE = ("conv2d", "linear", "relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d")
# Their vjps are, on purpose, those of another function, or no jitter avoids their kinks.
NOT_DIFFERENTIABLE = ("getitem",)


def of_primitive(application: Application, seed: int) -> list[tuple[int, finite_differences.Slope]]:
    """Compare every vjp of an application, at its own inputs slightly moved; return [(position, Slope)]."""
    stream = Streams(seed).key("slopes", application.name)
    op = application.primitive
    arrays, params, g = _first_samples(application)
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


def of_loss(captured: Captured, streams: Streams) -> list[Finding]:
    """Compare the gradient of every parameter with differences of the loss; surrogates replace their primitives."""
    model = copy.deepcopy(captured.model)
    model.load_state_dict(captured.before)
    model.astype(np.float64).train()
    for name, parameter in model.named_parameters():
        parameter.parametrization = _widened(captured.parametrizations.get(name))
    x, y = (array[:LOSS_SAMPLES] for array in captured.batches[0][:2])
    method = captured.phase.method
    loss_of = method.loss if isinstance(method, GradientMethod) else CROSS_ENTROPY

    def loss():
        model.key_step(streams, captured.epoch, captured.batch)
        logits, auxiliary = model.training_outputs(Tensor(x.astype(np.float64)))
        total = loss_of(logits, y)
        for share, output in auxiliary:
            total = total + share * loss_of(output, y)
        return total

    reached: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if name in captured.backpropagated}
    with Work(f"check of step {captured.step}, whole loss", len(reached), "tensors") as work:
        return examine_gradients(loss, reached, rng=streams.key("audit-check", captured.step), rtol=LOSS_RTOL,
                                 on_tensor=work.advance)


def _widened(view):
    """Copy a parametrization with its float arrays as float64."""
    if view is None:
        return None
    fields = {f.name: getattr(view, f.name) for f in dataclasses.fields(view)}
    return dataclasses.replace(view, **{name: value.astype(np.float64) for name, value in fields.items()
                                        if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f"})


def _first_samples(application):
    """Return inputs, parameters and incoming gradient in float64; of the first samples only, where possible."""
    arrays, params = list(wide(application.inputs)), application.params
    g = next(iter(application.vjps.values()))[0].astype(np.float64)
    if application.primitive.name in BY_SAMPLE:
        arrays[0], g = arrays[0][:SAMPLES], g[:SAMPLES]
    return arrays, params, g


def _moved(a, stream):
    size = max(float(np.sqrt(np.square(a).mean())) if a.size else 1.0, 1e-3)
    return a + JITTER * size * stream.uniform(a.shape, -1, 1)


def _direction(gradient, stream):
    """Draw a direction without zeros that has the gradient's signs, so that contributions do not cancel."""
    z = stream.normal(gradient.shape)
    sign = np.where(gradient == 0, np.where(z < 0, -1, 1), np.where(gradient < 0, -1, 1))
    return sign * np.maximum(np.abs(z), 0.1) / np.sqrt(max(gradient.size, 1))
