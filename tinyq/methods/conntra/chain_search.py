"""Search over a chain of layers: only the change that a candidate makes is carried forward."""
import numpy as np

from tinyq import kernels
from tinyq.kernels.search.tables import LOSS_UNIT
from tinyq.levels import Levels
from tinyq.methods.conntra.chain import Stage
from tinyq.methods.conntra.rounding import install_quantizers, round_chain, show, units_of
from tinyq.methods.conntra.search_setup import logits_of, place, search_of, set_norms
from tinyq.methods.conntra.units import integer_units
from tinyq.nn import Parameter
from tinyq.output.work import Work

AT_ONCE = 1000                          # visits in one call of the kernel: so often, the work is heard of


class ChainSearch:
    """Codes of every parameter, and the network's error on a fixed set of samples.

    If inputs and levels are multiples of 1/256, everything is computed in integers, without rounding. Otherwise it is
    float64, and the stored results are recomputed from the parameters at every `set_error`.
    """

    notice = ""

    def __init__(self, stages: list[Stage], levels: Levels, x: np.ndarray, y: np.ndarray) -> None:
        """Store x (samples, ...) and y (samples,) for the kernels; levels: for all layers, or for each."""
        self.stages, self.levels = stages, levels
        self.units = integer_units(self.stages, levels, x)
        self.held = search_of(self.stages, self.units, self.units.of(x), y)
        self.scales_shape = len(self.stages), 2
        self.scales = np.zeros(self.scales_shape)
        width = max(self.held.kept_narrow.shape[1], self.held.kept_wide.shape[1])
        self._every_unit = np.arange(width)

    @property
    def parameters(self) -> list[tuple[str, Parameter]]:
        """List (dotted name, Parameter) in the order of the codes."""
        return [named for stage in self.stages for named in stage.parameters]

    @property
    def most_levels(self) -> int:
        """Number of levels of the largest set."""
        return len(self.held.levels)

    @property
    def codes(self) -> np.ndarray:
        """Indices into the ascending levels of each, (parameters,) uint8."""
        return self.held.codes

    def rounded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (codes, scales) of the model's present parameters, rounded."""
        return round_chain(self.stages, self.levels, self.units.inputs)

    def place(self, codes: np.ndarray, scales: np.ndarray) -> None:
        """Give the model these codes and scales; call `set_error` afterwards."""
        self.scales = scales
        place(self.held, codes)
        set_norms(self.held, self.stages, units_of(self.stages, scales)[0])
        install_quantizers(self.stages, self.levels, self.units.inputs, scales)
        show(self.stages, codes)
        self.held.logit_scale[0] = np.nan                 # makes the next set_error recompute

    def set_error(self, inverse_temperature: float) -> None:
        """Count wrong classifications (0), or the cross-entropy of the logits times `inverse_temperature`."""
        logit_scale = 0.0
        if inverse_temperature:
            logit_scale = inverse_temperature / self.units.logits * units_of(self.stages, self.scales)[1]
        if logit_scale != self.held.logit_scale[0] or not self.units.exact:
            self.held.logit_scale[0] = logit_scale
            kernels.recompute(self._every_unit, self.held)

    def visit(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Visit these parameters in turn; return codes, errors, moved and tried of Visits."""
        found = []
        with Work("CoNNTrA's step", len(picks), "visits") as work:
            for start in range(0, len(picks), AT_ONCE):
                found.append(kernels.visit(picks[start:start + AT_ONCE], self.held))
                work.advance(len(found[-1][0]))
        show(self.stages, self.held.codes)
        codes, errors, moved, tried = map(np.concatenate, zip(*found, strict=True))
        return codes, errors, moved, tried

    def error(self) -> int:
        """Number of wrong classifications, or the cross-entropy in LOSS_UNIT."""
        return int(self.held.block_errors.sum())

    def mean_error(self) -> float:
        """Share of the samples that are classified wrongly, or their mean cross-entropy."""
        unit = LOSS_UNIT if self.held.logit_scale[0] else 1
        return self.error() * unit / np.count_nonzero(self.held.labels >= 0)

    def accuracy(self) -> float:
        """Share of the samples that are classified correctly."""
        labels = self.held.labels[self.held.labels >= 0]
        return np.count_nonzero(logits_of(self.held).argmax(axis=1) == labels) / len(labels)
