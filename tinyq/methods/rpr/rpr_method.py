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
    """RPR with its published schedule, stretched to `epochs`.

    levels: the set. fractions: the freezing fractions. The first ends when validation accuracy has not improved for
    `patience` epochs, or when the rest just fits into the run's --epochs (always then, without a validation part).
    period: epochs at each fraction after it; the learning rate falls to a tenth in the last third. final: epochs at
    1, a third each at 1, 0.1 and 0.01 times the rate. Not given, both keep the paper's proportions (15 and 30 of 112).
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
        return self.stage_ == len(self.ramp_.fractions)

    def begin(self, model, optimizer, data, streams, state=None):
        """Take over the model; partitions are drawn from `streams`."""
        self.streams_ = streams
        super().begin(model, optimizer, data, streams, state)

    def prepare(self):
        """Find the constrained weights."""
        self.ramp_ = self._ramp()
        self.layers_ = [Relaxed(name, parameter) for name, parameter in constrainable(self.model_, "rpr")]

    def start(self):
        """Scales from the pretrained weights, which are divided by them; the first partition."""
        for layer in self.layers_:
            layer.rescale(self.levels)
        self.base_rates_ = np.array([group["base_lr"] for group in self.optimizer_.groups])
        self.epoch_, self.stage_, self.stage_epoch_ = 0, 0, 0
        self.best_, self.stale_ = -math.inf, 0
        self._begin_epoch()

    def update(self, batches):
        """The gradient step with the relaxed entries shown; the frozen ones and their moments keep their bits."""
        for layer in self.layers_:
            layer.relax()
        try:
            return gradient_step(self.model_, self.optimizer_, batches, label_smoothing=self.label_smoothing,
                                 where={layer.parameter: layer.relaxed for layer in self.layers_})
        finally:
            for layer in self.layers_:
                layer.quantise()

    def end_epoch(self, validation=None):
        """Move on in the schedule and draw the next partition; the record of the epoch, with its fraction."""
        record = {**super().end_epoch(validation), "frozen": float(self.ramp_.fractions[self.stage_])}
        self.epoch_, self.stage_epoch_ = self.epoch_ + 1, self.stage_epoch_ + 1
        if self.stage_epoch_ == self.ramp_.lengths[self.stage_] or self._has_stalled(validation):
            self.stage_, self.stage_epoch_ = self.stage_ + 1, 0
        if not self.done:
            self._begin_epoch()
        return record

    def finish(self):
        """Put every constrained weight on its level, back in its own units: scale * level to the bit."""
        for layer in self.layers_:
            layer.settle()

    def state(self):
        """The sums of the epoch, the place in the schedule, the learning rates it starts from, and each scale."""
        place = {"epoch": self.epoch_, "stage": self.stage_, "stage_epoch": self.stage_epoch_,
                 "best": self.best_, "stale": self.stale_, "base_rates": self.base_rates_.copy()}
        return {**super().state(), **place, **{f"scale/{layer.name}": layer.scale.copy() for layer in self.layers_}}

    def load_state(self, state):
        """Take over what `state` gave; BadInput lists what does not fit the network."""
        shapes = dict.fromkeys(("epoch", "stage", "stage_epoch", "best", "stale"), ())
        shapes["base_rates"] = (len(self.optimizer_.groups),)
        refuse_unfit(state, shapes | {f"scale/{layer.name}": (len(layer.parameter.data),) for layer in self.layers_})
        super().load_state(state)
        self.epoch_, self.stage_, self.stage_epoch_ = (int(state[key]) for key in ("epoch", "stage", "stage_epoch"))
        self.best_, self.stale_ = float(state["best"]), int(state["stale"])
        self.base_rates_ = np.array(state["base_rates"], np.float64)
        for layer in self.layers_:
            layer.constrain(self.levels, np.array(state[f"scale/{layer.name}"], layer.parameter.dtype))
        if not self.done:
            self._begin_epoch()

    def _ramp(self):
        return ramp(self.fractions, self.epochs, self.period, self.final)

    def _begin_epoch(self):
        """A partition for (seed, epoch, layer), and the learning rate of this epoch of the stage."""
        for layer in self.layers_:
            layer.partition(self.streams_.key("rpr", layer.name, self.epoch_), self.ramp_.fractions[self.stage_])
        factor = self.ramp_.rate(self.stage_, self.stage_epoch_)
        for group, base in zip(self.optimizer_.groups, self.base_rates_, strict=True):
            group["lr"] = group["base_lr"] = float(base) * factor

    def _has_stalled(self, validation):
        """Whether the first of several fractions has done what it can for the fully quantised network."""
        if validation is None or self.stage_ > 0 or len(self.ramp_.fractions) == 1:
            return False
        better = validation["validation_accuracy"] > self.best_
        self.best_ = validation["validation_accuracy"] if better else self.best_
        self.stale_ = 0 if better else self.stale_ + 1
        return self.stale_ >= self.patience
