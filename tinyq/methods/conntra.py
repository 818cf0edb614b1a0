"""CoNNTrA: coordinate descent over discrete parameters (Date et al. 2020, Algorithm 2; METHODS.md, section 3).

Every parameter, biases included, is put on its nearest level. Then parameters are visited, each picked uniformly at
random: every level is tried, and the last of those with the least error on the training set is kept. There is no
gradient, and no candidate is given a run of the network: see tinyq/kernels/search.py.

An epoch is one pass: as many visits as there are parameters. A step makes the share of them that its batch is of the
training set, and looks at nothing else of the batch.
"""
from dataclasses import dataclass

import numpy as np

from tinyq import kernels
from tinyq.errors import TinyqError, UsageError, did_you_mean
from tinyq.kernels.search_layout import LOSS_UNIT
from tinyq.levels import NAMED, LevelSet
from tinyq.methods.base import refuse_unfit
from tinyq.methods.conntra_chain import chain_of
from tinyq.methods.conntra_rounding import install_views, round_chain, show, units_of
from tinyq.methods.conntra_search import logits_of, place, search_of, set_norms
from tinyq.methods.conntra_units import integer_units

RATE, CROSS_ENTROPY = "rate", "cross-entropy"
COUNTS = ("pass", "seen", "visits", "moves")


@dataclass
class CoNNTrA:
    """CoNNTrA.

    levels: the set. error: what a visit lowers, "rate" (of misclassification, the paper's) or "cross-entropy".
    surrogate: so many passes lower the cross-entropy before those that lower `error`. subset: of so many training
    samples, the same for the whole run, drawn by the seed (0: all of them). sharpness: what the
    cross-entropy multiplies the logits by, besides their scales.

    Where inputs and levels are multiples of 1/256, everything is computed in integers, without rounding. Elsewhere
    it is float64, and what is kept is recomputed from the parameters at the start of every step.
    """

    levels: LevelSet = NAMED["ternary"]
    error: str = RATE
    surrogate: int = 0
    subset: int = 0
    sharpness: float = 1.0

    done = False

    def __post_init__(self):
        """Refuse hyper-parameters that mean nothing."""
        if self.error not in (RATE, CROSS_ENTROPY):
            raise UsageError(f"--conntra.error {self.error}: {did_you_mean(self.error, (RATE, CROSS_ENTROPY))}")
        for name, value in (("surrogate", self.surrogate), ("subset", self.subset)):
            if value < 0:
                raise UsageError(f"--conntra.{name} {value}: must be at least 0")
        if not self.sharpness > 0:
            raise UsageError(f"--conntra.sharpness {self.sharpness}: must be above 0")

    def begin(self, model, optimizer, data, streams, state=None):
        """Round the model's parameters, or go on from a state; compute everything that is kept."""
        self.streams_, self.samples_ = streams, len(data)
        x, y = data.batch(self._chosen(len(data)))
        self.stages_ = chain_of(model, x[:1])
        self._refuse_unconstrained()
        self.units_ = integer_units(self.stages_, self.levels, x)
        self.search_ = search_of(self.stages_, self.units_, self.units_.of(x), y)
        width = max(self.search_.kept_narrow.shape[1], self.search_.kept_wide.shape[1])
        self.every_unit_ = np.arange(width)
        if state is None:
            codes, scales = round_chain(self.stages_, self.levels, self.units_.inputs)
            self._start(codes, scales, dict.fromkeys(COUNTS, 0))
        else:
            self.load_state(state)

    def step(self, batches):
        """The visits that are this step's share of the pass; returns the error they left."""
        self._set_error()
        total, counts = len(self.search_.codes), self.counts_
        seen = counts["seen"] + sum(len(batch.y) for batch in batches)
        first, last = (min(n, self.samples_) * total // self.samples_ for n in (counts["seen"], seen))
        picks = self.streams_.key("conntra", counts["pass"]).integers(0, total, total)[first:last]
        counts["seen"] = seen
        return self._visit(picks)

    def so_far(self):
        """The error, or the cross-entropy, after the last visit, and the moves of the pass."""
        name = "objective" if self.search_.temperature[0] else "error"
        return {name: self._error(), "moves": self.counts_["moves"]}

    def end_epoch(self, validation=None):
        """The figures of the pass, and on to the next."""
        record = {"train_accuracy": self.accuracy(), "train_objective": self._error(), "moves": self.counts_["moves"],
                  "visits": self.counts_["visits"]}
        self.counts_.update({"pass": self.counts_["pass"] + 1, "seen": 0, "moves": 0})
        return record

    def accuracy(self):
        """Share of the samples searched on that are classified rightly."""
        labels = self.search_.labels[self.search_.labels >= 0]
        return np.count_nonzero(logits_of(self.search_).argmax(axis=1) == labels) / len(labels)

    def finish(self):
        """Every parameter has been on its level since `begin`."""

    def state(self):
        """The codes, the scales, and where in the pass the search is."""
        return {"codes": self.search_.codes.copy(), "scales": self.scales_.copy(), **self.counts_}

    def load_state(self, state):
        """Take over what `state` gave; BadInput lists what does not fit the network."""
        refuse_unfit(state, {"codes": self.search_.codes.shape, "scales": (len(self.stages_), 2),
                             **dict.fromkeys(COUNTS, ())})
        self._start(np.asarray(state["codes"], np.uint8), np.array(state["scales"], np.float64),
                    {name: int(state[name]) for name in COUNTS})

    def _start(self, codes, scales, counts):
        self.scales_, self.counts_ = scales, counts
        place(self.search_, codes)
        set_norms(self.search_, self.stages_, units_of(self.stages_, scales)[0])
        install_views(self.stages_, self.levels, self.units_.inputs, scales)
        show(self.stages_, codes)
        self._set_error(always=True)

    def _set_error(self, always=False):
        """The error of this pass, and with another one, or where sums round, everything kept computed anew."""
        temperature = 0.0
        if self.error == CROSS_ENTROPY or self.counts_["pass"] < self.surrogate:
            temperature = self.sharpness / self.units_.logits * units_of(self.stages_, self.scales_)[1]
        if always or temperature != self.search_.temperature[0] or not self.units_.exact:
            self.search_.temperature[0] = temperature
            kernels.recompute(self.every_unit_, self.search_)

    def _visit(self, picks):
        if len(picks):
            before = int(self.search_.block_errors.sum())
            _, errors, moved = kernels.visit(picks, self.search_)
            if (np.diff(errors, prepend=before) > 0).any():
                raise TinyqError("conntra: the error rose at a visit; this is a fault in tinyq")
            self.counts_["visits"] += len(picks)
            self.counts_["moves"] += int(moved.sum())
            show(self.stages_, self.search_.codes)
        return self._error()

    def _error(self):
        """The error as a number: a share of the samples, or their mean cross-entropy."""
        unit = LOSS_UNIT if self.search_.temperature[0] else 1
        return int(self.search_.block_errors.sum()) * unit / np.count_nonzero(self.search_.labels >= 0)

    def _chosen(self, samples):
        """Indices of the samples searched on."""
        if self.subset > samples:
            raise UsageError(f"--conntra.subset {self.subset}: there are {samples} training samples")
        order = self.streams_.key("conntra-subset").permutation(samples)
        return np.sort(order[:self.subset]) if self.subset else np.arange(samples)

    def _refuse_unconstrained(self):
        if not all(stage.weight.constrained for stage in self.stages_):
            raise UsageError("--method conntra: it constrains every parameter; add --constrain all")
