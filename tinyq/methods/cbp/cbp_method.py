"""CBP, constrained backpropagation (Kim and Jeong, NeurIPS 2021; methods/README.md, section 1).

The objective is the Lagrangian C(Q(w)) + sum lambda * cs(w): the loss C of the quantised weights Q(w), whose gradient
reaches the latent w unchanged, plus a constraint function cs that is 0 on the levels, times a multiplier lambda per
constrained weight. Weights descend on it at every step. When the schedule fires, multipliers ascend, and the window
that leaves weights far from a level unconstrained closes a little.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tinyq.errors import UsageError
from tinyq.levels import NAMED, Levels
from tinyq.methods.base import Column, GradientMethod, Numbers, check_state, constrained_weights
from tinyq.methods.cbp.constrained_weight import BOUND, ConstrainedWeight
from tinyq.methods.gradient_step import Batch, Step, gradient_step
from tinyq.optim import Adam

CLIP = 1.0                              # bound of every entry of every gradient
FAST_FROM = 10                          # the window parameter g grows by 1 up to this value, then by this value
DROP_AT, DROP = 20, 0.1                 # g at which every learning rate is multiplied, and the factor


@dataclass
class CBP(GradientMethod):
    """Constrained backpropagation; the defaults are the published ones.

    Objective, with one multiplier lambda_i per constrained weight w_i and Q(w) = a * nearest level, a = mean |w|:

        L(w, lambda) = loss(Q(w)) + sum_i lambda_i cs(w_i)

    Gradient: d loss / d w = d loss / d Q(w), straight through; cs'(w) is -2, 0 or 2 (`constraint.py`).
    Multipliers ascend, d L / d lambda_i = cs(w_i), each time the schedule fires.

    Reference: Kim and Jeong, "Constrained Backpropagation", NeurIPS 2021; methods/README.md, section 1.

    Args:
        levels: set of normalised levels that the constrained weights end on, or one for each layer.
        lambda_lr: learning rate of the Adam optimiser that raises the multipliers; above 0.
        period: epochs after which the schedule fires at the latest; at least 1.
        g_max: largest window parameter g, which closes the unconstrained window; no limit if not given.
        stop: mean constraint failure, in units of the scale, below which training ends; 0 trains through all epochs.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["ternary"]
    lambda_lr: float = 1e-4
    period: int = 20
    g_max: int | None = None
    stop: float = 0.0

    STATE: ClassVar[dict[str, type]] = {"g": int, "previous": float, "epochs_since_fired": int, "cfs": float,
                                         "cfs_over_scale": float}
    stronger_pull: ClassVar[str] = "lambda_lr"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("g", "g", "{:d}", "window parameter: weights far from a level are left alone by 1/g of the gap between "
               "two levels; it grows when the schedule fires"),
        Column("cfs_over_scale", "cfs/a", "{:.4f}", "constraint failure, twice the mean distance of the weights from "
               "their nearest levels, in units of the scale a; near 0 when CBP has converged"))

    def __post_init__(self) -> None:
        """Raise UsageError for hyper-parameters out of range."""
        _check(self.lambda_lr > 0, "lambda_lr", self.lambda_lr, "above 0")
        _check(self.period >= 1, "period", self.period, "at least 1")
        _check(self.g_max is None or self.g_max >= 1, "g_max", self.g_max, "at least 1")
        _check(self.stop >= 0, "stop", self.stop, "at least 0")

    @property
    def done(self) -> bool:
        """True when the constraint failure has fallen below `stop`."""
        return self.cfs_over_scale < self.stop

    def start(self) -> None:
        """Take scales from the pretrained weights, open the window, and update the multipliers once."""
        self.g, self.previous, self.epochs_since_fired = 1, math.inf, 0
        self.weights = [ConstrainedWeight.pretrained(name, parameter, self.levels.of(name), self.g)
                        for name, parameter in constrained_weights(self.model, "cbp")]
        self._make_ascent()
        self._raise_multipliers()
        self.cfs, self.cfs_over_scale = self.constraint_failure()

    def update(self, batches: Sequence[Batch]) -> Step:
        """Take the gradient step on the Lagrangian."""
        return gradient_step(self.model, self.optimizer, batches, loss=self.loss,
                             adjust=self._constrain_and_clip, after=self._clamp)

    def end_epoch(self, validation: Numbers | None = None) -> Numbers:
        """Fire the schedule if it is due; return the record of the epoch, with the g it ran under."""
        lagrangian, g = self.sums.objective, self.g
        self.epochs_since_fired += 1
        fired = lagrangian >= self.previous or self.epochs_since_fired >= self.period
        self.previous = lagrangian
        if fired:
            self._fire()
        self.cfs, self.cfs_over_scale = self.constraint_failure()
        return {**super().end_epoch(validation), "lagrangian": lagrangian, "g": g, "fired": fired,
                "cfs": self.cfs, "cfs_over_scale": self.cfs_over_scale}

    def constraint_failure(self) -> tuple[float, float]:
        """Return (CFS, CFS / a): the mean of cs with the window closed over all constrained weights; a: the scale."""
        size, total, relative = 0, 0.0, 0.0
        for weight in self.weights:             # sum() of floats has other bits from Python 3.12 on
            failure = weight.failure_sum()
            size, total = size + weight.parameter.size, total + failure
            relative += failure / float(weight.scale)
        return total / size, relative / size

    def finish(self) -> None:
        """Put every constrained weight on its level: scale * level to the bit."""
        for weight in self.weights:
            weight.quantise_in_place()

    def state(self) -> dict:
        """Return the sums of the epoch, the schedule, and each weight's scale, multipliers and their moments."""
        state = super().state()
        for weight in self.weights:
            state[f"scale/{weight.name}"] = weight.scale.copy()
            state[f"lambda/{weight.name}"] = weight.multiplier.data.copy()
        return {**state, **{f"ascent/{name}": value for name, value in self.ascent.state().items()}}

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit the network."""
        found = constrained_weights(self.model, "cbp")
        check_state(state, {**self.shapes(), **{f"scale/{name}": () for name, _ in found},
                            **{f"lambda/{name}": parameter.shape for name, parameter in found}})
        super().load_state(state)
        self.weights = [ConstrainedWeight(name, parameter, self.levels.of(name),
                                          np.asarray(state[f"scale/{name}"], parameter.dtype),
                                          np.array(state[f"lambda/{name}"], parameter.dtype), self.g)
                        for name, parameter in found]
        self._make_ascent()
        self.ascent.load_state({n.removeprefix("ascent/"): v for n, v in state.items() if n.startswith("ascent/")})

    def _make_ascent(self):
        self.parameters = self.model.parameters()
        self.ascent = Adam([weight.multiplier for weight in self.weights], lr=self.lambda_lr)

    def _fire(self):
        """Close the window by one step, raise the multipliers, and reset the objective that the schedule compares."""
        before, step = self.g, 1 if self.g < FAST_FROM else FAST_FROM
        self.g = before + step if self.g_max is None else max(before, min(before + step, self.g_max))
        if before < DROP_AT <= self.g:
            self.optimizer.scale_lr(DROP)
        for weight in self.weights:
            weight.set_window(self.g)
        self._raise_multipliers()
        self.previous, self.epochs_since_fired = math.inf, 0

    def _raise_multipliers(self):
        """Take one ascending step of Adam on the sum of lambda * cs; its gradient with respect to lambda is cs."""
        for weight in self.weights:
            weight.multiplier.data.flags.writeable = True
        self.ascent.step({weight.multiplier: -weight.sawtooth(weight.parameter.data)[0] for weight in self.weights})
        for weight in self.weights:
            weight.set_multiplier(weight.multiplier.data)

    def _constrain_and_clip(self):
        """Add lambda cs' to the loss's gradients and bound every entry; return the sum of lambda cs."""
        penalty = 0.0
        for weight in self.weights:
            penalty += weight.add_force()
        for p in self.parameters:
            if p.grad is not None:
                np.clip(p.grad, -CLIP, CLIP, out=p.grad)
        return penalty

    def _clamp(self):
        for weight in self.weights:
            np.clip(weight.parameter.data, -BOUND, BOUND, out=weight.parameter.data)


def _check(condition, name, value, rule):
    if not condition:
        raise UsageError(f"{name} must be {rule}, got {value}")
