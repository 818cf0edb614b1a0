"""Tables that a coordinate search stores for a network and its samples, with the meaning of their axes (visit.py)."""
from typing import NamedTuple

import numpy as np

BLOCK = 256                             # samples side by side: 16 vectors of 16 int32
LOSS_UNIT = 2.0**-24                    # a sample's cross-entropy is rounded to a multiple of this
MAX_EXPONENT = 126.0                    # of the powers of two that a term of a cross-entropy may be
LN2, LOG2_E = 0.6931471805599453, 1.4426950408889634
NONE = -1                               # in place of an offset: the stage has no such parameters
NOT_TRIED = 2**63 - 1                   # in place of an error: the parameter has fewer levels than others

# Columns of Search.stages, one row per stage. WEIGHTS to BETA are offsets into the parameters; INPUT, SUMS (products
# plus bias), NORMED (the same normalised; SUMS itself without batch norm) and OUTPUT into units; CHANNEL into norms.
# WIDE: sums and outputs are float64; the input is what the stage before puts out.
(C_IN, H, W, C_OUT, KH, KW, STRIDE_Y, STRIDE_X, PAD_Y, PAD_X, OH, OW, RELU, POOL_Y, POOL_X, POOL_STRIDE_Y,
 POOL_STRIDE_X, POOLING, PH, PW, WEIGHTS, BIAS, GAMMA, BETA, CHANNEL, INPUT, SUMS, NORMED, OUTPUT, WIDE) = range(30)
COLUMNS = 30
MAX, SUM, SUM_OF_POSITIVE = range(3)        # POOLING: how an output combines its window, before ReLU

# Behind the logits, in the same array of units: the largest of each sample, the second largest, and the label's.
FIRST, SECOND, OWN = range(3)
STANDINGS = 3


class Search(NamedTuple):
    """A network, its samples and every intermediate value; a search changes the arrays in place.

    stages: (stages, COLUMNS) int64. bias_units: (stages,) float64, what a bias of level 1 adds to the sums.
    norms: (channels, 2) float64, (factor, offset) in the stages with batch norm: a sum becomes
    (sum * factor - offset) * gamma + beta.
    levels: (n, 2 * stages) float64, as the network multiplies by them: column 2 * k has those of stage k's product and
    bias, 2 * k + 1 those of its batch norm, ascending; sizes: (2 * stages,) int64, how many they are, of n at most.
    codes: (parameters,) uint8, indices into a column.
    narrow, wide: (parameters,) int32 and float64, what the codes stand for. kept_narrow, kept_wide: (blocks, units,
    BLOCK) int32 and float64, one of which holds a stage. labels: (blocks, BLOCK) int32, -1 where there is no sample.
    block_errors: (blocks,) int64, misclassified samples, or cross-entropy in units of LOSS_UNIT. logit_scale: (1,)
    float64, the factor from a logit in these units to one of the softmax; 0 counts the misclassified samples.

    Stored for each sample, so that a change of one logit need not read the others: leaders (blocks, 2, BLOCK)
    int32, the classes of FIRST and SECOND, while the misclassified are counted; terms (blocks, classes, BLOCK) float32
    and references (blocks, BLOCK) float64 (sample_error.py) while it is the cross-entropy.
    """

    stages: np.ndarray
    bias_units: np.ndarray
    norms: np.ndarray
    levels: np.ndarray
    sizes: np.ndarray
    codes: np.ndarray
    narrow: np.ndarray
    wide: np.ndarray
    kept_narrow: np.ndarray
    kept_wide: np.ndarray
    labels: np.ndarray
    block_errors: np.ndarray
    logit_scale: np.ndarray
    leaders: np.ndarray
    terms: np.ndarray
    references: np.ndarray
