"""The error of one block of samples as an integer, from its logits (kernels/search.py)."""
import math

import numpy as np

from tinyq.kernels import search_rows as rows
from tinyq.kernels.compile import njit
from tinyq.kernels.functions import exp_of, log_of
from tinyq.kernels.search_layout import BLOCK, LOSS_UNIT


@njit
def misclassified(logits, first, classes, labels):
    """Samples whose label is not the class of the largest logit; the lower class wins a tie.

    logits: units, of which those from `first` on are the classes', (classes, BLOCK); labels (BLOCK,), -1 counts as
    no sample.
    """
    top, winner = logits[first].copy(), np.zeros(BLOCK, np.int32)
    for k in range(1, classes):
        rows.overtake(top, winner, logits[first + k], np.int32(k))
    wrong = 0
    for s in range(BLOCK):
        wrong += (labels[s] >= 0) & (winner[s] != labels[s])
    return wrong


@njit
def cross_entropy(logits, first, classes, labels, temperature):
    """The sum of the samples' cross-entropies in units of LOSS_UNIT, each rounded to a whole one (arguments as above).

    With d the distance of a logit to the largest one: log sum exp(-temperature d) + temperature d[label]. Exponentials
    and their sum, classes in ascending order, are float32.
    """
    top, total = logits[first].copy(), np.zeros(BLOCK, np.float32)
    for k in range(1, classes):
        rows.raise_to(top, logits[first + k])
    for k in range(classes):
        _add_exponentials(total, logits[first + k], top, temperature)
    units = 0
    for s in range(BLOCK):
        if labels[s] >= 0:
            loss = np.float64(log_of(total[s])) + (top[s] - logits[first + labels[s], s]) * temperature
            units += np.int64(math.floor(loss / LOSS_UNIT + 0.5))
    return units


@njit
def _add_exponentials(total, x, top, temperature):
    for s in range(BLOCK):
        total[s] = total[s] + exp_of(np.float32((x[s] - top[s]) * temperature))
