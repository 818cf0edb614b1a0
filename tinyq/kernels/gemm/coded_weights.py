"""Weights in codes: level runs in the order the register tile reads them, one run per tile and block of k."""
from typing import NamedTuple

import numpy as np

from tinyq.kernels.contract import KC
from tinyq.kernels.gemm.level_runs import decode_floats_2, decode_floats_4, encode, run_bytes
from tinyq.kernels.jit.compile import part
from tinyq.kernels.simd.vectors import LANES, MR

BEHIND = 32 // 2 * LANES                # floats that decoding may write past a run


class Coded(NamedTuple):
    """Weights as codes, for compiled code. If bits is 0, the weights are floats and the other fields are unused."""

    bits: int
    tiles: int                          # of rows, per group
    run: int                            # bytes of a whole block's run
    last_run: int                       # of the last block's
    blocks: int
    codes: np.ndarray                   # uint8: (group, block, tile) one after the other
    table: np.ndarray                   # float32


NOT_CODED = Coded(0, 0, 0, 0, 0, np.empty(0, np.uint8), np.empty(0, np.float32))


def code_rows(packed: np.ndarray, levels: np.ndarray, bits: int) -> Coded:
    """Encode weight_panels.pack_rows(...) of these levels, ascending float32; rows beyond a group's are level 0."""
    groups, tiles, taps, _ = packed.shape
    flat = packed.reshape(groups, -1)
    parts, table = [], NOT_CODED.table
    starts = [*range(0, taps, KC), taps]
    for group in range(groups):
        for start, end in zip(starts, starts[1:], strict=False):
            count = (end - start) * MR
            begin = start * tiles * MR
            codes, table = encode(flat[group, begin:begin + tiles * count].reshape(tiles, count), levels)
            parts.append(codes.reshape(-1))
    run, last = (run_bytes(k * MR, bits) for k in (KC, taps - starts[-2]))
    return Coded(bits, tiles, run, last, len(starts) - 1, np.concatenate(parts), table)


def decoded_size(packed: np.ndarray, coded: Coded, k: int) -> int:
    """Count the floats of the buffer that decode_block needs for k of all tiles of a group."""
    return packed.shape[1] * k * MR + BEHIND if coded.bits else 0


@part
def decode_block(coded, group, block, top, bottom, k, target):
    """Decode tiles top ... bottom - 1 of a block of k, one tile after the other, to an address."""
    run = coded.last_run if block == coded.blocks - 1 else coded.run
    group_bytes = coded.tiles * (coded.run * (coded.blocks - 1) + coded.last_run)
    at = coded.codes.ctypes.data + group * group_bytes + coded.tiles * coded.run * block
    for t in range(top, bottom):
        decode_run(coded, at + t * run, k * MR, target + (t - top) * k * MR * 4)


@part
def decode_run(coded, codes, count, target):
    """Decode `count` floats of a run of codes, or of a part of one, by address."""
    if coded.bits == 2:
        decode_floats_2(codes, count, coded.table.ctypes.data, target)
    else:
        decode_floats_4(codes, count, coded.table.ctypes.data, target)
