"""RPR, random partition relaxation (methods/README.md, section 2): each epoch relaxes another part of the weights.

Weights are divided once by a scale per output filter. During an epoch's steps most of them are frozen at their nearest
level; the others, relaxed, follow the gradient together with the parameters that stay float. The frozen fraction grows
to 1. Between steps the network is fully quantised: validation and everything else see that.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import numpy as np

from tinyq.errors import UsageError
from tinyq.levels import NAMED, Levels
from tinyq.methods.base import Column, GradientMethod, Numbers, check_state, constrained_weights
from tinyq.methods.gradient_step import Batch, Step, gradient_step
from tinyq.methods.rpr.freezing_schedule import PUBLISHED, FreezingSchedule, freezing_schedule
from tinyq.methods.rpr.relaxed_weight import RelaxedWeight


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
        levels: set of normalised levels that the constrained weights end on, or one for each layer.
        epochs: epochs of the whole schedule; normally the run's.
        fractions: frozen fractions in ascending order, separated by commas, from 0 or more to exactly 1.
        patience: epochs without a better validation figure that end the first fraction; at least 1.
        period: epochs at each fraction between the first and 1; by default epochs * 15 / 112, the paper's proportion.
        final: epochs at fraction 1, a third each at 1, 0.1 and 0.01 times the rate; by default epochs * 30 / 112.
        loss: what a step lowers, and the kind of task it serves.
    """

    levels: Levels = NAMED["ternary"]
    epochs: int = PUBLISHED
    fractions: str = "0.9,0.95,0.975,0.9875,1"
    patience: int = 5
    period: int | None = None
    final: int | None = None

    STATE: ClassVar[dict[str, type]] = {"epoch": int, "stage": int, "stage_epoch": int, "best": float, "stale": int}
    columns: ClassVar[tuple[Column, ...]] = (
        Column("frozen", "frozen", "{:.2%}", "share of the constrained weights that stayed on their levels in "
               "this epoch"),)

    def __post_init__(self) -> None:
        """Raise UsageError for hyper-parameters out of range, before a float network is trained for them."""
        if self.patience < 1:
            raise UsageError(f"patience must be at least 1, got {self.patience}")
        self._schedule()

    @property
    def done(self) -> bool:
        """True when the schedule has ended."""
        return self.stage == len(self.schedule.fractions)

    @property
    def fraction(self) -> Fraction:
        """The frozen fraction of this epoch, 1 after the schedule's end."""
        return self.schedule.fractions[min(self.stage, len(self.schedule.fractions) - 1)]

    def start(self) -> None:
        """Divide the pretrained weights by their scales and draw the first partition."""
        self.schedule = self._schedule()
        self.weights = [RelaxedWeight.pretrained(name, parameter, self.levels.of(name))
                        for name, parameter in constrained_weights(self.model, "rpr")]
        self.base_rates = np.array([group["base_lr"] for group in self.optimizer.groups])
        self.epoch, self.stage, self.stage_epoch = 0, 0, 0
        self.best, self.stale = -math.inf if self.loss.task.higher else math.inf, 0
        self._begin_epoch()

    def update(self, batches: Sequence[Batch]) -> Step:
        """Take the gradient step with the relaxed entries free; the frozen ones and their moments keep their bits."""
        for weight in self.weights:
            weight.relax()
        try:
            return gradient_step(self.model, self.optimizer, batches, loss=self.loss,
                                 where={weight.parameter: weight.relaxed for weight in self.weights})
        finally:
            for weight in self.weights:
                weight.quantise()

    def end_epoch(self, validation: Numbers | None = None) -> Numbers:
        """Advance the schedule and draw the next partition; return the record of the epoch, with its fraction."""
        record = {**super().end_epoch(validation), "frozen": float(self.fraction)}
        self.epoch, self.stage_epoch = self.epoch + 1, self.stage_epoch + 1
        if self.stage_epoch == self.schedule.lengths[self.stage] or self._has_stalled(validation):
            self.stage, self.stage_epoch = self.stage + 1, 0
        if not self.done:
            self._begin_epoch()
        return record

    def finish(self) -> None:
        """Put every constrained weight on its level, back in weight units: scale * level to the bit."""
        for weight in self.weights:
            weight.quantise_in_place()

    def state(self) -> dict:
        """Return the sums of the epoch, the place in the schedule, its base learning rates, and each scale."""
        return {**super().state(), "base_rates": self.base_rates.copy(),
                **{f"scale/{weight.name}": weight.scale.copy() for weight in self.weights}}

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit the network."""
        found = constrained_weights(self.model, "rpr")
        check_state(state, {**self.shapes(), "base_rates": (len(self.optimizer.groups),),
                            **{f"scale/{name}": (len(parameter.data),) for name, parameter in found}})
        super().load_state(state)
        self.schedule = self._schedule()
        self.base_rates = np.array(state["base_rates"], np.float64)
        self.weights = [RelaxedWeight(name, parameter, self.levels.of(name),
                                      np.array(state[f"scale/{name}"], parameter.dtype)) for name, parameter in found]
        if not self.done:
            self._begin_epoch()

    def _schedule(self) -> FreezingSchedule:
        return freezing_schedule(self.fractions, self.epochs, self.period, self.final)

    def _begin_epoch(self):
        """Draw each weight's partition by (seed, epoch, name), and set the learning rate of this epoch of the stage."""
        for weight in self.weights:
            weight.partition(self.streams.key("rpr", weight.name, self.epoch), self.fraction)
        factor = self.schedule.rate(self.stage, self.stage_epoch)
        for group, base in zip(self.optimizer.groups, self.base_rates, strict=True):
            group["lr"] = group["base_lr"] = float(base) * factor

    def _has_stalled(self, validation):
        """True once the first of several fractions no longer improves the fully quantised network."""
        if validation is None or self.stage > 0 or len(self.schedule.fractions) == 1:
            return False
        figure = validation[f"validation_{self.loss.task.best}"]
        better = self.loss.task.better(figure, self.best)
        self.best = figure if better else self.best
        self.stale = 0 if better else self.stale + 1
        return self.stale >= self.patience
