"""Define the interface of CoNNTrA's two searches: codes of all parameters, and the error of their network."""
import math
from typing import NamedTuple, Protocol

import numpy as np

from tinyq.autodiff import Tensor, no_record
from tinyq.kernels.search.tables import LOSS_UNIT
from tinyq.kernels.search.tables import Search as SearchArrays
from tinyq.methods.gradient_step import require_finite
from tinyq.nn import Parameter
from tinyq.tasks.loss import Loss

MOST = 2**62                            # of an error


class Visits(NamedTuple):
    """The visits of one step, one entry each.

    picks: int64, indices of parameters. codes: uint8, the level kept. errors: int64, the error after the visit.
    moved: bool. tried: int64 (visits, levels of the largest set), the error of each level, NOT_TRIED behind the last of
    a smaller set. inverse_temperature: factor on the logits if errors are cross-entropies; 0 if they count
    misclassifications, 1 if they are those of a loss.
    """

    picks: np.ndarray
    codes: np.ndarray
    errors: np.ndarray
    moved: np.ndarray
    tried: np.ndarray
    inverse_temperature: float

    @classmethod
    def zeros(cls, visits: int, levels: int) -> "Visits":
        """Make arrays of zeros for this number of visits and levels."""
        picks, codes, errors, moved = (np.zeros(visits, dtype) for dtype in (np.int64, np.uint8, np.int64, np.bool_))
        return cls(picks, codes, errors, moved, np.zeros((visits, levels), np.int64), 0.0)


class Search(Protocol):
    """Codes of every parameter, and the network's error on a fixed set of samples."""

    @property
    def held(self) -> SearchArrays | None:
        """The arrays that the kernels work on; None if the network is not a chain of layers."""

    @property
    def notice(self) -> str:
        """A line on the cost of a visit, or ""."""

    @property
    def scales(self) -> np.ndarray:
        """Scales of the levels: float64, of shape `scales_shape`."""

    @property
    def scales_shape(self) -> tuple[int, ...]:
        """Shape of `scales`: one entry per weight; in a chain, a pair per layer."""

    @property
    def parameters(self) -> list[tuple[str, Parameter]]:
        """(dotted name, Parameter) in the order of the codes."""

    @property
    def most_levels(self) -> int:
        """Number of levels of the largest set."""

    @property
    def codes(self) -> np.ndarray:
        """(parameters,) uint8, indices into the ascending levels of each."""

    def rounded(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (codes, scales) of the model's present parameters, rounded."""

    def place(self, codes: np.ndarray, scales: np.ndarray) -> None:
        """Give the model these codes and scales; call `set_error` afterwards."""

    @property
    def loss(self) -> Loss | None:
        """The loss that is the error; None for what the kernels count."""

    def set_error(self, inverse_temperature: float, loss: Loss | None = None) -> None:
        """Count wrong classifications (0), the cross-entropy of the logits times `inverse_temperature`, or a loss."""

    def visit(self, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Visit these parameters in turn; return codes, errors, moved and tried of Visits."""

    def error(self) -> int:
        """Number of wrong classifications, or the cross-entropy or the loss, summed over samples, in LOSS_UNIT."""

    def mean_error(self) -> float:
        """Share of the samples that are classified wrongly, or their mean cross-entropy or loss."""

    def results(self) -> np.ndarray:
        """The network's outputs (samples, outputs) for the samples; classes may be in units of their own."""


def labels_of(y: np.ndarray) -> np.ndarray:
    """Return labels (samples,): themselves, or the likeliest of probabilities; of other targets they mean nothing."""
    return y if y.ndim == 1 and y.dtype.kind in "iu" else y.reshape(len(y), -1).argmax(axis=1)


def error_of(loss: Loss, outputs: np.ndarray, y: np.ndarray) -> int:
    """Return the sum of a loss over samples in LOSS_UNIT, in float64, rounded to a whole number of them.

    outputs: (samples, outputs) float64. Diverged where the loss is not finite.
    """
    with no_record():
        total = loss(Tensor(outputs), y).item() * loss.size(y)
    require_finite(total, "the loss")
    return min(math.floor(total / LOSS_UNIT + 0.5), MOST)
