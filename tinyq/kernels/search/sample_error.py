"""The error of one block of samples as an integer, from its logits (kernels/search/visit.py).

The cross-entropy of a sample is log sum exp(t z_k) - t z_label for logits z and logit_scale t. A term exp(t z) is taken
apart into 2**n e**r, n the integer nearest to t z / log 2 and |r| <= log(2) / 2; the terms are added in float32 in
ascending order of the class, all multiplied by the same power of two, which rounds nothing. So a sum does not depend
on that power, and unchanged terms need not be computed again. A term that leaves the range of float32, compared with
the largest, is too small to change the sum.
"""
import math

import numpy as np

from tinyq.kernels.elementwise.functions import exp_of, log_of
from tinyq.kernels.jit.compile import njit
from tinyq.kernels.search import unit_rows as rows
from tinyq.kernels.search.tables import BLOCK, FIRST, LN2, LOG2_E, LOSS_UNIT, MAX_EXPONENT, OWN, SECOND

MAX_SUM = np.float32(2.0**60)       # sums beyond it, or below its inverse, want another reference
MANTISSA, ONE_BITS = np.int32(0x7FFFFF), np.int32(0x3F800000)
FAR = -(2**62)                          # in place of an error: all terms must be recomputed


@njit
def error_of_all(units, output, classes, labels, logit_scale, leaders, terms, reference, spare):
    """Return the error of a block with these logits, units[output:output + classes], each (BLOCK,).

    labels: (BLOCK,), -1 counts as no sample. Fills in what Search keeps of the logits: leaders, terms, reference and
    the rows behind the logits. spare: (2, BLOCK) float32 to work in.
    """
    if logit_scale == 0:
        return _misclassified(units, output, classes, labels, leaders)
    return _cross_entropy(units, output, classes, labels, logit_scale, terms, reference, spare[0])


@njit
def error_of_one(units, o, kept, output, classes, labels, logit_scale, leaders, terms, reference, spare):
    """Return the error of a block whose logits are the kept ones, except that of class o, which is in units.

    FAR if the changed logit is too far from the others for the stored terms: then use error_of_all. The kept values
    are as error_of_all left them. Overwrites the label's logit behind those of units.
    """
    logit = units[output + o]
    if logit_scale == 0:
        return _misclassified_with(logit, o, kept[output + classes + FIRST], kept[output + classes + SECOND],
                                   labels, leaders[0], leaders[1])
    own, mine = kept[output + classes + OWN], units[output + classes + OWN]
    return _cross_entropy_with(logit, o, own, mine, labels, logit_scale, terms, reference, spare)


@njit
def _misclassified(units, output, classes, labels, leaders):
    """Count the samples whose label is not the class of the largest logit; the lower class wins a tie."""
    first, second = units[output + classes + FIRST], units[output + classes + SECOND]
    winner, runner = leaders[0], leaders[1]
    for s in range(BLOCK):
        first[s] = second[s] = units[output, s]
        winner[s] = runner[s] = 0
    for k in range(1, classes):
        _rank(first, second, winner, runner, units[output + k], np.int32(k))
    wrong = 0
    for s in range(BLOCK):
        wrong += (labels[s] >= 0) & (winner[s] != labels[s])
    return wrong


@njit
def _rank(first, second, winner, runner, x, k):
    """Put class k, higher than those before, in its place."""
    for s in range(BLOCK):
        wins, places = x[s] > first[s], (x[s] > second[s]) | (k == 1)
        second[s] = first[s] if wins else (x[s] if places else second[s])
        runner[s] = winner[s] if wins else (k if places else runner[s])
        first[s] = x[s] if wins else first[s]
        winner[s] = k if wins else winner[s]


@njit
def _misclassified_with(logit, o, first, second, labels, winner, runner):
    """_misclassified with class o's logit in place of the one that was ranked."""
    wrong = 0
    for s in range(BLOCK):
        leads = winner[s] == o
        rival, theirs = (runner[s], second[s]) if leads else (winner[s], first[s])
        wins = (logit[s] > theirs) | ((logit[s] == theirs) & (rival > o)) | (rival == o)     # no other class
        chosen = o if wins else rival
        wrong += (labels[s] >= 0) & (chosen != labels[s])
    return wrong


@njit
def _cross_entropy(units, output, classes, labels, logit_scale, terms, reference, total):
    """Return the sum of the samples' cross-entropies in units of LOSS_UNIT, each rounded to a whole one."""
    top, own = units[output + classes + FIRST], units[output + classes + OWN]
    for s in range(BLOCK):
        top[s] = own[s] = units[output, s]
    for k in range(1, classes):
        _select(top, own, units[output + k], labels, np.int32(k))
    for s in range(BLOCK):
        reference[s] = math.floor(top[s] * logit_scale * LOG2_E + 0.5)
        total[s] = 0
    for k in range(classes):
        _exponentials(terms[k], units[output + k], logit_scale, reference)
        rows.add(total, terms[k])
    return _losses(total, own, labels, logit_scale, reference)


@njit
def _cross_entropy_with(logit, o, own, mine, labels, logit_scale, terms, reference, spare):
    """_cross_entropy with class o's logit in place of the one whose term is stored; mine: the labels' logits then."""
    total, term = spare[0], spare[1]
    _exponentials(term, logit, logit_scale, reference)
    for s in range(BLOCK):
        total[s] = 0
    for k in range(len(terms)):
        rows.add(total, term if k == o else terms[k])
    far = np.int32(0)
    for s in range(BLOCK):
        mine[s] = logit[s] if labels[s] == o else own[s]
        far |= np.int32((total[s] > MAX_SUM) | (total[s] < 1 / MAX_SUM))
    return FAR if far else _losses(total, mine, labels, logit_scale, reference)


@njit
def _select(top, own, x, labels, k):
    """Set top = max(top, x); set own = x where k is the label."""
    for s in range(BLOCK):
        top[s] = x[s] if x[s] > top[s] else top[s]
        own[s] = x[s] if labels[s] == k else own[s]


@njit
def _exponentials(out, x, logit_scale, reference):
    """out = exp(logit_scale x) / 2**reference."""
    for s in range(BLOCK):
        y = x[s] * logit_scale
        n = math.floor(y * LOG2_E + 0.5)
        power = min(max(n - reference[s], -MAX_EXPONENT), MAX_EXPONENT)
        out[s] = exp_of(np.float32(y - n * LN2)) * np.int32((np.int32(power) + 127) << 23).view(np.float32)


@njit
def _losses(total, own, labels, logit_scale, reference):
    """Return the sum over samples of log(total 2**reference) - logit_scale own, in units of LOSS_UNIT."""
    units = np.int64(0)
    for s in range(BLOCK):
        bits = np.float32(total[s]).view(np.int32)
        fraction = np.int32((bits & MANTISSA) | ONE_BITS).view(np.float32)                  # in [1, 2)
        power = np.float64((bits >> 23) - 127) + reference[s]
        loss = np.float64(log_of(fraction)) + power * LN2 - own[s] * logit_scale
        units += np.int64(math.floor(loss / LOSS_UNIT + 0.5)) if labels[s] >= 0 else np.int64(0)
    return units
