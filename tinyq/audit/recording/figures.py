"""What each method's record of a step holds beside gradients and weights: its own figures and digests."""
import numpy as np

from tinyq import kernels
from tinyq.audit.ledger.digests import digest_of
from tinyq.levels import rounded_down
from tinyq.methods import CBP, RPR, CoNNTrA


class Figures:
    """Of a method without figures of its own."""

    def __init__(self, method, kind):
        """method: one that has begun; kind: of digests, a key of digests.KINDS."""
        self.method, self.kind = method, kind

    def step(self) -> dict:
        """Of the step just done."""
        last = self.method.last_step
        return {"loss": last.loss.hex(), "objective": last.objective.hex(), "correct": last.correct,
                "samples": last.samples}

    def epoch(self) -> dict:
        """Of the state that the next epoch begins with, or the first one."""
        return {}

    def _root(self, arrays):
        return digest_of(self.kind, arrays).root


class _OfLevels(Figures):
    """Also counts flips: constrained weights whose nearest level is another than before the step.

    A subclass says where that is: thresholds_of(layer), as kernels.recode takes them.
    """

    def __init__(self, method, kind):
        super().__init__(method, kind)
        self.layers = method.weights
        self.codes = [np.zeros(layer.parameter.shape, np.uint8) for layer in self.layers]
        self.thresholds = [self.thresholds_of(layer) for layer in self.layers]
        self._flips()

    def _flips(self):
        return sum(int(kernels.recode(layer.parameter.data, thresholds, codes))
                   for layer, thresholds, codes in zip(self.layers, self.thresholds, self.codes, strict=True))


class OfCBP(_OfLevels):
    """g, the multipliers (a digest a step, their sum an epoch), the scales, flips."""

    def thresholds_of(self, layer):
        """Midpoints in the weights' units."""
        midpoints = np.multiply.outer(np.asarray(layer.view.scale, np.float64), layer.view.level_set.midpoints)
        return rounded_down(midpoints, layer.parameter.dtype)

    def step(self):
        """The shared figures; g; the multipliers' digest; flips."""
        return {**super().step(), "g": self.method.g, "lambda": self._multipliers(), "flips": self._flips()}

    def epoch(self):
        """g, the multipliers' digest and sum, the scales, and the epochs since the schedule fired."""
        total = 0.0
        for layer in self.layers:
            total += kernels.sum(layer.multiplier.data.reshape(-1), (0,)).item()
        return {"g": self.method.g, "lambda": self._multipliers(), "lambda_sum": total.hex(),
                "scales": self._root([layer.view.scale for layer in self.layers]),
                "since_fired": self.method.epochs_since_fired}

    def _multipliers(self):
        return self._root([layer.multiplier.data for layer in self.layers])


class OfRPR(_OfLevels):
    """The frozen fraction and which entries they are; that these and their moments stay as they are; flips."""

    def thresholds_of(self, layer):
        """Midpoints in units of the scale."""
        return rounded_down(layer.unit_view.level_set.midpoints, layer.parameter.dtype)

    def step(self):
        """The shared figures; digests of the partition and of everything frozen; flips."""
        return {**super().step(), "mask": self._mask, "still": self._still(), "flips": self._flips()}

    def epoch(self):
        """The fraction, how many entries are frozen, and digests: of the partition, the frozen, the scales."""
        if self.method.done:
            return {"scales": self._scales()}
        frozen = [~layer.relaxed for layer in self.layers]
        self._keep = [mask.astype(np.uint32).reshape(-1) * np.uint32(0xFFFFFFFF) for mask in frozen]
        self._mask = self._root([np.packbits(mask) for mask in frozen])
        return {"fraction": str(self.method.ramp.fractions[self.method.stage]), "mask": self._mask,
                "frozen": [int(np.count_nonzero(mask)) for mask in frozen], "still": self._still(),
                "scales": self._scales()}

    def _still(self):
        """Of the latents and the optimiser's memory of them, with everything relaxed left out."""
        arrays = []
        for layer, keep in zip(self.layers, self._keep, strict=True):
            optimizer = self.method.optimizer
            memory = optimizer.memory_of(layer.parameter) or [np.zeros_like(layer.parameter.data)
                                                              for _ in optimizer.arrays]
            arrays += [a.reshape(-1).view(np.uint32) & keep for a in (layer.parameter.data, *memory)]
        return self._root(arrays)

    def _scales(self):
        return self._root([layer.scale for layer in self.layers])


class OfCoNNTrA(Figures):
    """The sweep's visits: which, the error of every level tried, what was chosen; the moves one by one."""

    def step(self):
        """The error left; digests of the picks, and of all that the visits tried and chose; every move.

        A move is [visit, parameter, code, error].
        """
        visits, search = self.method.visited, self.method.search
        at = np.flatnonzero(visits.moved)
        moves = np.stack([at, *(array[at] for array in (visits.picks, visits.codes, visits.errors))], 1)
        return {"objective": float(search.mean_error()).hex(), "inverse_temperature": visits.inverse_temperature.hex(),
                "pass": self.method.counts["pass"], "visits": len(visits.picks), "picks": self._root([visits.picks]),
                "visited": self._root([visits.picks, visits.tried, visits.codes, visits.errors]),
                "error": int(search.error()), "moves": moves.tolist()}

    def epoch(self):
        """The codes' digest and the scales'."""
        return {"codes": self._root([self.method.search.codes]), "scales": self._root([self.method.search.scales])}


OF_METHOD = {CBP: OfCBP, RPR: OfRPR, CoNNTrA: OfCoNNTrA}


def figures_of(method, kind) -> Figures:
    """The Figures of a method: a row of OF_METHOD, or the shared ones."""
    return OF_METHOD.get(type(method), Figures)(method, kind)
