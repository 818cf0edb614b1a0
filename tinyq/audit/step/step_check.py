"""Check one step: primitives and vjps against float64, vjps against differences, the update against its terms."""
from dataclasses import dataclass, field

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_table import audit_of
from tinyq.audit.step import error_bounds, vjp_slopes
from tinyq.audit.step.update_terms import cosine, norm, updates_of
from tinyq.nn import BatchNorm1d, BatchNorm2d
from tinyq.output.work import Work
from tinyq.streams import Streams

STATISTICS = 1e-4                       # relative tolerance of running statistics


@dataclass
class Checked:
    """The result of checking a step."""

    step: int
    counts: dict[str, int] = field(default_factory=dict)                    # of comparisons, by kind
    faults: list[str] = field(default_factory=list)
    kinks: list[str] = field(default_factory=list)
    surrogates: dict[str, float | None] = field(default_factory=dict)       # cosine of true and surrogate gradient
    terms: dict[str, dict[str, float]] = field(default_factory=dict)        # norms of the update's terms
    largest_error: float = 0.0                # the largest rounding error as a share of its bound

    def count(self, what: str, number: int = 1) -> None:
        """Count checked things by name."""
        self.counts[what] = self.counts.get(what, 0) + number


def check(captured: Captured, streams: Streams) -> Checked:
    """Check a captured step; streams: the run's."""
    checked = Checked(captured.step)
    if captured.phase.method.uses_gradients:
        with Work(f"check of step {captured.step}", len(captured.applications), "operations") as work:
            for application in captured.applications:
                _check_bounds(checked, application)
                _check_slopes(checked, application)
                work.advance()
        _check_loss(checked, captured, streams)
        _check_statistics(checked, captured)
        _check_updates(checked, captured)
    for name, examine in audit_of(type(captured.phase.method).__name__).checks.items():
        checked.count(name)
        checked.faults += examine(captured)
    return checked


def _check_bounds(checked, application):
    y, bound = error_bounds.forward(application)
    _within(checked, application.output, y, bound, f"{application.name}: its output")
    checked.count("primitives")
    for position, (_, gx) in application.vjps.items():
        _within(checked, gx, *error_bounds.backward(application, position),
                f"the vjp of {application.name}: the gradient at input {position}")
        checked.count("vjps")


def _within(checked, found, expected, bound, what):
    """Add a fault unless every element is within its bound of the float64 value."""
    if found.shape != expected.shape:
        checked.faults.append(f"{what} has shape {found.shape}, in float64 {expected.shape}")
        return
    excess = np.abs(found - expected) / bound
    worst = float(excess.max()) if excess.size else 0.0
    checked.largest_error = max(checked.largest_error, worst) if worst <= 1 else checked.largest_error
    if not worst <= 1:
        at = tuple(int(i) for i in np.unravel_index(np.nanargmax(excess), excess.shape))
        checked.faults.append(f"{what} is {found[at]:.9g} at {at}, in float64 {expected[at]:.9g}; rounding "
                              f"explains only {bound[at]:.2g}")


def _check_slopes(checked, application):
    if not application.vjps or application.primitive.name in vjp_slopes.NOT_DIFFERENTIABLE:
        return
    for position, slope in vjp_slopes.of_primitive(application, checked.step):
        checked.count("vjps against differences")
        if slope.verdict == "kink":
            checked.kinks.append(f"{application.name}, input {position}")
        if slope.verdict == "wrong":
            at = "" if slope.entry is None else f" at {slope.entry}"
            kind = "the declared surrogate's" if application.primitive.surrogate else "the"
            checked.faults.append(f"the vjp of {application.name} at input {position} is not {kind} derivative{at}: "
                                  f"{slope.analytic:.6g} against {slope.left:.6g} and {slope.right:.6g}")


def _check_loss(checked, captured, streams):
    for finding in vjp_slopes.of_loss(captured, streams):
        checked.count("gradients of the loss against differences")
        if finding.verdict == "kink":
            checked.kinks.append(f"the loss along {finding.where}")
        if finding.verdict == "wrong":
            checked.faults.append(f"the whole loss: {finding}")


def _check_statistics(checked, captured):
    """Check the update of running statistics against one in float64."""
    inputs: dict[str, list[np.ndarray]] = {}
    for application in captured.applications:
        if application.name.startswith("batch_norm"):
            layer = application.name.partition(" of ")[2].rpartition(".")[0]
            inputs.setdefault(layer, []).append(application.inputs[0])
    for name, module in captured.model.named_modules():
        if isinstance(module, BatchNorm1d | BatchNorm2d) and module.running_mean is not None and name in inputs:
            checked.count("running statistics")
            mean, variance = (captured.before[f"{name}.running_{key}"].astype(np.float64) for key in ("mean", "var"))
            tracked = int(captured.before[f"{name}.num_batches_tracked"])
            for x in inputs[name]:
                tracked += 1
                axes, count = (0, *range(2, x.ndim)), x.size // x.shape[1]
                share = 1 / tracked if module.momentum is None else module.momentum
                x = x.astype(np.float64)
                mean = mean + share * (x.mean(axes) - mean)
                variance = variance + share * (x.var(axes) * count / (count - 1) - variance)
            for key, expected in (("mean", mean), ("var", variance)):
                found = captured.after[f"{name}.running_{key}"]
                allowed = STATISTICS * (np.abs(expected).max() + np.sqrt(variance.max()))
                if not (np.abs(found - expected) <= allowed).all():
                    checked.faults.append(f"{name}.running_{key} differs from its update in float64")


def _check_updates(checked, captured):
    for name, update in updates_of(captured).items():
        checked.count("updates")
        checked.faults += [f"the update of {name}: {fault}" for fault in update.faults]
        checked.terms[name] = {term: norm(array) for term, array in update.terms.items()}
        if "surrogate" in update.terms:
            checked.surrogates[name] = cosine(update.terms["true"], update.terms["surrogate"])
    missing = [name for name in captured.backpropagated if name not in captured.handed]
    checked.faults += [f"{name} got a gradient that did not reach the optimiser" for name in missing]
