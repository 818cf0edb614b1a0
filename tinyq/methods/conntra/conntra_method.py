"""CoNNTrA: coordinate descent over discrete parameters (Date et al. 2020, Algorithm 2; METHODS.md, section 3).

Every parameter, biases included, is put on its nearest level. Then parameters are visited, each picked uniformly at
random: every level is tried, and the last of those with the least error on the training set is kept. There is no
gradient. In a chain of layers no candidate is given a run of the network (kernels/search/visit.py); in any other it is
given the part of one that its layer can change.

An epoch is one pass: as many visits as there are parameters. A step makes the share of them that its batch is of the
training set, and looks at nothing else of the batch.
"""
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyq.errors import TinyqError, UsageError, did_you_mean
from tinyq.levels import NAMED, LevelSet
from tinyq.methods.base import refuse_unfit
from tinyq.methods.conntra.chain import NoChain
from tinyq.methods.conntra.chain_search import ChainSearch
from tinyq.methods.conntra.network_search import NetworkSearch

RATE, CROSS_ENTROPY = "rate", "cross-entropy"
COUNTS = ("pass", "seen", "made", "visits", "moves")     # made: visits of this pass, visits: of all


class Visits(NamedTuple):
    """What the visits of a step came to, each of them an entry."""

    picks: np.ndarray               # int64, parameters
    codes: np.ndarray               # uint8, the level each was left with
    errors: np.ndarray              # int64, then
    moved: np.ndarray               # bool
    tried: np.ndarray               # int64 (visits, levels), the error of each level
    inverse_temperature: float                # of the cross-entropy that the error is, 0 for the rate


NO_VISITS = Visits(*(np.zeros(0, dtype) for dtype in (np.int64, np.uint8, np.int64, np.bool_)),
                   np.zeros((0, 0), np.int64), 0.0)


@dataclass
class CoNNTrA:
    """Coordinate descent over discrete parameters, without a gradient.

    Each visit picks a parameter p_i uniformly at random, tries every level and keeps the last one of least error:

        p_i <- max { q in levels : error(p with p_i = q) is least }

    The error is the misclassification rate (the paper's) or the cross-entropy, on the whole training set or a subset.
    The error never rises, and a visit changes at most one parameter.

    Reference: Date et al., "Training Deep Neural Networks with Constrained Learning Parameters", 2020, Algorithm 2;
    methods/README.md, section 3.

    Args:
        levels: set of normalised levels that all parameters, biases included, are put on.
        error: quantity that visits lower, "rate" (misclassification) or "cross-entropy".
        surrogate: number of first passes that lower the cross-entropy instead of `error`; at least 0.
        subset: number of training samples searched on, drawn once by the seed; 0 takes all.
        inverse_temperature: factor on the logits in the cross-entropy, besides their scales; above 0.
        visits: visits per step; 0 makes an epoch one pass, as many visits as there are parameters.
    """

    levels: LevelSet = NAMED["ternary"]
    error: str = RATE
    surrogate: int = 0
    subset: int = 0
    inverse_temperature: float = 1.0
    visits: int = 0

    done = False

    def __post_init__(self):
        """Refuse hyper-parameters that mean nothing."""
        if self.error not in (RATE, CROSS_ENTROPY):
            raise UsageError(f"--conntra.error {self.error}: {did_you_mean(self.error, (RATE, CROSS_ENTROPY))}")
        for name, value in (("surrogate", self.surrogate), ("subset", self.subset), ("visits", self.visits)):
            if value < 0:
                raise UsageError(f"--conntra.{name} {value}: must be at least 0")
        if not self.inverse_temperature > 0:
            raise UsageError(f"--conntra.inverse-temperature {self.inverse_temperature}: must be above 0")

    def begin(self, model, optimizer, data, streams, state=None):
        """Round the model's parameters, or go on from a state; compute everything that is kept."""
        self.streams, self.samples = streams, len(data)
        _refuse_unconstrained(model)
        x, y = data.batch(self._chosen(len(data)))
        try:
            self.search = ChainSearch(model, self.levels, x, y)
        except NoChain as reason:
            self.search = NetworkSearch(model, self.levels, x, y, reason)
        if state is None:
            self._start(*self.search.rounded(), dict.fromkeys(COUNTS, 0))
        else:
            self.load_state(state)

    @property
    def notice(self):
        """What there is to say of the cost before the first step."""
        return self.search.notice

    def step(self, batches):
        """The visits that are this step's share of the pass; returns the error they left."""
        self._set_error()
        total, counts = len(self.search.codes), self.counts
        counts["seen"] = min(counts["seen"] + sum(len(batch.y) for batch in batches), self.samples)
        made = counts["made"]
        counts["made"] = min(made + self.visits, total) if self.visits else counts["seen"] * total // self.samples
        picks = self.streams.key("conntra", counts["pass"]).integers(0, total, total)[made:counts["made"]]
        return self._visit(picks)

    def visits_of(self, samples):
        """How many visits are made in a step on so many samples."""
        return self.visits or len(self.search.codes) * samples // self.samples

    def so_far(self):
        """The error, or the cross-entropy, after the last visit, and the moves of the pass."""
        name = "objective" if self._sharpness() else "error"
        return {name: self.search.mean_error(), "moves": self.counts["moves"]}

    def end_epoch(self, validation=None):
        """The figures of the pass, and on to the next."""
        record = {"train_accuracy": self.search.accuracy(), "train_objective": self.search.mean_error(),
                  "moves": self.counts["moves"], "visits": self.counts["visits"]}
        self.counts.update({"pass": self.counts["pass"] + 1, "seen": 0, "made": 0, "moves": 0})
        return record

    def finish(self):
        """Every parameter has been on its level since `begin`."""

    def state(self):
        """The codes, the scales, and where in the pass the search is."""
        return {"codes": self.search.codes.copy(), "scales": self.search.scales.copy(), **self.counts}

    def load_state(self, state):
        """Take over what `state` gave; BadInput lists what does not fit the network."""
        refuse_unfit(state, {"codes": self.search.codes.shape, "scales": self.search.scales_shape,
                             **dict.fromkeys(COUNTS, ())})
        self._start(np.asarray(state["codes"], np.uint8), np.array(state["scales"], np.float64),
                    {name: int(state[name]) for name in COUNTS})

    def _start(self, codes, scales, counts):
        self.counts = counts
        self.search.place(codes, scales)
        self._set_error()

    def _sharpness(self):
        """What the logits are multiplied by in this pass's cross-entropy; 0 where the error is the rate."""
        surrogate = self.error == CROSS_ENTROPY or self.counts["pass"] < self.surrogate
        return self.inverse_temperature if surrogate else 0.0

    def _set_error(self):
        self.search.set_error(self._sharpness())

    def _visit(self, picks):
        self.visited = NO_VISITS
        if len(picks):
            before = self.search.error()
            self.visited = Visits(picks, *self.search.visit(picks), self._sharpness())
            if (np.diff(self.visited.errors, prepend=before) > 0).any():
                raise TinyqError("conntra: the error rose at a visit; this is a fault in tinyq")
            self.counts["visits"] += len(picks)
            self.counts["moves"] += int(self.visited.moved.sum())
        return self.search.mean_error()

    def _chosen(self, samples):
        """Indices of the samples searched on."""
        if self.subset > samples:
            raise UsageError(f"--conntra.subset {self.subset}: there are {samples} training samples")
        order = self.streams.key("conntra-subset").permutation(samples)
        return np.sort(order[:self.subset]) if self.subset else np.arange(samples)


def _refuse_unconstrained(model):
    if not all(p.constrained for p in model.parameters() if p.ndim > 1):
        raise UsageError("--method conntra: it constrains every parameter; add --constrain all")
