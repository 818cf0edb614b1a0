/* Shared by the files of the runtime; not for other code. */
#ifndef TINYQ_INTERNAL_H
#define TINYQ_INTERNAL_H

#include "tinyq_runtime.h"

/* C99 leaves the right shift of a negative number to the compiler; the runtime needs an arithmetic one. */
typedef char tinyq_shifts_are_arithmetic[(-5 >> 1) == -3 ? 1 : -1];

static inline int32_t tinyq_clamped_code(int32_t v, int32_t low, int32_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* v / 2^shift for a shift of 32 or more, where half of 2^shift is already added to v, rounded: a tie to the even
   neighbour. */
static inline int32_t tinyq_rounded_high(int64_t v, int32_t shift)
{
    int32_t high = (int32_t)(v >> 32), q = high >> (shift - 32);
    uint32_t rest = (uint32_t)high & (((uint32_t)1 << (shift - 32)) - 1u);
    return ((uint32_t)v | rest) == 0 ? q & ~1 : q;
}

/* Turn a sum into a code; index: of the row or window. */
int32_t tinyq_requantised(const tinyq_requant *q, int32_t index, int64_t sum, int32_t added);

/* The k weights of a row, decoded into `levels` if they are codes. */
static inline const int8_t *tinyq_row(const tinyq_weights *w, int32_t row, int8_t *levels)
{
    if (!w->decode)
        return (const int8_t *)w->data + (size_t)row * (size_t)w->row_bytes;
    w->decode(w, row, levels);
    return levels;
}

/* Words of a row of the plane, and rows of a plane of `count` rows of outputs. */
static inline int32_t tinyq_pitch(const tinyq_conv *op)
{
    return (op->lane - 1) * op->stride_x + (op->kw - 1) * op->dilation_x + 1;
}

static inline int32_t tinyq_plane_rows(const tinyq_conv *op, int32_t count)
{
    return (count - 1) * op->stride_y + (op->kh - 1) * op->dilation_y + 1;
}

/* A stripe of `count` rows of outputs of a group; line: the first row of y that they give. */
typedef struct {
    const void *added;
    void *y, *plane, *work;
    int32_t group, line, count;
} tinyq_stripe;

/* Compute a stripe whose plane is laid out. */
typedef void tinyq_computation(const tinyq_conv *op, const tinyq_stripe *s);

/* Lay out and compute stripe after stripe; the pointers of s are given. */
void tinyq_convolve_u8(const tinyq_conv *op, tinyq_computation *compute, const uint8_t *x, tinyq_stripe *s);
void tinyq_convolve_i16(const tinyq_conv *op, tinyq_computation *compute, const int16_t *x, tinyq_stripe *s);

/* Requantise and store a block of a row's sums, `count` rows of 4 * lane; line: the first row of y that they give. */
void tinyq_store_block_u8(const tinyq_conv *op, const tinyq_stripe *s, int32_t row, int32_t line, int32_t count,
                          int32_t *sums);
void tinyq_store_block_i16(const tinyq_conv *op, const tinyq_stripe *s, int32_t row, int32_t line, int32_t count,
                           int32_t *sums);

#endif
