"""The scales of a program's values: what range of floats its codes stand for, and how sums become codes of it."""
from dataclasses import dataclass

import numpy as np

from tinyq.errors import UsageError
from tinyq.packed.integer.program import MAX_SUM, Quant, Requant

MIN_SCALE = 2.0**-126
WIDE_MARGIN = 2                         # of 16-bit codes beyond what the calibration met: there is room
RESULT_STEPS = 1 << 20                  # codes from 0 to the largest calibrated logit
MAX_RESULT = 1 << 30


@dataclass(frozen=True)
class Kind:
    """Activations of one width. ranges: which of the calibration's two (calibrate.ranges) they are for."""

    name: str
    dtype: type
    least: int
    most: int
    ranges: int


INTEGER_KINDS = {kind.name: kind for kind in (Kind("int8", np.uint8, 0, 255, 1),
                                              Kind("int16", np.int16, -32767, 32767, 0))}


def quants_of(kind: Kind, ranges, groups, readers, result=None) -> dict[int, Quant]:
    """The Quant of every value; UsageError where the sums of a product can leave int32 whatever the codes.

    ranges: calibrate.ranges; groups: lists of values that share one scale; readers(value): (name, largest sum of the
    magnitudes of a row's levels) of each product that reads it; result: a last product's value, whose codes are int32.
    """
    ranges, quants = ranges[kind.ranges].astype(np.float64), {}
    for group in groups:
        low = min(0.0, ranges[[value + 1 for value in group], 0].min())
        high = max(0.0, ranges[[value + 1 for value in group], 1].max())
        most = min(_most_code(kind, readers(value)) for value in group)
        quants |= dict.fromkeys(group, _quant(kind, low, high, most))
    if result is not None:
        largest = np.abs(ranges[result + 1]).max() or 1.0
        quants[result] = Quant(_scale(largest, RESULT_STEPS), 0, -MAX_RESULT, MAX_RESULT)
    return quants


def tied_groups(values, ties) -> list[list[int]]:
    """Lists of values that share one scale; ties: pairs of values that must."""
    leader = {value: value for value in values}

    def find(value):
        while leader[value] != value:
            value = leader[value]
        return value

    for a, b in ties:
        leader[find(a)] = find(b)
    groups = {}
    for value in sorted(values):
        groups.setdefault(find(value), []).append(value)
    return list(groups.values())


def requant_of(quant: Quant, factors, shifts, sums, constants=0, relu=False, added: Quant | None = None) -> Requant:
    """What turns sums into codes of `quant`: value = factor * sum + shift, and the added value.

    factors, shifts (rows,) float64; sums: (rows,) the largest magnitude a sum can have; constants: (rows,) int64 what
    the zero point adds to every sum. OverflowError where no shift fits them all into 62 bits.
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


def _most_code(kind, readers):
    """The largest code with which no sum of a product that reads the value leaves int32."""
    most = kind.most
    for name, largest in readers:
        allowed = MAX_SUM // max(1, largest)
        if allowed < (most if kind.least == 0 else 1):          # unsigned codes are not made fewer
            raise UsageError(f"activations {kind.name}: the sums of {name} leave int32; use float32")
        most = min(most, allowed)
    return most


def _quant(kind, low, high, most):
    if kind.least < 0:                                          # symmetric
        return Quant(_scale(WIDE_MARGIN * max(-low, high), most), 0, -most, most)
    scale = _scale(high - low, most)
    return Quant(scale, int(np.rint(-low / scale)), 0, most)


def _scale(width, codes):
    """A step of width / codes as a float32; 1 where that, or its reciprocal, is no normal float32: all is 0 then."""
    scale = float(np.float32(width / codes))
    return scale if scale >= MIN_SCALE else 1.0


def _split(value):
    """(m, t), m of int32, with m << t the whole number, the bits that m has no room for cut off."""
    value, shift = int(value), 0
    while abs(value) > MAX_SUM:
        value, shift = value >> 1, shift + 1
    return value, shift
