"""Random partition relaxation (METHODS.md, section 2): a new random part of the weights is relaxed every epoch.

Weights are divided by a scale of each output filter, once. In an epoch's steps most of them are frozen at their
nearest level while the others, relaxed, follow the gradient with what stays float. The frozen fraction grows to 1.
Between steps the network is the fully quantised one: validation and everything else see that.
"""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.levels import NAMED, LevelSet
from tinyq.methods.base import GradientMethod, constrainable, gradient_step, refuse_unfit
from tinyq.methods.rpr.freezing_schedule import PUBLISHED, ramp
from tinyq.methods.rpr.relaxed_weight import Relaxed


@dataclass
class RPR(GradientMethod):
    """Random partition relaxation; the defaults are the published schedule in proportion to `epochs`.

    Forward, with w in units of a least-squares scale s per output filter and a random partition per epoch:

        weight = s * (nearest level of w where frozen, w itself where relaxed)

    Gradient: d loss / d w = s * d loss / d weight where relaxed; frozen entries and their optimiser memory stay still.
    The frozen fraction grows to 1. Validation always sees the fully quantised network.

    Reference: "Random Partition Relaxation for Training Binary and Ternary Weight Neural Networks" (RPR), 2020;
    methods/README.md, section 2.

    Args:
        levels: set of normalised levels that the constrained weights end on.
        epochs: epochs of the whole schedule; normally the run's.
        fractions: frozen fractions in ascending order, separated by commas, from 0 or more to exactly 1.
        patience: epochs without a better validation accuracy that end the first fraction; at least 1.
        period: epochs at each fraction between the first and 1; by default epochs * 15 / 112, the paper's proportion.
        final: epochs at fraction 1, a third each at 1, 0.1 and 0.01 times the rate; by default epochs * 30 / 112.
        label_smoothing: share of each label spread over all classes; in [0, 1).
    """

    levels: LevelSet = NAMED["ternary"]
    epochs: int = PUBLISHED
    fractions: str = "0.9,0.95,0.975,0.9875,1"
    patience: int = 5
    period: int | None = None
    final: int | None = None

    def __post_init__(self):
        """Refuse hyper-parameters that mean nothing, before a float network is trained for them."""
        if self.patience < 1:
            raise UsageError(f"--rpr.patience {self.patience}: must be at least 1")
        self._ramp()

    @property
    def done(self):
        """Whether the schedule has come to its end."""
        return self.stage == len(self.ramp.fractions)

    def begin(self, model, optimizer, data, streams, state=None):
        """Take over the model; partitions are drawn from `streams`."""
        self.streams = streams
        super().begin(model, optimizer, data, streams, state)

    def prepare(self):
        """Find the constrained weights."""
        self.ramp = self._ramp()
        self.weights = [Relaxed(name, parameter) for name, parameter in constrainable(self.model, "rpr")]

    def start(self):
        """Scales from the pretrained weights, which are divided by them; the first partition."""
        for layer in self.weights:
            layer.rescale(self.levels)
        self.base_rates = np.array([group["base_lr"] for group in self.optimizer.groups])
        self.epoch, self.stage, self.stage_epoch = 0, 0, 0
        self.best, self.stale = -math.inf, 0
        self._begin_epoch()

    def update(self, batches):
        """The gradient step with the relaxed entries shown; the frozen ones and their moments keep their bits."""
        for layer in self.weights:
            layer.relax()
        try:
            return gradient_step(self.model, self.optimizer, batches, label_smoothing=self.label_smoothing,
                                 where={layer.parameter: layer.relaxed for layer in self.weights})
        finally:
            for layer in self.weights:
                layer.quantise()

    def end_epoch(self, validation=None):
        """Move on in the schedule and draw the next partition; the record of the epoch, with its fraction."""
        record = {**super().end_epoch(validation), "frozen": float(self.ramp.fractions[self.stage])}
        self.epoch, self.stage_epoch = self.epoch + 1, self.stage_epoch + 1
        if self.stage_epoch == self.ramp.lengths[self.stage] or self._has_stalled(validation):
            self.stage, self.stage_epoch = self.stage + 1, 0
        if not self.done:
            self._begin_epoch()
        return record

    def finish(self):
        """Put every constrained weight on its level, back in its own units: scale * level to the bit."""
        for layer in self.weights:
            layer.settle()

    def state(self):
        """The sums of the epoch, the place in the schedule, the learning rates it starts from, and each scale."""
        place = {"epoch": self.epoch, "stage": self.stage, "stage_epoch": self.stage_epoch,
                 "best": self.best, "stale": self.stale, "base_rates": self.base_rates.copy()}
        return {**super().state(), **place, **{f"scale/{layer.name}": layer.scale.copy() for layer in self.weights}}

    def load_state(self, state):
        """Take over what `state` gave; BadInput lists what does not fit the network."""
        shapes = dict.fromkeys(("epoch", "stage", "stage_epoch", "best", "stale"), ())
        shapes["base_rates"] = (len(self.optimizer.groups),)
        refuse_unfit(state, shapes | {f"scale/{layer.name}": (len(layer.parameter.data),) for layer in self.weights})
        super().load_state(state)
        self.epoch, self.stage, self.stage_epoch = (int(state[key]) for key in ("epoch", "stage", "stage_epoch"))
        self.best, self.stale = float(state["best"]), int(state["stale"])
        self.base_rates = np.array(state["base_rates"], np.float64)
        for layer in self.weights:
            layer.constrain(self.levels, np.array(state[f"scale/{layer.name}"], layer.parameter.dtype))
        if not self.done:
            self._begin_epoch()

    def _ramp(self):
        return ramp(self.fractions, self.epochs, self.period, self.final)

    def _begin_epoch(self):
        """A partition for (seed, epoch, layer), and the learning rate of this epoch of the stage."""
        for layer in self.weights:
            layer.partition(self.streams.key("rpr", layer.name, self.epoch), self.ramp.fractions[self.stage])
        factor = self.ramp.rate(self.stage, self.stage_epoch)
        for group, base in zip(self.optimizer.groups, self.base_rates, strict=True):
            group["lr"] = group["base_lr"] = float(base) * factor

    def _has_stalled(self, validation):
        """Whether the first of several fractions has done what it can for the fully quantised network."""
        if validation is None or self.stage > 0 or len(self.ramp.fractions) == 1:
            return False
        better = validation["validation_accuracy"] > self.best
        self.best = validation["validation_accuracy"] if better else self.best
        self.stale = 0 if better else self.stale + 1
        return self.stale >= self.patience
