#include "tinyq_runtime.h"

/* floor(v / 2^shift). In C99 the right shift of a negative number is implementation-defined; this is not. */
static int64_t floor_shift(int64_t v, int32_t shift)
{
    return v < 0 ? ~(~v >> shift) : v >> shift;
}

/* v / 2^shift, rounded half to even; shift >= 1, |v| < 2^62. */
static int64_t rounded(int64_t v, int32_t shift)
{
    int64_t odd = floor_shift(v, shift) & 1;
    return floor_shift(v + (((int64_t)1 << (shift - 1)) - 1) + odd, shift);
}

/* Turn a sum into a code; index: of the row or window. */
static int32_t requantised(const tinyq_requant *q, int32_t index, int64_t sum, int64_t added)
{
    int32_t i = q->each ? index : 0;
    int64_t v = sum * q->multiplier[i] + q->offset[i];
    v += added * q->added_multiplier * ((int64_t)1 << q->added_shift);
    v = rounded(v, q->shift);
    return v < q->low ? q->low : v > q->high ? q->high : (int32_t)v;
}

static void decode_bits(const tinyq_weights *w, const uint8_t *row, int8_t *levels)
{
    int32_t each = 8 / w->bits, mask = (1 << w->bits) - 1, left = 0, codes = 0;
    for (int32_t j = 0; j < w->k; j++, left--, codes >>= w->bits) {
        if (left == 0) {
            codes = *row++;
            left = each;
        }
        levels[j] = w->levels[codes & mask];
    }
}

static void decode_planes(const tinyq_weights *w, const uint8_t *row, int8_t *levels)
{
    int32_t plane = w->row_bytes / 3;
    for (int32_t j = 0; j < w->k; j++) {
        const uint8_t *bits = row + j / 8;
        int32_t code = 0;
        for (int32_t i = 0; i < 3; i++)
            code |= ((bits[i * plane] >> (j % 8)) & 1) << i;
        levels[j] = w->levels[code];
    }
}

static void decode_trits(const tinyq_weights *w, const uint8_t *row, int8_t *levels)
{
    int32_t left = 0, codes = 0;
    for (int32_t j = 0; j < w->k; j++, left--, codes /= 3) {
        if (left == 0) {
            codes = *row++;
            left = 5;
        }
        levels[j] = w->levels[codes % 3];
    }
}

static void decode_bytes(const tinyq_weights *w, const uint8_t *row, int8_t *levels)
{
    for (int32_t j = 0; j < w->k; j++)
        levels[j] = (int8_t)(row[j] < 128 ? row[j] : row[j] - 256);
}

/* Decode the k weights of a row. */
static void decode(const tinyq_weights *w, int32_t row, int8_t *levels)
{
    const uint8_t *data = w->data + (size_t)row * (size_t)w->row_bytes;
    switch (w->scheme) {
    case TINYQ_BITS:
        decode_bits(w, data, levels);
        break;
    case TINYQ_PLANES:
        decode_planes(w, data, levels);
        break;
    case TINYQ_TRITS:
        decode_trits(w, data, levels);
        break;
    case TINYQ_BYTES:
    default:
        decode_bytes(w, data, levels);
        break;
    }
}

/* Instantiate the kernels for each type of code. */
#define CODE uint8_t
#define NAMED(function) function##_u8
#include "tinyq_kernels.h"
#undef CODE
#undef NAMED

#define CODE int16_t
#define NAMED(function) function##_i16
#include "tinyq_kernels.h"
