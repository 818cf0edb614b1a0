"""A 128-bit digest of any array at the speed of memory; a change of one word always changes it.

It is not a cryptographic hash: two arrays with equal digests are easy to construct. All of it is integer arithmetic
modulo a power of two in a fixed order, so its bits depend neither on the machine nor on the number of threads.

The array is read as 32-bit words in chunks of DIGEST_CHUNK. In a chunk 16 lanes take stripes of 32 words: lane j takes
word x at j and word y at 16 + j of stripe s, padded with 0 at the end of the array.

    product_j += (x ^ (k_j + s G)) (y ^ (l_j + s H))            distinguishes words and their places
    chain_j    = rotated(chain_j, 23) + x + 2^32 y              changes with any one word, being invertible

A chunk's lanes, and then the chunks, are folded in ascending order, again invertibly in every chain.
"""
from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyq.kernels.contract import (
    DIGEST_CHUNK,
    DIGEST_LANES,
    DIGEST_MIXERS,
    DIGEST_ROTATION,
    DIGEST_STEPS,
    GOLDEN,
    digest_keys,
)
from tinyq.kernels.jit.compile import njit, part, prange
from tinyq.kernels.simd.llvm import I32, I64, broadcast, load, splat

STRIPE = 2 * DIGEST_LANES
MIN_PARALLEL_WORDS = 1 << 17             # words; below, waking the other threads costs more than they save
WORDS, SUMS = ir.VectorType(I32, DIGEST_LANES), ir.VectorType(I64, DIGEST_LANES)
FIRST, SECOND = (np.uint64(mixer) for mixer in DIGEST_MIXERS)
START = np.uint64(GOLDEN)
U27, U30, U31, ZERO = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(0)


def digest(words: np.ndarray, ends: Sequence[int] = ()) -> np.ndarray:
    """Return the digests (n, 2) uint64 of n arrays that follow one another in `words`.

    words: uint32, 1-D, C-contiguous; ends: where each of the arrays ends, () for one array.
    """
    assert words.dtype == np.uint32 and words.ndim == 1 and words.flags.c_contiguous
    if not ends and words.size >= MIN_PARALLEL_WORDS:
        return _digest_parallel(words)
    return _digests(words, np.array(ends or [words.size]))


@njit
def _digests(words, ends):
    result, state = np.empty((len(ends), 2), np.uint64), np.empty(2 * DIGEST_LANES, np.uint64)
    folded, start = np.empty((_chunks_of(words), 2), np.uint64), 0
    for i in range(len(ends)):
        array = words[start:ends[i]]
        chunks = folded[:_chunks_of(array)]
        for chunk in range(len(chunks)):
            _chunk(array, chunk, state, chunks)
        _fold(chunks, array.size, result[i])
        start = ends[i]
    return result


@njit(parallel=True)
def _digest_parallel(words):
    folded = np.empty((_chunks_of(words), 2), np.uint64)
    for chunk in prange(len(folded)):
        _chunk(words, chunk, np.empty(2 * DIGEST_LANES, np.uint64), folded)
    result = np.empty((1, 2), np.uint64)
    _fold(folded, words.size, result[0])
    return result


@part
def _chunks_of(words):
    return -(-words.size // DIGEST_CHUNK)


@part
def _chunk(words, chunk, state, folded):
    """Fold one chunk into folded[chunk]; state: (2 lanes,) to work in."""
    state[:] = ZERO
    start, end = chunk * DIGEST_CHUNK, min((chunk + 1) * DIGEST_CHUNK, words.size)
    stripes = (end - start) // STRIPE
    _absorb(words, start, 0, stripes, state)
    rest = start + stripes * STRIPE
    if rest < end:
        last = np.zeros(STRIPE, np.uint32)
        for k in range(end - rest):
            last[k] = words[rest + k]
        _absorb(last, 0, stripes, 1, state)
    product, chain = ZERO, ZERO
    for lane in range(DIGEST_LANES):
        product = _mixed(product ^ state[lane])
        chain = _mixed((chain ^ state[DIGEST_LANES + lane]) + product)
    folded[chunk, 0], folded[chunk, 1] = product, chain


@part
def _fold(folded, size, result):
    product, chain = _mixed(START + np.uint64(size)), START
    for chunk in range(len(folded)):
        product = _mixed(product ^ folded[chunk, 0])
        chain = _mixed((chain ^ folded[chunk, 1]) + product)
    result[0], result[1] = product, chain


@part
def _mixed(z):
    """Spread every bit of z over all 64, invertibly (the finaliser of splitmix64)."""
    z = (z ^ (z >> U30)) * FIRST
    z = (z ^ (z >> U27)) * SECOND
    return z ^ (z >> U31)


@intrinsic
def _absorb(typingctx, words, start, stripe, count, state):
    """Take `count` stripes from words[start] on, of which the first is number `stripe`, into the lanes of `state`."""
    return types.void(words, types.int64, types.int64, types.int64, state), _absorbing


def _absorbing(context, builder, signature, args):
    words, state = (context.make_array(kind)(context, builder, array).data
                    for kind, array in ((signature.args[0], args[0]), (signature.args[4], args[4])))
    words = builder.gep(words, [args[1]])
    places = [builder.bitcast(builder.gep(state, [I64(at)]), SUMS.as_pointer()) for at in (0, DIGEST_LANES)]
    product, chain = (cgutils.alloca_once_value(builder, load(builder, state, I64(at), SUMS))
                      for at in (0, DIGEST_LANES))
    keys = [cgutils.alloca_once_value(builder, _keys_at(builder, args[2], half)) for half in (0, 1)]
    with cgutils.for_range(builder, args[3]) as loop:
        at = builder.mul(loop.index, I64(STRIPE))
        halves = [load(builder, words, builder.add(at, I64(offset)), WORDS) for offset in (0, DIGEST_LANES)]
        keyed = []
        for half, key, step in zip(halves, keys, DIGEST_STEPS, strict=True):
            k = builder.load(key)
            keyed.append(builder.zext(builder.xor(half, k), SUMS))
            builder.store(builder.add(k, splat(WORDS, step)), key)
        builder.store(builder.add(builder.load(product), builder.mul(*keyed)), product)
        low, high = (builder.zext(half, SUMS) for half in halves)
        both = builder.or_(low, builder.shl(high, splat(SUMS, 32)))
        builder.store(builder.add(_rotated(builder, builder.load(chain)), both), chain)
    for lanes, place in zip((product, chain), places, strict=True):
        builder.store(builder.load(lanes), place).align = 8
    return context.get_dummy_value()


def _keys_at(builder, stripe, half):
    """Return the lanes' keys of one half of a stripe: k_j + stripe * step, modulo 2^32."""
    number = builder.mul(builder.trunc(stripe, I32), I32(DIGEST_STEPS[half]))
    return builder.add(broadcast(builder, number, WORDS), ir.Constant(WORDS, digest_keys(half)))


def _rotated(builder, z):
    return builder.or_(builder.shl(z, splat(SUMS, DIGEST_ROTATION)), builder.lshr(z, splat(SUMS, 64 - DIGEST_ROTATION)))
