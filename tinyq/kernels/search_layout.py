"""What a coordinate search keeps of a network and its samples (kernels/search.py): arrays and what their axes mean."""
from typing import NamedTuple

import numpy as np

BLOCK = 256                             # samples side by side: 16 vectors of 16 int32
LOSS_UNIT = 2.0**-24                    # a sample's cross-entropy is rounded to a multiple of this
NO_BIAS = -1

# Columns of Search.stages, a row a stage. WEIGHTS and BIAS are offsets into the parameters; INPUT, SUMS (products plus
# bias) and OUTPUT into the units. WIDE: sums and outputs are float64; the input is what the stage before puts out.
(C_IN, H, W, C_OUT, KH, KW, STRIDE_Y, STRIDE_X, PAD_Y, PAD_X, OH, OW, RELU, POOL_Y, POOL_X, POOL_STRIDE_Y,
 POOL_STRIDE_X, PH, PW, WEIGHTS, BIAS, INPUT, SUMS, OUTPUT, WIDE) = range(25)
COLUMNS = 25


class Search(NamedTuple):
    """A network, its samples and all that was computed of them; a search changes the arrays in place.

    stages: (stages, COLUMNS) int64. bias_units: (stages,) float64, what a bias of level 1 adds to the sums.
    levels: (n,) float64 ascending, as the network multiplies by them. codes: (parameters,) uint8, indices into them.
    narrow, wide: (parameters,) int32 and float64, what the codes stand for. kept_narrow, kept_wide: (blocks, units,
    BLOCK) int32 and float64, one of which holds a stage. labels: (blocks, BLOCK) int64, -1 where there is no sample.
    block_errors: (blocks,) int64, misclassified samples, or cross-entropy in units of LOSS_UNIT. temperature: (1,)
    float64, what turns a logit of these units into one of the softmax; 0: the misclassified are counted.
    """

    stages: np.ndarray
    bias_units: np.ndarray
    levels: np.ndarray
    codes: np.ndarray
    narrow: np.ndarray
    wide: np.ndarray
    kept_narrow: np.ndarray
    kept_wide: np.ndarray
    labels: np.ndarray
    block_errors: np.ndarray
    temperature: np.ndarray
