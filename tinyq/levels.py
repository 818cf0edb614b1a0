"""Sets of levels, the values that a constrained weight may take, for all layers or for each (methods/README.md)."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np

from tinyq.errors import UsageError, did_you_mean

MAX_LEVELS = 256                  # codes are uint8
REST = "*"                        # pattern of the layers that no other entry fits


@dataclass(frozen=True)
class LevelSet:
    """A finite set of normalised levels, ascending; a constrained weight is scale * level."""

    name: str
    levels: tuple[float, ...]

    def __post_init__(self):
        """Raise UsageError unless there are 2 to 256 levels, finite and ascending in float32."""
        object.__setattr__(self, "levels", tuple(float(level) + 0.0 for level in self.levels))     # no -0
        if len(self.levels) > MAX_LEVELS:
            raise UsageError(f"levels: {len(self.levels)} given, at most {MAX_LEVELS} fit a code of one byte")
        # Compared as float32, the type of effective weights: there 1e39 is infinite, and 0.1 equals 0.1000000001.
        with np.errstate(over="ignore"):
            shown = np.array(self.levels, np.float32)
        if len(shown) < 2 or not np.isfinite(shown).all() or not (shown[1:] > shown[:-1]).all():
            raise UsageError(
                f"levels must be at least two distinct finite float32 numbers, such as -1,0,1; got {self.name}"
            )

    def of(self, parameter: str) -> "LevelSet":
        """Return this set, which every parameter has; `LayerLevels.of` chooses one."""
        return self

    @property
    def bits(self) -> int:
        """Number of bits of a packed code."""
        return (len(self.levels) - 1).bit_length()

    @cached_property
    def values(self) -> np.ndarray:
        """The levels as float64, ascending."""
        return np.array(self.levels, np.float64)

    @cached_property
    def midpoints(self) -> np.ndarray:
        """The points at which the nearest level changes: (q_j + q_{j+1}) / 2, float64."""
        return (self.values[:-1] + self.values[1:]) / 2

    def codes(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return the index of the level nearest to w / scale, uint8; ties go to the lower level, NaN to the lowest.

        w is compared with scale * midpoint, exactly as in float64, so that no division rounds.
        scale > 0 broadcasts against w: one per tensor, or one per output filter.
        """
        w, scale = np.asarray(w), np.asarray(scale, np.float64)
        codes = np.zeros(np.broadcast_shapes(w.shape, scale.shape), np.uint8)
        for midpoint in self.midpoints:
            codes += w > rounded_down(scale * midpoint, w.dtype)
        return codes

    def nearest(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return the level nearest to w / scale, in w's dtype; ties go to the lower level."""
        return self.values.astype(w.dtype)[self.codes(w, scale)]

    def distance(self, w: np.ndarray, scale: np.ndarray | float = 1.0) -> np.ndarray:
        """Return |w / scale - nearest level|, float64, in units of the scale."""
        codes = self.codes(w, scale)
        return np.abs(np.asarray(w, np.float64) / np.asarray(scale, np.float64) - self.values[codes])


@dataclass(frozen=True)
class LayerLevels:
    """A set for each layer, by the layer's dotted name or by a pattern with *, ? and [...].

    sets: {name or pattern: LevelSet}. A name beats a pattern, and any of them beats "*", which stands for the rest.
    """

    name: str
    sets: Mapping[str, LevelSet]

    def of(self, parameter: str) -> LevelSet:
        """Return the set of the parameter with this dotted name; UsageError if its layer has none, or two."""
        layer = layer_of(parameter)
        entry = self.entry_of(layer)
        if entry is None:
            raise UsageError(f"levels {self.name}: {layer} has no set; {self.remedy}")
        return self.sets[entry]

    def entry_of(self, layer: str) -> str | None:
        """Return the name or pattern whose set the layer has, None if there is none; UsageError if two contradict."""
        if layer in self.sets:
            return layer
        fitting = [pattern for pattern in self.sets if pattern != REST and fnmatchcase(layer, pattern)]
        for other in fitting[1:]:
            if self.sets[other] != self.sets[fitting[0]]:
                raise UsageError(f"levels {self.name}: {fitting[0]} and {other} contradict each other, because both "
                                 f"fit {layer}; add {layer}={self.sets[other].name}, or another set for it")
        return fitting[0] if fitting else REST if REST in self.sets else None

    @property
    def remedy(self) -> str:
        """The entry to add for a layer that nothing fits."""
        return f"add {REST}=ternary, or another set for the layers that nothing else fits"


Levels = LevelSet | LayerLevels


def layer_of(parameter: str) -> str:
    """Return the layer of a parameter, both as dotted names: conv1 of conv1.weight."""
    return parameter.rpartition(".")[0]


def rounded_down(x: np.ndarray | float, dtype: np.dtype | type) -> np.ndarray:
    """Return the largest number of `dtype` that is <= x (float64).

    For every w of that dtype, w > x and w > rounded_down(x, dtype) agree, so no float64 copy of w is needed.
    """
    x = np.asarray(x, np.float64)
    near = x.astype(dtype)
    return np.where(near > x, np.nextafter(near, np.array(-np.inf, dtype)), near)


NAMED = {
    s.name: s
    for s in (
        LevelSet("binary", (-1.0, 1.0)),
        LevelSet("ternary", (-1.0, 0.0, 1.0)),
        LevelSet("shift1", (-1.0, -0.5, 0.0, 0.5, 1.0)),
        LevelSet("shift2", (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0)),
    )
}


def set_of(levels: Iterable[float]) -> LevelSet:
    """Return the set of these ascending levels: a named one, or one whose name lists them as float32."""
    values = tuple(levels)
    found = next((named for named in NAMED.values() if named.levels == values), None)
    return found or LevelSet(",".join(str(np.float32(level)).removesuffix(".0") for level in values), values)


def parse(text: str) -> Levels:
    """Return the set or the sets that a text names.

    A set is a name, or a list such as "-2,-1,0,1,2". "conv2=shift1,fc*=-1,0,2,*=ternary" has one for each layer: each
    "layer=" begins an entry, and what follows up to the next belongs to it. UsageError for anything else.
    """
    return _layer_levels(text) if "=" in text else _level_set(text, text)


def _level_set(text: str, shown: str) -> LevelSet:
    for name in (text.strip(), text.strip().lower()):
        if name in NAMED:
            return NAMED[name]
    try:
        numbers = sorted(float(part) for part in text.split(","))
    except ValueError:
        choices = did_you_mean(text, NAMED)
        raise UsageError(f"levels {shown}: no such set; {choices}, or a list such as -1,0,1") from None
    return set_of(LevelSet(text, tuple(numbers)).levels)


def _layer_levels(text: str) -> LayerLevels:
    entries: dict[str, list[str]] = {}
    for part in text.split(","):
        pattern, equals, first = (word.strip() for word in part.partition("="))
        if equals and not pattern:
            raise UsageError(f"levels {text}: {part.strip()} names no layer; write layer=set, such as conv2=shift1")
        if pattern in entries and equals:
            raise UsageError(f"levels {text}: {pattern} is given twice; leave one of them out")
        if equals:
            entries[pattern] = [first]
        elif entries:
            entries[list(entries)[-1]].append(pattern)
        else:
            raise UsageError(f"levels {text}: {pattern} names no layer; write {REST}={pattern} for the layers that "
                             "nothing else fits")
    lists = {pattern: ",".join(parts) for pattern, parts in entries.items()}
    sets = {pattern: _level_set(levels, f"{pattern}={levels}") for pattern, levels in lists.items()}
    return LayerLevels(",".join(f"{pattern}={level_set.name}" for pattern, level_set in sets.items()), sets)
