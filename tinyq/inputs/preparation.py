"""How raw samples become input: the one fact that training, evaluation, packed files and C code share.

A run's manifest and a network's file hold it; whoever prepares an input computes with it.
"""
import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tinyq.errors import UsageError

EXIF = ("ignore", "apply")
SHOWN = 8                               # numbers in a message
MAX_RESIZED = 1 << 14                   # pixels along a side
MAX_DIVISOR = 1 << 16
WHITE = 255                             # largest value of an 8-bit pixel
DEEP = 65535                            # of a 16-bit pixel
LUMA = np.array([299, 587, 114], np.int64)              # thousandths of red, green, blue in grey


def normalise(images: np.ndarray, mean: ArrayLike, std: ArrayLike, top: int = WHITE) -> np.ndarray:
    """Return (image / top - mean) / std, float32, with the operations of torchvision's ToTensor and Normalize.

    images (N, C, H, W) uint8 or uint16; mean and std: one number per channel, or one for all.
    """
    mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (mean, std))
    x = images.astype(np.float32, order="C")
    x /= np.float32(top)
    x -= mean
    x /= std
    return x


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return the luma (ITU-R BT.601) of 8-bit colours: pixels (..., 3) uint8, the result (..., 1) uint8."""
    return ((pixels.astype(np.int64) * LUMA).sum(axis=-1, keepdims=True) // 1000).astype(np.uint8)


@dataclass(frozen=True)
class Preparation:
    """Turn a raw sample into input: (value / divisor - mean) / std, per channel of an image or per feature.

    mean and std have a number for each channel or feature, the first axis of a sample, or one for all.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    divisor: int = WHITE
    brightest: int = WHITE              # largest raw value: images have `brightest` + 1 grey levels; 0: no pixels
    resize: int | None = None           # of photographs: length of the shorter side before the middle is cut out
    exif: str = "ignore"                # of photographs: whether their EXIF orientation is applied

    def of_pixels(self, images: np.ndarray, brightest: int = WHITE) -> np.ndarray:
        """Return the input for images (N, C, H, W) whose whole values reach to `brightest`: float32 of their shape."""
        return normalise(self.levels(images, brightest), self.mean, self.std, self.divisor)

    def levels(self, images: np.ndarray, brightest: int = WHITE) -> np.ndarray:
        """Scale values of 0 to `brightest` to this preparation's 0 to self.brightest, rounded to the nearest.

        Returns uint8, or uint16 where self.brightest needs it.
        """
        if brightest == self.brightest:
            return images
        scaled = (images.astype(np.int64) * self.brightest + brightest // 2) // brightest
        return scaled.astype(np.uint8 if self.brightest <= WHITE else np.uint16)

    def of_features(self, values: np.ndarray) -> np.ndarray:
        """Return the input for measurements (N, features, ...): float32 of their shape, computed in float64."""
        mean, std = (np.array(v).reshape(-1, *(1,) * (values.ndim - 2)) for v in (self.mean, self.std))
        return ((np.asarray(values, np.float64) / self.divisor - mean) / std).astype(np.float32)

    @property
    def is_deep(self) -> bool:
        """True where pixels have 16 bits."""
        return self.brightest > WHITE

    def resized(self, size: int) -> int:
        """Return the length of the shorter side of a photograph of which the middle `size` pixels are cut out."""
        return size if self.resize is None else self.resize

    def facts(self) -> dict:
        """Return the fields as JSON values, without those that have their usual value."""
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(self).items() if value != usual[name]}

    def shown(self) -> str:
        """Return the fields as text for a message."""
        parts = [f"mean {_numbers(self.mean)}, std {_numbers(self.std)} of value / {self.divisor}"]
        parts += [f"{self.brightest + 1} grey levels"] if self.brightest not in (0, WHITE) else []
        parts += [f"shorter side {self.resize}"] if self.resize is not None else []
        return ", ".join(parts + (["EXIF orientation applied"] if self.exif == "apply" else []))


def from_facts(facts: Mapping) -> Preparation | None:
    """Return the preparation whose facts() a manifest holds among others; None where it holds none."""
    if "mean" not in facts or "std" not in facts:
        return None
    known = [field.name for field in dataclasses.fields(Preparation)]
    found = {name: facts[name] for name in known if name in facts}
    return Preparation(**found | {name: tuple(found[name]) for name in ("mean", "std")})


def parse(text: str, input_shape: tuple[int, ...]) -> Preparation:
    """Read the JSON of Preparation.facts() from a file; ValueError unless it fits inputs of this shape."""
    try:
        found = from_facts(json.loads(text))
        if found is not None and _is_right(found, input_shape):
            return found
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        pass
    raise ValueError("give a mean and a std above 0 for each channel or feature, or one for all; sizes are whole")


def numbers(name: str, text: str | None) -> tuple[float, ...] | None:
    """Read numbers with commas between them; None for None. UsageError, with the parameter's name, for other texts."""
    if text is None:
        return None
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        raise UsageError(f"{name} {text}: give numbers with commas between them, such as 0.5,0.5,0.5")
    return found


def _is_right(found: Preparation, input_shape: tuple[int, ...]) -> bool:
    numbers = [*found.mean, *found.std]
    least = max(input_shape[1:], default=1)
    return (len(found.mean) == len(found.std) and len(found.mean) in (1, input_shape[0])
            and all(type(number) in (int, float) and math.isfinite(np.float32(number)) for number in numbers)
            and all(np.float32(number) > 0 for number in found.std)
            and type(found.divisor) is int and 0 < found.divisor <= MAX_DIVISOR
            and type(found.brightest) is int and 0 <= found.brightest <= DEEP
            and (found.resize is None or type(found.resize) is int and least <= found.resize <= MAX_RESIZED)
            and found.exif in EXIF)


def _numbers(values: tuple[float, ...]) -> str:
    shown = " ".join(f"{value:g}" for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown} and {len(values) - SHOWN} more"
