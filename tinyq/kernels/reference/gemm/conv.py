"""Reference of convolution and its gradients: loops over k in the contract's order, on whole arrays of outputs."""
import numpy as np

from tinyq.kernels.contract import samples_per_chunk
from tinyq.kernels.reference.gemm.matmul import sum_products


def conv2d(x, w, geometry, scale=None, bias=None):
    """y = scale * (x * w) + bias: k is (c, kh, kw); the affine is a multiply and then an add."""
    def group(x, w):
        tap, rows = taps(x, geometry), w.reshape(len(w), -1)

        def factors(k):
            return rows[:, k, None, None], tap(k)

        zero = np.zeros((len(x), len(w), *geometry.output_size), x.dtype)
        return sum_products(factors, range(geometry.products), zero)

    y = np.concatenate([group(*part) for part in _groups(geometry, (x, 1), (w, 0))], 1)
    y = y if scale is None else y * scale[:, None, None]
    return y if bias is None else y + bias[:, None, None]


def conv2d_input_grad(g, w, geometry):
    """Return the gradient with respect to x: k is (c_out, kh, kw); products are added to the pixels they read."""
    def group(g, w):
        def factors(k):
            c, i, j = np.unravel_index(k, (w.shape[0], *w.shape[2:]))
            spread = np.zeros((len(g), *geometry.x_shape[2:]), g.dtype)
            rows, columns, oy, ox = _reach(i, j, geometry)
            spread[:, rows[:, None], columns] = g[:, c][:, oy[:, None], ox]
            return w[c, :, i, j][:, None, None], spread[:, None]

        count = w.shape[0] * w.shape[2] * w.shape[3]
        return sum_products(factors, range(count), np.zeros((len(g), w.shape[1], *geometry.x_shape[2:]), g.dtype))

    return np.concatenate([group(*part) for part in _groups(geometry, (g, 1), (w, 0))], 1)


def conv2d_weight_grad(g, x, geometry):
    """Return the gradient with respect to w: k is (n, oh, ow) in a chunk of samples; chunks are added in order."""
    def group(g, x):
        chunk = samples_per_chunk(len(x))
        total = np.zeros((g.shape[1], geometry.products), g.dtype)
        for start in range(0, len(x), chunk):
            total = total + _chunk_sum(g[start:start + chunk], x[start:start + chunk], geometry)
        return total

    parts = [group(*part) for part in _groups(geometry, (g, 1), (x, 1))]
    return np.concatenate(parts).reshape(geometry.w_shape)


def _chunk_sum(g, x, geometry):
    """One chunk's (c_out, c_in * kh * kw): each output pixel times the window of the padded image it was made from."""
    padded = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in geometry.padding)))
    rows, columns = (np.arange(k) * d for k, d in zip(geometry.w_shape[2:], geometry.dilation, strict=True))

    def factors(k):
        i, y, x = np.unravel_index(k, (len(g), *g.shape[2:]))
        down, across = y * geometry.stride[0] + rows, x * geometry.stride[1] + columns
        return g[i, :, y, x, None], padded[i][:, down[:, None], across].reshape(-1)

    count = len(g) * g.shape[2] * g.shape[3]
    return sum_products(factors, range(count), np.zeros((g.shape[1], geometry.products), g.dtype))


def _groups(geometry, *arrays):
    """Split arrays, each given as (array, axis), into groups along their axes; return one tuple per group."""
    return zip(*(np.split(a, geometry.groups, axis) for a, axis in arrays), strict=True)


def _reach(i, j, geometry):
    """Return the input rows and columns that tap (i, j) reads, and the output rows and columns that they serve."""
    reach = []
    for tap, size, out, s, p, d in zip((i, j), geometry.x_shape[2:], geometry.output_size, geometry.stride,
                                       geometry.padding, geometry.dilation, strict=True):
        read = np.arange(out) * s + tap * d - p
        inside = (read >= 0) & (read < size)
        reach.append((read[inside], np.flatnonzero(inside)))
    (rows, oy), (columns, ox) = reach
    return rows, columns, oy, ox


def taps(x, geometry):
    """Return a function of k = (c, kh, kw) as one number: what it reads of x for every output, (n, 1, oh, ow)."""
    (py, px), (sy, sx), (dy, dx) = geometry.padding, geometry.stride, geometry.dilation
    (oh, ow), (kh, kw) = geometry.output_size, geometry.w_shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))

    def tap(k):
        down, across = k // kw % kh * dy, k % kw * dx
        return padded[:, k // (kh * kw), None, down:down + (oh - 1) * sy + 1:sy, across:across + (ow - 1) * sx + 1:sx]

    return tap
