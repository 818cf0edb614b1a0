"""Constrained backpropagation (Kim and Jeong, NeurIPS 2021; METHODS.md, section 1).

The objective is the Lagrangian C(Q(w)) + sum lambda * cs(w): the loss C of the quantised weights Q(w), whose
gradient reaches the latent w unchanged, and a constraint function cs that is 0 on the levels, with a multiplier
lambda for every constrained weight. Weights descend on it every step. Multipliers ascend, and the window that
leaves weights far from a level unconstrained closes a little, each time the schedule fires.
"""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.levels import NAMED, LevelSet
from tinyq.methods.base import GradientMethod, constrainable, gradient_step, refuse_unfit
from tinyq.methods.cbp.constrained_weight import BOUND, ConstrainedWeight, hold
from tinyq.methods.cbp.constraint import sawtooth
from tinyq.optim import Adam

CLIP = 1.0                              # bound of every entry of every gradient
FAST_FROM = 10                          # from this window parameter on it grows by as much, not by 1
DROP_AT, DROP = 20, 0.1                 # where every learning rate is multiplied, and by what


@dataclass
class CBP(GradientMethod):
    """Constrained backpropagation; the defaults are the published ones.

    Objective, with one multiplier lambda_i per constrained weight w_i and Q(w) = a * nearest level, a = mean |w|:

        L(w, lambda) = loss(Q(w)) + sum_i lambda_i cs(w_i)

    Gradient: d loss / d w = d loss / d Q(w), straight through; cs'(w) is -2, 0 or 2 (`constraint.py`).
    Multipliers ascend, d L / d lambda_i = cs(w_i), each time the schedule fires.

    Reference: Kim and Jeong, "Constrained Backpropagation", NeurIPS 2021; methods/README.md, section 1.

    Args:
        levels: set of normalised levels that the constrained weights end on.
        lambda_lr: learning rate of the Adam optimiser that raises the multipliers; above 0.
        period: epochs after which the schedule fires at the latest; at least 1.
        g_max: largest window parameter g, which closes the unconstrained window; no limit if not given.
        stop: mean constraint failure, in units of the scale, below which training ends; 0 trains through all epochs.
        label_smoothing: share of each label spread over all classes; in [0, 1).
    """

    levels: LevelSet = NAMED["ternary"]
    lambda_lr: float = 1e-4
    period: int = 20
    g_max: int | None = None
    stop: float = 0.0

    def __post_init__(self):
        """Refuse hyper-parameters that mean nothing."""
        _require(self.lambda_lr > 0, "lambda-lr", self.lambda_lr, "above 0")
        _require(self.period >= 1, "period", self.period, "at least 1")
        _require(self.g_max is None or self.g_max >= 1, "g-max", self.g_max, "at least 1")
        _require(self.stop >= 0, "stop", self.stop, "at least 0")

    @property
    def done(self):
        """Whether the constraint failure has fallen below `stop`."""
        return self.failure[1] < self.stop

    def prepare(self):
        """Find the constrained weights and give each its multiplier."""
        self.weights = [ConstrainedWeight(name, parameter) for name, parameter in constrainable(self.model, "cbp")]
        self.parameters = self.model.parameters()
        self.ascent = Adam([layer.multiplier for layer in self.weights], lr=self.lambda_lr)

    def start(self):
        """Scales from the pretrained weights, the window wide open, and the first step of the multipliers."""
        for layer in self.weights:
            layer.constrain(self.levels, layer.mean_magnitude())
            layer.refuse_unreachable()
        self.g, self.previous, self.epochs_since_fired = 1, math.inf, 0
        self._set_window()
        self._raise_multipliers()
        self.failure = self.constraint_failure()

    def update(self, batches):
        """The gradient step on the Lagrangian."""
        return gradient_step(self.model, self.optimizer, batches, label_smoothing=self.label_smoothing,
                             adjust=self._constrain_and_clip, after=self._clamp)

    def end_epoch(self, validation=None):
        """Fire the schedule if it is due; the record of the epoch, with the g it ran under."""
        lagrangian, g = self.sums.objective, self.g
        self.epochs_since_fired += 1
        fired = lagrangian >= self.previous or self.epochs_since_fired >= self.period
        self.previous = lagrangian
        if fired:
            self._fire()
        self.failure = self.constraint_failure()
        return {**super().end_epoch(validation), "lagrangian": lagrangian, "g": g, "fired": fired,
                "cfs": self.failure[0], "cfs_over_scale": self.failure[1]}

    def constraint_failure(self):
        """(CFS, CFS / a): the mean over all constrained weights of cs with the window closed; in units of the scale."""
        size, total, relative = 0, 0.0, 0.0
        for layer in self.weights:              # sum() of floats has other bits from Python 3.12 on
            failure = layer.failure_sum()
            size, total, relative = size + layer.parameter.size, total + failure, relative + failure / layer.scale
        return total / size, relative / size

    def finish(self):
        """Put every constrained weight on its level: scale * level to the bit."""
        for layer in self.weights:
            layer.settle()

    def state(self):
        """The sums of the epoch, the schedule, and each layer's scale, multipliers and their moments."""
        state = {**super().state(), "g": self.g, "previous": self.previous,
                 "epochs_since_fired": self.epochs_since_fired,
                 "cfs": self.failure[0], "cfs_over_scale": self.failure[1]}
        for layer in self.weights:
            state[f"scale/{layer.name}"] = layer.view.scale.copy()
            state[f"lambda/{layer.name}"] = layer.multiplier.data.copy()
        return {**state, **{f"ascent/{name}": value for name, value in self.ascent.state().items()}}

    def load_state(self, state):
        """Take over what `state` gave; BadInput lists what does not fit the network."""
        shapes = dict.fromkeys(("g", "previous", "epochs_since_fired", "cfs", "cfs_over_scale"), ())
        shapes |= {f"scale/{layer.name}": () for layer in self.weights}
        shapes |= {f"lambda/{layer.name}": layer.parameter.shape for layer in self.weights}
        refuse_unfit(state, shapes)
        super().load_state(state)
        self.g, self.epochs_since_fired = int(state["g"]), int(state["epochs_since_fired"])
        self.previous = float(state["previous"])
        self.failure = float(state["cfs"]), float(state["cfs_over_scale"])
        self.ascent.load_state({n.removeprefix("ascent/"): v for n, v in state.items() if n.startswith("ascent/")})
        for layer in self.weights:
            layer.constrain(self.levels, np.asarray(state[f"scale/{layer.name}"], layer.parameter.dtype))
            layer.set_multiplier(np.array(state[f"lambda/{layer.name}"], layer.parameter.dtype))
        self._set_window()

    def _fire(self):
        """Close the window by a step, raise the multipliers, and forget the sum that was compared with."""
        before, step = self.g, 1 if self.g < FAST_FROM else FAST_FROM
        self.g = before + step if self.g_max is None else max(before, min(before + step, self.g_max))
        if before < DROP_AT <= self.g:
            self.optimizer.scale_lr(DROP)
        self._set_window()
        self._raise_multipliers()
        self.previous, self.epochs_since_fired = math.inf, 0

    def _set_window(self):
        for layer in self.weights:
            layer.sawtooth = sawtooth(layer.levels, self.g)

    def _raise_multipliers(self):
        """One step of Adam up the sum of lambda * cs, whose gradient with respect to lambda is cs."""
        before = [layer.multiplier.data.copy() for layer in self.weights]
        for layer in self.weights:
            layer.multiplier.data.flags.writeable = True
        self.ascent.step({layer.multiplier: -layer.sawtooth(layer.parameter.data)[0] for layer in self.weights})
        for layer, old in zip(self.weights, before, strict=True):
            layer.set_multiplier(layer.multiplier.data)
            hold((layer.multiplier.data >= old).all(), layer.name, "a multiplier fell")

    def _constrain_and_clip(self):
        """Add lambda cs' to the loss's gradients and bound every entry; returns the sum of lambda cs."""
        penalty = 0.0
        for layer in self.weights:
            penalty += layer.add_force()
        for p in self.parameters:
            if p.grad is not None:
                np.clip(p.grad, -CLIP, CLIP, out=p.grad)
        return penalty

    def _clamp(self):
        for layer in self.weights:
            np.clip(layer.parameter.data, -BOUND, BOUND, out=layer.parameter.data)


def _require(condition, name, value, rule):
    if not condition:
        raise UsageError(f"--cbp.{name} {value}: must be {rule}")
