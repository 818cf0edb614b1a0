"""Search over a network that is not a chain: a candidate re-runs the layers from the changed one onwards.

The layers before keep their outputs. This serves networks with shortcuts or branches, through which
tinyq/kernels/search/visit.py cannot carry a change.
"""
import os
import time

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor, no_record
from tinyq.errors import BadInput, UsageError
from tinyq.kernels.search.tables import LOSS_UNIT, NOT_TRIED
from tinyq.levels import Levels
from tinyq.methods.conntra.chain import has_sublayers
from tinyq.methods.conntra.search import error_of, labels_of
from tinyq.methods.least_squares_scale import best_scale
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.nn import Module, evaluating, hooked, quantizer_of
from tinyq.output.work import Work
from tinyq.tasks.loss import Loss

CHUNK = 16                              # samples that go through the network at once
YEAR, DAY = 365.25 * 86400, 86400


class NetworkSearch:
    """Codes of every parameter, and the network's error on a fixed set of samples.

    Every parameter tensor has its own scale, the one of least squared rounding error. Logits are float32, as in the
    network's evaluation. A layer in evaluation depends only on its input, so a layer whose input has not changed is not
    run again.
    """

    held = None

    def __init__(self, model: Module, levels: Levels, x: np.ndarray, y: np.ndarray, reason: str) -> None:
        """Store x (samples, ...) and the targets y. reason: why the network is not a chain."""
        self.model, self.targets, self.labels, self.reason = model, y, labels_of(y), reason
        self.loss: Loss | None = None
        self.chunks = [x[start:start + CHUNK] for start in range(0, len(x), CHUNK)]
        self.parameters = list(model.named_parameters())
        self.sets = [levels.of(name) for name, _ in self.parameters]
        self.most_levels = max(len(level_set.levels) for level_set in self.sets)
        ends = np.cumsum([p.size for _, p in self.parameters])
        self.starts = np.concatenate([[0], ends[:-1]])
        self.codes, self.scales_shape = np.zeros(ends[-1], np.uint8), (len(self.parameters),)
        self.scales = np.zeros(self.scales_shape)
        self.inverse_temperature, self.notice = 0.0, ""
        self.logits, self.first_call = np.zeros((0, 0), np.float32), dict[int, int]()

    def rounded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (codes, scales) of the model's present parameters, rounded."""
        for name, p in self.parameters:
            if not np.isfinite(p.data).all():
                raise BadInput(f"{name}: its pretrained values are not all finite; give a trained network")
        flat = [p.data.reshape(-1).astype(np.float64) for _, p in self.parameters]
        scales = np.array([best_scale(w, level_set) or 1.0 for w, level_set in zip(flat, self.sets, strict=True)])
        codes = [level_set.codes(w, s) for w, s, level_set in zip(flat, scales, self.sets, strict=True)]
        return np.concatenate(codes), scales

    def place(self, codes: np.ndarray, scales: np.ndarray) -> None:
        """Give the model these codes and scales; call `set_error` afterwards."""
        self.scales, self.codes[:] = scales, codes
        for (_, p), level_set, scale, start in zip(self.parameters, self.sets, scales, self.starts, strict=True):
            p.parametrization = LevelQuantizer(level_set, np.asarray(scale, p.dtype))
            values = level_set.values.astype(p.dtype)[self.codes[start:start + p.size]]
            p.data[...] = (p.parametrization.scale * values).reshape(p.shape)
        self._run_all()

    def set_error(self, inverse_temperature: float, loss: Loss | None = None) -> None:
        """Count wrong classifications (0), the cross-entropy of the logits times `inverse_temperature`, or a loss."""
        self.inverse_temperature, self.loss = inverse_temperature, loss
        self.best = self._error_of(self.logits)

    def visit(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Visit these parameters in turn; return codes, errors, moved and tried of Visits."""
        codes, errors, moved = (np.zeros(len(picks), dtype) for dtype in (np.uint8, np.int64, np.bool_))
        tried = np.full((len(picks), self.most_levels), NOT_TRIED, np.int64)
        with Work("CoNNTrA's step", len(picks), "visits") as work:
            for k, pick in enumerate(picks.tolist()):
                errors[k], moved[k] = self._visit(pick, tried[k])
                codes[k] = self.codes[pick]
                work.advance()
        return codes, errors, moved, tried

    def error(self) -> int:
        """Number of wrong classifications, or the cross-entropy or the loss in LOSS_UNIT."""
        return self.best

    def mean_error(self) -> float:
        """Share of the samples that are classified wrongly, or their mean cross-entropy or loss."""
        size = len(self.targets) if self.loss is None else self.loss.size(self.targets)
        return self.best * (LOSS_UNIT if self.inverse_temperature else 1) / size

    def results(self) -> np.ndarray:
        """Outputs (samples, outputs) float32."""
        return self.logits

    def _visit(self, pick, tried):
        """Try every level in ascending order and write its error into `tried`; keep the last one of least error."""
        t = int(self.starts.searchsorted(pick, side="right")) - 1
        p, k = self.parameters[t][1], pick - self.starts[t]
        shown = quantizer_of(p).scale * self.sets[t].values.astype(p.dtype)
        before = kept = self.codes[pick]
        outcome = None
        for code, value in enumerate(shown):
            if code == before:
                error, found = self._error_of(self.logits), None
            else:
                p.data.reshape(-1)[k] = value
                found = self._run_from(self.first_call[t])
                error = self._error_of(found[0])
            tried[code] = error
            if error <= self.best:
                self.best, kept, outcome = error, code, found
        p.data.reshape(-1)[k] = shown[kept]
        self.codes[pick] = kept
        if outcome is not None:
            self.logits, self.outputs = outcome
        return self.best, kept != before

    def _run_all(self):
        """Compute the logits and every layer's outputs, and write the cost of a visit into self.notice."""
        self.outputs = []
        own = {id(p): t for t, (_, p) in enumerate(self.parameters)}
        self.first_call, begun = {}, dict[int, float]()
        for x in self.chunks:
            run = _Run(self.model, 0, [])
            self.outputs.append(run.forward(x)[1])
            if x is self.chunks[0]:
                self._check_memory(run.outputs)
            for call, (layer, since) in enumerate(run.calls):
                for p in layer.parameters():
                    self.first_call.setdefault(own[id(p)], call)
                begun[call] = begun.get(call, 0.0) + run.ended - since
        self.logits = np.concatenate([outputs[-1] for outputs in self.outputs])
        self.first_call = {t: self.first_call.get(t, 0) for t in range(len(self.parameters))}
        seconds = sum(p.size * begun[self.first_call[t]] * (len(level_set.levels) - 1)
                      for t, ((_, p), level_set) in enumerate(zip(self.parameters, self.sets, strict=True)))
        self._state_cost(seconds / len(self.codes))

    def _run_from(self, call):
        """Return (logits, outputs), using the stored outputs of the layers before this call."""
        outputs = [_Run(self.model, call, kept).forward(x)[1]
                   for x, kept in zip(self.chunks, self.outputs, strict=True)]
        return np.concatenate([of_chunk[-1] for of_chunk in outputs]), outputs

    def _error_of(self, logits):
        """Return the number of wrong classifications, or the sum of cross-entropies or losses in LOSS_UNITs."""
        if self.loss is not None:
            return error_of(self.loss, logits.astype(np.float64), self.targets)
        if not self.inverse_temperature:
            return int(np.count_nonzero(logits.argmax(axis=1) != self.labels))
        shifted = (logits - logits.max(axis=1, keepdims=True)) * np.float32(self.inverse_temperature)
        totals = kernels.log(kernels.sum(kernels.exp(shifted), (1,)))
        losses = totals.astype(np.float64) - shifted[np.arange(len(shifted)), self.labels]
        return int(np.floor(losses / LOSS_UNIT + 0.5).astype(np.int64).sum())

    def _state_cost(self, seconds):
        total = seconds * len(self.codes)
        length = f"{total / YEAR:,.1f} years" if total > YEAR else f"{total / DAY:,.1f} days"
        self.notice = (f"conntra: {self.reason}, so each candidate re-runs the network from its layer on: about "
                       f"{seconds:.2g} s per visit over {len(self.targets):,} samples, {length} for a pass of "
                       f"{len(self.codes):,} visits; the setting visits limits the visits per step")

    def _check_memory(self, outputs):
        needed = 2 * len(self.chunks) * sum(array.nbytes for array in outputs)
        held = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > held // 2:
            raise UsageError(f"subset must be smaller: the layers' outputs for {len(self.targets):,} samples take "
                             f"{needed >> 20:,} MiB, more than half of the {held >> 20:,} MiB of memory")


class _Run:
    """One evaluation of a network in which layer calls before a given one return their stored outputs."""

    def __init__(self, model, first, kept):
        self.model, self.first, self.kept = model, first, kept
        self.outputs, self.calls = [], []

    def forward(self, x):
        """Return (logits, outputs of all calls followed by the logits)."""
        leaves = [layer for _, layer in self.model.named_modules() if not has_sublayers(layer)]
        with hooked(leaves, self._run_or_recall), evaluating(self.model), no_record():
            logits = self.model(Tensor(x)).data
        self.ended = time.perf_counter()
        self.outputs.append(logits)
        return logits, self.outputs

    def _run_or_recall(self, layer, call, *inputs, **options):
        number = len(self.calls)
        self.calls.append((layer, time.perf_counter()))
        y = Tensor(self.kept[number]) if number < self.first else call(*inputs, **options)
        self.outputs.append(y.data)
        return y
