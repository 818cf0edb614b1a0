"""Choose the scale of each value of a program, and the integers that turn sums into codes."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.packed.integer.program import MAX_SUM, Quant, Requant

MIN_SCALE = 2.0**-126
WIDE_MARGIN = 2                         # how far 16-bit codes reach beyond the calibrated range
RESULT_STEPS = 1 << 20                  # codes from 0 to the largest calibrated logit
MAX_RESULT = 1 << 30


@dataclass(frozen=True)
class Kind:
    """Activations of one width. ranges: which of the two calibrated ranges they use (calibrate.ranges)."""

    name: str
    dtype: type
    least: int
    most: int
    ranges: int


INTEGER_KINDS = {kind.name: kind for kind in (Kind("int8", np.uint8, 0, 255, 1),
                                              Kind("int16", np.int16, -32767, 32767, 0))}


def choose_quants(kind: Kind, ranges: np.ndarray, groups: Iterable[list[int]],
                  readers: Callable[[int], list[tuple[str, int]]], result: int | None = None) -> dict[int, Quant]:
    """Return the Quant of every value; UsageError where a product's sums could leave int32 with any scale.

    ranges: calibrate.ranges. groups: lists of values that share one scale. readers(value): for each product that reads
    it, (name, largest sum of the magnitudes of a row's levels). result: the value whose codes are int32, if any.
    """
    ranges = ranges[kind.ranges].astype(np.float64)
    quants: dict[int, Quant] = {}
    for group in groups:
        low = min(0.0, ranges[[value + 1 for value in group], 0].min())
        high = max(0.0, ranges[[value + 1 for value in group], 1].max())
        most = min(_largest_code(kind, readers(value)) for value in group)
        quants |= dict.fromkeys(group, _quant(kind, low, high, most))
    if result is not None:
        largest = np.abs(ranges[result + 1]).max() or 1.0
        quants[result] = Quant(_scale(largest, RESULT_STEPS), 0, -MAX_RESULT, MAX_RESULT)
    return quants


def group_tied(values: Iterable[int], ties: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return lists of values that share one scale; ties: pairs of values that must share a scale."""
    leader = {value: value for value in values}

    def find(value):
        while leader[value] != value:
            value = leader[value]
        return value

    for a, b in ties:
        leader[find(a)] = find(b)
    groups: dict[int, list[int]] = {}
    for value in sorted(leader):
        groups.setdefault(find(value), []).append(value)
    return list(groups.values())


def compute_requant(quant: Quant, factors: np.ndarray, shifts: np.ndarray, sums: np.ndarray,
                    constants: np.ndarray | int = 0, relu: bool = False, added: Quant | None = None) -> Requant:
    """Return the Requant to codes of `quant` for value = factor * sum + shift + added value.

    factors, shifts: (rows,) float64. sums: (rows,) the largest magnitude of a sum. constants: (rows,) int64, the zero
    point's contribution to every sum. OverflowError if no shift keeps everything within 62 bits.
    """
    factors, shifts = (np.asarray(a, np.float64) / quant.scale for a in (factors, shifts))
    ratio = added.scale / quant.scale if added else 0.0
    for bits in range(62, 0, -1):
        multiplier = np.rint(np.ldexp(factors, bits))
        if np.abs(multiplier).max() > MAX_SUM:
            continue
        added_multiplier, added_shift = _split(np.rint(np.ldexp(ratio, bits)))
        step = added_multiplier << added_shift
        offset = [int(s) - int(m) * int(c) + (quant.zero << bits) - (step * added.zero if added else 0)
                  for s, m, c in zip(np.rint(np.ldexp(shifts, bits)), multiplier,
                                     np.broadcast_to(constants, factors.shape), strict=True)]
        reach = max(abs(int(m)) * int(s) + abs(o) for m, s, o in
                    zip(multiplier, np.broadcast_to(sums, factors.shape), offset, strict=True))
        if reach + step * (max(abs(added.low), abs(added.high)) if added else 0) < 1 << 61:
            return Requant(multiplier.astype(np.int32), np.array(offset, np.int64), bits,
                           max(quant.low, quant.zero) if relu else quant.low, quant.high, added_multiplier, added_shift)
    raise OverflowError


def _largest_code(kind, readers):
    """Return the largest code for which the sums of every product that reads the value fit int32."""
    most = kind.most
    for name, largest in readers:
        allowed = MAX_SUM // max(1, largest)
        if allowed < (most if kind.least == 0 else 1):          # unsigned codes keep their full range
            raise UsageError(f"activations {kind.name}: the sums of {name} overflow int32; use float32 activations")
        most = min(most, allowed)
    return most


def _quant(kind, low, high, most):
    if kind.least < 0:                                          # symmetric
        return Quant(_scale(WIDE_MARGIN * max(-low, high), most), 0, -most, most)
    scale = _scale(high - low, most)
    return Quant(scale, int(np.rint(-low / scale)), 0, most)


def _scale(width, codes):
    """Return width / codes as a float32; 1 if it is below the smallest normal float32, as for an empty range."""
    scale = float(np.float32(width / codes))
    return scale if scale >= MIN_SCALE else 1.0


def _split(value):
    """Split `value` into (mantissa, shift) with an int32 mantissa; low bits that do not fit are dropped."""
    value, shift = int(value), 0
    while abs(value) > MAX_SUM:
        value, shift = value >> 1, shift + 1
    return value, shift
