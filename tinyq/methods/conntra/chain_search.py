"""Search over a chain of layers: only the change that a candidate makes is carried forward."""
import numpy as np

from tinyq import kernels
from tinyq.kernels.search.tables import LOSS_UNIT, NOT_TRIED
from tinyq.kernels.search.tables import Search as SearchArrays
from tinyq.levels import Levels
from tinyq.methods.conntra.chain import Stage
from tinyq.methods.conntra.rounding import install_quantizers, round_chain, show, units_of
from tinyq.methods.conntra.search import error_of, labels_of
from tinyq.methods.conntra.search_setup import logits_of, place, search_of, set_norms
from tinyq.methods.conntra.units import integer_units
from tinyq.nn import Parameter
from tinyq.output.work import Work
from tinyq.tasks.loss import Loss

AT_ONCE = 1000                          # visits in one call of the kernel: so often, the work is heard of


class ChainSearch:
    """Codes of every parameter, and the network's error on a fixed set of samples.

    If inputs and levels are multiples of 1/256, everything is computed in integers, without rounding. Otherwise it is
    float64, and the stored results are recomputed from the parameters at every `set_error`. Misclassifications and
    cross-entropies are counted by the kernels; another loss is computed from the outputs of every candidate.
    """

    notice = ""

    def __init__(self, stages: list[Stage], levels: Levels, x: np.ndarray, y: np.ndarray) -> None:
        """Store x (samples, ...) and the targets y for the kernels; levels: for all layers, or for each."""
        self.stages, self.levels, self.targets = stages, levels, y
        self.loss: Loss | None = None
        self.units = integer_units(self.stages, levels, x)
        self.held = search_of(self.stages, self.units, self.units.of(x), labels_of(y))
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

    @property
    def output_scale(self) -> float:
        """The factor that turns a kept output into the network's."""
        return 1 / self.units.logits * units_of(self.stages, self.scales)[1]

    def set_error(self, inverse_temperature: float, loss: Loss | None = None) -> None:
        """Count wrong classifications (0), the cross-entropy of the logits times `inverse_temperature`, or a loss."""
        logit_scale = 0.0
        if inverse_temperature and loss is None:
            logit_scale = inverse_temperature / self.units.logits * units_of(self.stages, self.scales)[1]
        self.loss = loss
        if logit_scale != self.held.logit_scale[0] or not self.units.exact:
            self.held.logit_scale[0] = logit_scale
            kernels.recompute(self._every_unit, self.held)
        if loss is not None:
            self._best = error_of(loss, self.results() * self.output_scale, self.targets)

    def visit(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Visit these parameters in turn; return codes, errors, moved and tried of Visits."""
        found = []
        with Work("CoNNTrA's step", len(picks), "visits") as work:
            for start in range(0, len(picks), AT_ONCE):
                found.append((kernels.visit if self.loss is None else self._visit)(picks[start:start + AT_ONCE],
                                                                                   self.held))
                work.advance(len(found[-1][0]))
        show(self.stages, self.held.codes)
        codes, errors, moved, tried = map(np.concatenate, zip(*found, strict=True))
        return codes, errors, moved, tried

    def error(self) -> int:
        """Number of wrong classifications, or the cross-entropy or the loss in LOSS_UNIT."""
        return int(self.held.block_errors.sum()) if self.loss is None else self._best

    def mean_error(self) -> float:
        """Share of the samples that are classified wrongly, or their mean cross-entropy or loss."""
        if self.loss is not None:
            return self._best * LOSS_UNIT / self.loss.size(self.targets)
        unit = LOSS_UNIT if self.held.logit_scale[0] else 1
        return self.error() * unit / np.count_nonzero(self.held.labels >= 0)

    def results(self) -> np.ndarray:
        """Outputs (samples, outputs), in the units of the kernels."""
        return logits_of(self.held)

    def _visit(self, picks: np.ndarray, held: SearchArrays) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Visit as kernels.visit does, with the error that the loss gives."""
        codes, errors, moved = (np.zeros(len(picks), dtype) for dtype in (np.uint8, np.int64, np.bool_))
        tried, samples = np.full((len(picks), len(held.levels)), NOT_TRIED), len(self.targets)
        loss, scale = self.loss, self.output_scale
        assert loss is not None
        for k in range(len(picks)):
            pick = picks[k:k + 1]
            before = int(held.codes[pick[0]])
            for j, rows in enumerate(kernels.outputs_of_levels(pick, held)):
                outputs = np.ascontiguousarray(rows.reshape(len(rows), -1)[:, :samples].T)
                tried[k, j] = error_of(loss, outputs * scale, self.targets)
            self._best = int(tried[k].min())
            kept = int(np.flatnonzero(tried[k] == self._best)[-1])
            if kept != before:
                kernels.settle(pick, kept, held)
            codes[k], errors[k], moved[k] = kept, self._best, kept != before
        return codes, errors, moved, tried
