"""Cut the 8-bit RGB square that a network sees out of an image: a fixed view to evaluate, random ones to train.

A view takes an ImageFile (decode.py). For evaluation it decodes every pixel, as torchvision does; for training it
decodes a large JPEG at 1/2, 1/4 or 1/8 of its size if that still has at least the pixels needed.
"""
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tinyq.data.images.decode import ImageFile
from tinyq.data.images.resample import resize
from tinyq.streams import Stream

_LOG_4_3 = 0.28768207245178085              # log(4/3)

Box = tuple[int, int, int, int]            # top, left, height, width


@dataclass(frozen=True)
class CentreView:
    """Resize the shorter side to `resize`, then cut out the central square of `size` pixels (for evaluation)."""

    size: int
    resize: int

    def __call__(self, image_file: ImageFile, stream: Stream | None = None) -> np.ndarray:
        """Return (size, size, 3) uint8."""
        h, w = shorter_side_to(self.resize, image_file.shape)
        top, left = round((h - self.size) / 2), round((w - self.size) / 2)
        return resize(image_file.pixels(), (h, w), (top, left, self.size, self.size))[..., :3]


@dataclass(frozen=True)
class RandomCropView:
    """Resize the shorter side to `resize`, then cut out a random square of `size` pixels (AlexNet's training view)."""

    size: int
    resize: int
    flip: bool = True
    jitter: float = 0.0

    def __call__(self, image_file: ImageFile, stream: Stream) -> np.ndarray:
        """Return (size, size, 3) uint8, drawn from `stream`."""
        h, w = shorter_side_to(self.resize, image_file.shape)
        down, right = stream.uniform(2)
        box = (math.floor(down * (h - self.size + 1)), math.floor(right * (w - self.size + 1)), self.size, self.size)
        view = resize(image_file.pixels((h, w)), (h, w), box)[..., :3]
        return _flipped_and_jittered(view, stream, self.flip, self.jitter)


@dataclass(frozen=True)
class RandomResizedView:
    """Cut out a random part and resize it: area from `smallest` to 1, aspect 3:4 to 4:3 (GoogLeNet's training view)."""

    size: int
    smallest: float = 0.08
    flip: bool = True
    jitter: float = 0.0

    def __call__(self, image_file: ImageFile, stream: Stream) -> np.ndarray:
        """Return (size, size, 3) uint8, drawn from `stream`."""
        height, width = image_file.shape
        box = random_box((height, width), stream.uniform((10, 4)).tolist(), self.smallest)
        image = image_file.pixels((-(-self.size * height // box[2]), -(-self.size * width // box[3])))
        top, left, h, w = reduced_box(box, (height, width), image.shape)
        part = np.ascontiguousarray(image[top:top + h, left:left + w])
        return _flipped_and_jittered(resize(part, (self.size, self.size))[..., :3], stream, self.flip, self.jitter)


def shorter_side_to(length: int, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) of the image resized to a shorter side of `length`, rounded down as in torchvision."""
    h, w = shape[:2]
    return (length, length * w // h) if h <= w else (length * h // w, length)


def random_box(shape: tuple[int, ...], attempts: Iterable[Sequence[float]], smallest: float) -> Box:
    """Return (top, left, height, width): the first attempt that fits, else the largest central part of allowed aspect.

    attempts: (area, aspect, top, left), each uniform in [0, 1); area scales to `smallest` ... 1, aspect log-uniformly.
    """
    height, width = shape[:2]
    for area, stretch, down, right in attempts:
        area = height * width * (smallest + (1 - smallest) * area)
        aspect = _exp(_LOG_4_3 * (2 * stretch - 1))
        h, w = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < h <= height and 0 < w <= width:
            return math.floor(down * (height - h + 1)), math.floor(right * (width - w + 1)), h, w
    h, w = min(height, max(1, round(width * 4 / 3))), min(width, max(1, round(height * 4 / 3)))
    return (height - h) // 2, (width - w) // 2, h, w


def reduced_box(box: Box, shape: tuple[int, ...], reduced: tuple[int, ...]) -> Box:
    """Scale the box from an image of `shape` to the image decoded at shape `reduced`; keep it inside and not empty."""
    if tuple(shape) == tuple(reduced[:2]):
        return box
    top, left = (start * r // s for start, s, r in zip(box[:2], shape, reduced, strict=False))
    bottom, right = (-(-(start + n) * r // s)
                     for start, n, s, r in zip(box[:2], box[2:], shape, reduced, strict=False))
    return top, left, bottom - top, right - left


def colour_jitter(image: np.ndarray, strength: float, stream: Stream) -> np.ndarray:
    """Scale brightness, contrast and saturation by random factors in 1 - strength ... 1 + strength, in random order.

    image (H, W, 3) uint8; the result has its shape and dtype. Hue does not change, as in the recipes of ResNet.
    """
    factors = stream.uniform(3, max(0.0, 1 - strength), 1 + strength).astype(np.float32)
    for k in stream.permutation(3):
        image = _blend(_COLOURLESS[k](image), image, factors[k])
    return image


def _flipped_and_jittered(image, stream, flip, jitter):
    mirrored = stream.words(1)[0] & np.uint64(1)
    if flip and mirrored:
        image = image[:, ::-1]
    return colour_jitter(image, jitter, stream) if jitter else image


def _grey(image):
    """Return the ITU-R 601 luma, (H, W, 1) int32, in integer arithmetic."""
    return ((image.astype(np.int32) * np.array([19595, 38470, 7471], np.int32)).sum(-1, keepdims=True) + 32768) >> 16


def _mean_grey(image):
    grey = _grey(image)
    return np.int32((int(grey.sum()) + grey.size // 2) // grey.size)


# Images without brightness, without contrast, without saturation.
_COLOURLESS = (lambda image: np.int32(0), _mean_grey, _grey)


def _blend(start, image, factor):
    """Return start + factor * (image - start), rounded and clipped to 8 bits."""
    start = start.astype(np.float32)
    return np.rint((start + factor * (image.astype(np.float32) - start)).clip(0, 255)).astype(np.uint8)


def _exp(t):
    """Compute exp(t), |t| <= 0.3, by its series: plain arithmetic gives the same bits everywhere, libm does not."""
    term = total = 1.0
    for k in range(1, 14):
        term = term * t / k
        total += term
    return total
