"""Convert batches of 8-bit images to float32 input with elementwise arithmetic only (kernels/README.md says why)."""
import numpy as np
from numpy.typing import ArrayLike

from tinyq.data.draws import below


def normalise(images: np.ndarray, mean: ArrayLike, std: ArrayLike, top: int = 255) -> np.ndarray:
    """Return (image / top - mean) / std, float32, with the operations of torchvision's ToTensor and Normalize.

    images (N, C, H, W) uint8, at most `top`; mean and std: one number per channel.
    """
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (mean, std))
    x = images.astype(np.float32, order="C")
    x /= np.float32(top)
    x -= mean
    x /= std
    return x


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
