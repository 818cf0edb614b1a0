"""Views of an image: a fixed one for evaluation, random ones for training; 8-bit RGB squares.

A view takes a Photograph (decode.py) and decodes of it what it needs: evaluation every pixel, as torchvision does;
training a large JPEG at a half, a quarter or an eighth of its size, as long as no pixel has to be made up for that.
"""
import math
from dataclasses import dataclass

import numpy as np

from tinyq.data.images.resample import resize

_LOG_4_3 = 0.28768207245178085              # log(4/3)


@dataclass(frozen=True)
class CentreView:
    """The shorter side resized to `resize`, then the central square of `size` pixels: the usual evaluation view."""

    size: int
    resize: int

    def __call__(self, photograph, stream=None):
        """(size, size, 3) uint8."""
        h, w = shorter_side_to(self.resize, photograph.shape)
        top, left = round((h - self.size) / 2), round((w - self.size) / 2)
        return resize(photograph.pixels(), (h, w), (top, left, self.size, self.size))[..., :3]


@dataclass(frozen=True)
class RandomCropView:
    """The shorter side resized to `resize`, then a random square of `size` pixels (AlexNet's training view)."""

    size: int
    resize: int
    flip: bool = True
    jitter: float = 0.0

    def __call__(self, photograph, stream):
        """(size, size, 3) uint8, drawn from `stream`."""
        h, w = shorter_side_to(self.resize, photograph.shape)
        down, right = stream.uniform(2)
        box = (math.floor(down * (h - self.size + 1)), math.floor(right * (w - self.size + 1)), self.size, self.size)
        view = resize(photograph.pixels((h, w)), (h, w), box)[..., :3]
        return _flipped_and_jittered(view, stream, self.flip, self.jitter)


@dataclass(frozen=True)
class RandomResizedView:
    """A random part, from `smallest` to all of the image's area and 3:4 to 4:3 in shape, resized (GoogLeNet's view)."""

    size: int
    smallest: float = 0.08
    flip: bool = True
    jitter: float = 0.0

    def __call__(self, photograph, stream):
        """(size, size, 3) uint8, drawn from `stream`."""
        height, width = photograph.shape
        box = random_box((height, width), stream.uniform((10, 4)).tolist(), self.smallest)
        image = photograph.pixels((-(-self.size * height // box[2]), -(-self.size * width // box[3])))
        top, left, h, w = reduced_box(box, (height, width), image.shape)
        part = np.ascontiguousarray(image[top:top + h, left:left + w])
        return _flipped_and_jittered(resize(part, (self.size, self.size))[..., :3], stream, self.flip, self.jitter)


def shorter_side_to(length: int, shape):
    """(height, width) of an image of this shape once its shorter side is `length`, rounded down as torchvision does."""
    h, w = shape[:2]
    return (length, length * w // h) if h <= w else (length * h // w, length)


def random_box(shape, attempts, smallest: float):
    """(top, left, height, width): the first attempt that fits, else the largest central part of allowed shape.

    attempts are quadruples of uniforms: area (from `smallest` to 1 of the image), shape (log-uniform), top, left.
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


def reduced_box(box, shape, reduced):
    """The box of an image of `shape` in the same image decoded as `reduced`, kept inside it and not empty."""
    if tuple(shape) == tuple(reduced[:2]):
        return box
    starts = [start * r // s for start, s, r in zip(box[:2], shape, reduced, strict=False)]
    ends = [-(-(start + n) * r // s) for start, n, s, r in zip(box[:2], box[2:], shape, reduced, strict=False)]
    return (*starts, *(end - start for start, end in zip(starts, ends, strict=True)))


def colour_jitter(image, strength: float, stream):
    """Brightness, contrast and saturation scaled by random factors in 1 - strength ... 1 + strength, in random order.

    image (H, W, 3) uint8; returns the same. Hue is left alone, as in the recipes of ResNet and its successors.
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
    """Luma of ITU-R 601, integer arithmetic, (H, W, 1) int32."""
    return ((image.astype(np.int32) * np.array([19595, 38470, 7471], np.int32)).sum(-1, keepdims=True) + 32768) >> 16


def _mean_grey(image):
    grey = _grey(image)
    return np.int32((int(grey.sum()) + grey.size // 2) // grey.size)


# What is left of an image without its brightness, its contrast, its saturation.
_COLOURLESS = (lambda image: np.int32(0), _mean_grey, _grey)


def _blend(start, image, factor):
    """start + factor * (image - start), rounded and held within 8 bits."""
    start = start.astype(np.float32)
    return np.rint((start + factor * (image.astype(np.float32) - start)).clip(0, 255)).astype(np.uint8)


def _exp(t):
    """exp(t) for |t| <= 0.3 by its series: plain arithmetic, the same bits everywhere, unlike libm's."""
    term = total = 1.0
    for k in range(1, 14):
        term = term * t / k
        total += term
    return total
