"""A product with weights that stay: packed once, its affine, an addition and a ReLU done where it is stored."""
import numpy as np

from tinyq.kernels.correlate import correlate
from tinyq.kernels.plan import forward_plan
from tinyq.kernels.spans import NOTHING, contiguous
from tinyq.kernels.weights import pack_rows


def pack_weights(w, groups):
    """What conv2d_packed takes of the weights w (c_out, c_in / groups, kh, kw)."""
    taps = w[0].size
    return pack_rows(w, groups, len(w) // groups, taps, np.arange(taps))


def conv2d_packed(x, packed, geometry, scale, shift, added, relu):
    """scale * (x * w) + shift, `added` (of the output's shape, or None) added to it, and its ReLU if `relu`.

    scale and shift (c_out,). Each of the four steps rounds, as when they are done one after the other.
    """
    assert x.shape == geometry.x_shape, (x.shape, geometry)
    y, plan, m = np.empty(geometry.output_shape, np.float32), forward_plan(geometry), geometry.w_shape[0]
    added = NOTHING if added is None else contiguous(added)
    assert not added.size or added.shape == y.shape
    correlate(x, packed, m // geometry.groups, plan, contiguous(scale), contiguous(shift), y, added.reshape(-1), relu)
    return y
