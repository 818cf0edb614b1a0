"""Resize images to the bits of Pillow 12's antialiased bilinear filter, on every machine and beside any Pillow.

The weights are made with + - * / of float64 and applied in integers, so the result does not depend on how Pillow was
compiled. Columns are resized before rows, as torchvision's published accuracies were measured. Pillow 13 begins with
the rows of some images, those that become much lower or are more than twice as tall as wide: such results differ by at
most 1 of 255. Tests compare both orders with Pillow's bit for bit.
"""
import numpy as np

_BITS = 22                      # fraction bits of a weight: 255 * 2**22 fits an int32


def resize(image: np.ndarray, shape: tuple[int, int], box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """Resize `image` to `shape`; return the result, or its part `box`.

    image (H, W, 4) uint8 or (H, W, 1) uint16, contiguous; shape (h, w); box (top, left, height, width) inside it.
    Returns (height, width, channels) of its dtype. A target pixel is a weighted sum of source pixels, first along the
    columns, then, after rounding, along the rows.
    """
    top, left, height, width = box or (0, 0, *shape)
    rows, row_weights = _taps(image.shape[0], shape[0], top, height)
    columns, column_weights = _taps(image.shape[1], shape[1], left, width)
    first = rows.min()
    if image.dtype == np.uint16:
        deep = image[first:rows.max() + 1, :, 0]
        narrow = _weighted_deep(column_weights[:, None], (deep.take(taken, axis=1) for taken in columns))
        return _weighted_deep(row_weights[:, :, None], (narrow[taken - first] for taken in rows))[..., None]
    pixels = image[first:rows.max() + 1].view(np.uint32)[..., 0]                # one word per pixel, gathered together
    narrow = _weighted(np.repeat(column_weights, 4, axis=1)[:, None],
                       (pixels.take(taken, axis=1).view(np.uint8) for taken in columns))
    return _weighted(row_weights[:, :, None], (narrow[taken - first] for taken in rows)).reshape(height, width, 4)


def _weighted(weights, images):
    """Return sum_k weights[k] * images[k] in fixed point, rounded to uint8; images: (rows, columns * 4)."""
    total = np.int32(1 << (_BITS - 1))
    for weight, image in zip(weights, images, strict=True):
        part = image.astype(np.int32)
        part *= weight
        part += total
        total = part
    return (total >> _BITS).astype(np.uint8)


def _weighted_deep(weights, images):
    """Return sum_k weights[k] * images[k] in fixed point, rounded to uint16."""
    total = np.int64(1 << (_BITS - 1))
    for weight, image in zip(weights, images, strict=True):
        total = total + image.astype(np.int64) * weight
    return np.minimum(total >> _BITS, 65535).astype(np.uint16)


def _taps(source: int, target: int, first: int, count: int):
    """Return source pixels and weights of targets first ... first + count - 1: two (taps, count) arrays.

    The filter is a triangle around the target's centre, reaching one source pixel to each side, or one target pixel
    when shrinking.
    """
    scale = source / target
    support = max(scale, 1.0)
    centre = (np.arange(first, first + count) + 0.5) * scale
    low = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centre + support + 0.5).astype(np.int64), source)
    k = np.arange((high - low).max())[:, None]
    distance = np.abs((low + k - centre + 0.5) * (1.0 / support))
    weights = np.where((distance < 1) & (low + k < high), 1.0 - distance, 0.0)
    total = np.zeros(count)
    for row in weights:                         # in ascending order: np.sum may use another
        total = total + row
    return np.minimum(low + k, source - 1), (weights / total * (1 << _BITS) + 0.5).astype(np.int32)
