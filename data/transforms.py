"""Convert batches of 8-bit images to float32 input with elementwise arithmetic only (kernels/README.md says why)."""
import numpy as np

from tinyq.data.draws import below
from tinyq.inputs.preparation import normalise

__all__ = ["normalise", "random_crop_flip"]


def random_crop_flip(images: np.ndarray, words: np.ndarray, padding: int = 0, flip: bool = False) -> np.ndarray:
    """Shift each image by up to `padding` pixels in both directions, with a black border, and mirror half of them.

    images (N, C, H, W); words (N, 3) uint64, one row per image. Returns a new array of the same shape and dtype.
    """
    images = _shifted(images, words, padding) if padding else images.copy()
    if flip:
        mirrored = np.flatnonzero(words[:, 2] & np.uint64(1))
        images[mirrored] = images[mirrored, ..., ::-1]
    return images


def _shifted(images, words, padding):
    n, c, h, w = images.shape
    padded = np.zeros((n, c, h + 2 * padding, w + 2 * padding), images.dtype)
    padded[:, :, padding:-padding, padding:-padding] = images
    top, left = (below(words[:, k], 2 * padding + 1) for k in (0, 1))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (h, w), axis=(2, 3))      # (n, c, top, left, h, w)
    return windows[np.arange(n), :, top, left]
