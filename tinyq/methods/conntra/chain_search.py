"""The search over a network that is a chain: what a candidate changes is carried forward, nothing else is computed."""
import numpy as np

from tinyq import kernels
from tinyq.kernels.search.tables import LOSS_UNIT
from tinyq.methods.conntra.chain import chain_of
from tinyq.methods.conntra.rounding import install_views, round_chain, show, units_of
from tinyq.methods.conntra.search_setup import logits_of, place, search_of, set_norms
from tinyq.methods.conntra.units import integer_units


class ChainSearch:
    """Codes of every parameter, and the error of the network they make on samples that stay the same.

    Where inputs and levels are multiples of 1/256, everything is computed in integers, without rounding. Elsewhere
    it is float64, and what is kept is recomputed from the parameters at every `set_error`.
    """

    notice = ""

    def __init__(self, model, level_set, x, y):
        """x (samples, ...), y (samples,). NoChain for a network that is none."""
        self.stages, self.level_set = chain_of(model, x[:1]), level_set
        self.units = integer_units(self.stages, level_set, x)
        self.held = search_of(self.stages, self.units, self.units.of(x), y)
        self.scales_shape = len(self.stages), 2
        width = max(self.held.kept_narrow.shape[1], self.held.kept_wide.shape[1])
        self._every_unit = np.arange(width)

    @property
    def codes(self):
        """(parameters,) uint8: indices into the ascending levels."""
        return self.held.codes

    def rounded(self):
        """(codes, scales) of the model's present parameters."""
        return round_chain(self.stages, self.level_set, self.units.inputs)

    def place(self, codes, scales):
        """Give the model these codes and scales; `set_error` comes next."""
        self.scales = scales
        place(self.held, codes)
        set_norms(self.held, self.stages, units_of(self.stages, scales)[0])
        install_views(self.stages, self.level_set, self.units.inputs, scales)
        show(self.stages, codes)
        self.held.logit_scale[0] = np.nan                 # whatever comes is another error

    def set_error(self, inverse_temperature):
        """Count wrong classifications (0), or the cross-entropy of the logits times `inverse_temperature`."""
        logit_scale = 0.0
        if inverse_temperature:
            logit_scale = inverse_temperature / self.units.logits * units_of(self.stages, self.scales)[1]
        if logit_scale != self.held.logit_scale[0] or not self.units.exact:
            self.held.logit_scale[0] = logit_scale
            kernels.recompute(self._every_unit, self.held)

    def visit(self, picks):
        """Visit these parameters in turn: (code, error after each visit, whether it moved, error of every level)."""
        found = kernels.visit(picks, self.held)
        show(self.stages, self.held.codes)
        return found

    def error(self):
        """Samples classified wrongly, or their cross-entropy in LOSS_UNIT."""
        return int(self.held.block_errors.sum())

    def mean_error(self):
        """The share of the samples, or their mean cross-entropy."""
        unit = LOSS_UNIT if self.held.logit_scale[0] else 1
        return self.error() * unit / np.count_nonzero(self.held.labels >= 0)

    def accuracy(self):
        """Share of the samples that are classified rightly."""
        labels = self.held.labels[self.held.labels >= 0]
        return np.count_nonzero(logits_of(self.held).argmax(axis=1) == labels) / len(labels)
