"""CoNNTrA, coordinate descent over discrete parameters (Date et al. 2020, Algorithm 2; methods/README.md, section 3).

Every parameter, biases included, is put on its nearest level. Each visit then picks a parameter uniformly at random,
tries every level, and keeps the last of those with the least error on the training set. There is no gradient. In a
chain of layers a candidate needs no run of the network (kernels/search/visit.py); in any other network it re-runs the
layers from the changed one onwards.

An epoch is one pass: as many visits as there are parameters. A step makes a part of the visits, in proportion to the
size of its batch; it does not use the samples of the batch.
"""
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from tinyq.errors import UsageError, did_you_mean
from tinyq.inputs.targets import CLASSES
from tinyq.levels import NAMED, Levels
from tinyq.methods.base import Column, Data, Numbers, check_everything, check_state
from tinyq.methods.conntra.chain import NotAChain, chain_of
from tinyq.methods.conntra.chain_search import ChainSearch
from tinyq.methods.conntra.network_search import NetworkSearch
from tinyq.methods.conntra.search import Search, Visits
from tinyq.methods.gradient_step import Batch
from tinyq.nn import Module
from tinyq.optim import Optimizer
from tinyq.streams import Streams
from tinyq.tasks.loss import CROSS_ENTROPY as PLAIN
from tinyq.tasks.loss import Loss

ERRORS = RATE, CROSS_ENTROPY, LOSS = "rate", "cross-entropy", "loss"
COUNTS = ("pass", "seen", "made", "visits", "moves")     # seen, made: samples, visits of this pass


@dataclass
class CoNNTrA:
    """Coordinate descent over discrete parameters, without a gradient.

    Each visit picks a parameter p_i uniformly at random, tries every level and keeps the last one of least error:

        p_i <- max { q in levels : error(p with p_i = q) is least }

    The error is the misclassification rate (the paper's), the cross-entropy or the loss of the run, on the whole
    training set or a subset.
    The error never rises, and a visit changes at most one parameter.

    Reference: Date et al., "Training Deep Neural Networks with Constrained Learning Parameters", 2020, Algorithm 2;
    methods/README.md, section 3.

    Args:
        levels: set of normalised levels that all parameters, biases included, are put on, or one for each layer.
        error: quantity that visits lower, "rate" (misclassification), "cross-entropy" or "loss"; by default by task.
        surrogate: number of first passes that lower the cross-entropy instead of the rate; at least 0.
        subset: number of training samples searched on, drawn once by the seed; 0 takes all.
        inverse_temperature: factor on the logits in the cross-entropy, besides their scales; above 0.
        visits: visits per step; 0 makes an epoch one pass, as many visits as there are parameters.
        loss: what visits lower where `error` says so, and the kind of task it serves.
    """

    levels: Levels = NAMED["ternary"]
    error: str | None = None
    surrogate: int = 0
    subset: int = 0
    inverse_temperature: float = 1.0
    visits: int = 0
    loss: Loss = field(default=PLAIN, kw_only=True)

    uses_gradients: ClassVar[bool] = False
    constrains_everything: ClassVar[bool] = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("moves", "moves", "{:,}", "visits of this pass that changed a parameter"),)

    @property
    def done(self) -> bool:
        """False: a search continues through all epochs."""
        return False

    def __post_init__(self) -> None:
        """Raise UsageError for hyper-parameters out of range."""
        if self.error is not None and self.error not in ERRORS:
            raise UsageError(f"error must be {RATE}, {CROSS_ENTROPY} or {LOSS}, got {self.error}; "
                             f"{did_you_mean(self.error, ERRORS)}")
        if self.error in (RATE, CROSS_ENTROPY) and self.loss.task.kind != CLASSES:
            raise UsageError(f"error {self.error}: counts classes, and the targets are {self.loss.task.kind}; leave it "
                             f"out, or choose {LOSS}")
        for name, value in (("surrogate", self.surrogate), ("subset", self.subset), ("visits", self.visits)):
            if value < 0:
                raise UsageError(f"{name} must be at least 0, got {value}")
        if not self.inverse_temperature > 0:
            raise UsageError(f"inverse_temperature must be above 0, got {self.inverse_temperature}")

    def begin(self, model: Module, optimizer: Optimizer, data: Data, streams: Streams,
              state: dict | None = None) -> None:
        """Round the model's parameters, or continue from a state; compute the results that the search stores.

        State: streams, samples (their number), search, counts, visited (the Visits of the last step).
        """
        self.streams, self.samples = streams, len(data)
        check_everything(model, "conntra")
        x, y = data.batch(self._chosen(len(data)))
        counted = self.loss.counted(y)
        self.targets: np.ndarray = y[counted]
        x = x[counted]
        chain = chain_of(model, x[:1])
        self.search: Search = (NetworkSearch(model, self.levels, x, self.targets, chain.reason)
                               if isinstance(chain, NotAChain) else ChainSearch(chain, self.levels, x, self.targets))
        if state is None:
            self._start(*self.search.rounded(), dict.fromkeys(COUNTS, 0))
        else:
            self.load_state(state)

    @property
    def notice(self) -> str:
        """Return a line about the cost of a visit if it is high, else ""."""
        return self.search.notice

    def step(self, batches: Sequence[Batch]) -> float:
        """Make this step's visits; return the error after them."""
        self._set_error()
        total, counts = len(self.search.codes), self.counts
        counts["seen"] = min(counts["seen"] + sum(len(batch.y) for batch in batches), self.samples)
        made = counts["made"]
        counts["made"] = min(made + self.visits, total) if self.visits else counts["seen"] * total // self.samples
        picks = self.streams.key("conntra", counts["pass"]).integers(0, total, total)[made:counts["made"]]
        self.visited = self._visit(picks)
        return self.search.mean_error()

    def visits_per_step(self, samples: int) -> int:
        """Return the number of visits in a step on `samples` samples."""
        return self.visits or len(self.search.codes) * samples // self.samples

    def so_far(self) -> Numbers:
        """Return the error or cross-entropy after the last visit, and the number of moves in the pass."""
        name = "error" if self._lowered() == RATE else "objective"
        return {name: self.search.mean_error(), "moves": self.counts["moves"]}

    def end_epoch(self, validation: Numbers | None = None) -> Numbers:
        """Return the record of the pass and begin the next."""
        correct, decisions = self.loss.right(self.search.results(), self.targets)
        accuracy = {"train_accuracy": correct / decisions} if decisions else {}
        loss = {"train_loss": self.search.mean_error()} if self._lowered() == LOSS else {}
        record = {**loss, **accuracy, "train_objective": self.search.mean_error(), "moves": self.counts["moves"],
                  "visits": self.counts["visits"]}
        self.counts.update({"pass": self.counts["pass"] + 1, "seen": 0, "made": 0, "moves": 0})
        return record

    def finish(self) -> None:
        """Do nothing: every parameter has been on a level since `begin`."""

    def state(self) -> dict:
        """Return the codes, the scales, and the progress of the pass."""
        return {"codes": self.search.codes.copy(), "scales": self.search.scales.copy(), **self.counts}

    def load_state(self, state: dict) -> None:
        """Continue from a `state`; BadInput lists what does not fit the network."""
        check_state(state, {"codes": self.search.codes.shape, "scales": self.search.scales_shape,
                            **dict.fromkeys(COUNTS, ())})
        self._start(np.asarray(state["codes"], np.uint8), np.array(state["scales"], np.float64),
                    {name: int(state[name]) for name in COUNTS})

    def _start(self, codes, scales, counts):
        self.counts = counts
        self.search.place(codes, scales)
        self._set_error()

    def _lowered(self):
        """Return what this pass lowers, one of ERRORS."""
        labels = self.targets.ndim == 1 and self.targets.dtype.kind in "iu"
        lowered = self.error or (RATE if self.loss.is_plain and labels else LOSS)
        if lowered == RATE and self.counts["pass"] < self.surrogate:
            lowered = CROSS_ENTROPY
        return lowered if labels or lowered != CROSS_ENTROPY else LOSS          # kernels know labels only

    def _error_temperature(self):
        """Return the factor on the logits in this pass's error, 0 for the rate."""
        return {RATE: 0.0, CROSS_ENTROPY: self.inverse_temperature, LOSS: 1.0}[self._lowered()]

    def _set_error(self):
        self.search.set_error(self._error_temperature(), self.loss if self._lowered() == LOSS else None)

    def _visit(self, picks):
        if not len(picks):
            return Visits.zeros(0, 0)
        visits = Visits(picks, *self.search.visit(picks), self._error_temperature())
        self.counts["visits"] += len(picks)
        self.counts["moves"] += int(visits.moved.sum())
        return visits

    def _chosen(self, samples):
        """Return the indices of the samples that errors are computed on."""
        if self.subset > samples:
            raise UsageError(f"subset must be at most {samples}, the number of training samples, got {self.subset}")
        order = self.streams.key("conntra-subset").permutation(samples)
        return np.sort(order[:self.subset]) if self.subset else np.arange(samples)
