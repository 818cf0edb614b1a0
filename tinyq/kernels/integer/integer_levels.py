"""Integer levels in the order the integer tiles read them, and again as codes of 2, 4 or 8 bits."""
import numpy as np

from tinyq.kernels.integer.coded_rows import LONGEST_EVEN_ROW
from tinyq.kernels.integer.tile_shape import NR, RUN, SHORT_RUN, VECTOR_BYTES
from tinyq.kernels.jit.isa import MAX_NARROW, SHAPE

_CODES = ((2, 4), (4, 16))              # (bits a code, how many levels they tell apart)


def pack_levels(levels, groups, size):
    """Return (packed uint8 (groups, panels, halves * panel bytes), table (VECTOR_BYTES,) int8, bits, steps, halves).

    levels: (outputs, k) int8, k as rows of codes are gathered; size: bytes of an activation's code. A panel is NR
    outputs of one group, (4 * steps / (size * run), NR, run): `run` levels of an output lie side by side. halves: 2
    where the instruction set holds a pair of products of 8-bit codes only up to MAX_NARROW: then the levels are the sum
    of two.
    """
    each, run = 4 // size, RUN if size == 1 else SHORT_RUN
    outputs, k = levels.shape
    multiple = SHAPE.step_multiple if size == 1 else max(1, SHORT_RUN // each)
    steps, panels = -(-k // (each * multiple)) * multiple, -(-(outputs // groups) // NR)
    halves = 2 if size == 1 and not SHAPE.wide and np.abs(levels.astype(np.int64)).max() > MAX_NARROW else 1
    padded = np.zeros((groups, panels * NR, steps * each), np.int8)
    padded[:, :outputs // groups, :k] = levels.reshape(groups, -1, k)
    ordered = padded.reshape(groups, panels, NR, -1, run).transpose(0, 1, 3, 2, 4)
    parts = [ordered]
    if halves == 2:
        first = np.clip(ordered, -MAX_NARROW, MAX_NARROW)
        parts = [first, ordered - first]
    vectors = np.stack(parts, axis=2).reshape(groups, panels, -1, VECTOR_BYTES)
    return *_coded(np.ascontiguousarray(vectors)), steps, halves


def even_levels(table, bits, steps):
    """Return (least level, step from one level to the next) where even_row can take them; else (0, 0)."""
    levels = table[:1 << bits].astype(np.int64)
    count = max(1, int(np.argmax(levels)) + 1)                 # ascending, and 0 behind the last
    gaps = np.unique(np.diff(levels[:count]))
    if bits != 2 or gaps.size != 1 or 4 * steps > LONGEST_EVEN_ROW:
        return 0, 0
    return int(levels[0]), int(gaps[0])


def _coded(vectors):
    """Return (codes of as few bits as the levels need, 8 / bits vectors packed into one; their levels; bits)."""
    values = np.unique(vectors)
    bits = next((bits for bits, many in _CODES if len(values) <= many), 8)
    table = np.zeros(VECTOR_BYTES, np.int8)
    if bits == 8:
        return vectors.reshape(*vectors.shape[:2], -1).view(np.uint8), table, bits
    # look-ups are within 16 bytes: the table is repeated
    table.reshape(-1, 16)[:, :len(values)] = values
    many, (groups, panels, count, _) = 8 // bits, vectors.shape
    whole = np.zeros((groups, panels, -(-count // many) * many, VECTOR_BYTES), np.uint8)
    whole[:, :, :count] = np.searchsorted(values, vectors)
    whole = whole.reshape(groups, panels, -1, many, VECTOR_BYTES)
    packed = np.zeros((*whole.shape[:3], VECTOR_BYTES), np.uint8)
    for j in range(many):
        packed |= whole[:, :, :, j] << np.uint8(j * bits)
    return packed.reshape(groups, panels, -1), table, bits
