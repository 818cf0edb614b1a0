#include "tinyq_internal.h"

#if defined(__ARM_FEATURE_MVE) && __ARM_FEATURE_MVE
#include <arm_mve.h>
#endif

int32_t tinyq_requantised(const tinyq_requant *q, int32_t index, int64_t sum, int32_t added)
{
    int64_t v = sum * q->multiplier[index * q->multiplier_each] + q->offset[index * q->offset_each];
    v += added * q->added_step;
    int64_t code = v >> q->shift;
    if (code * ((int64_t)1 << q->shift) == v)               /* a tie: half is already added */
        code &= ~(int64_t)1;
    return code < q->low ? q->low : code > q->high ? q->high : (int32_t)code;
}

/* Replace sums by the larger of themselves and those of the next row; count: a multiple of 4. */
static void take_larger(int32_t *sums, const int32_t *next, int32_t count)
{
#if defined(__ARM_FEATURE_MVE) && __ARM_FEATURE_MVE
    for (; count > 0; count -= 4, sums += 4, next += 4)
        vstrwq_s32(sums, vmaxq_s32(vldrwq_s32(sums), vldrwq_s32(next)));
#else
    for (; count > 0; count--, sums++, next++)
        *sums = *next > *sums ? *next : *sums;
#endif
}

/* Replace the first `count` sums by the largest of windows of size x size. */
static void pool(int32_t *sums, int32_t size, int32_t pitch, int32_t count)
{
    if (size == 1)
        return;
    for (int32_t i = 1; i < size; i++)
        take_larger(sums, sums + i * pitch, pitch);
    for (const int32_t *from = sums, *end = sums + count; sums < end; sums++) {
        int32_t most = *from++;
        for (int32_t j = 1; j < size; j++, from++)
            most = *from > most ? *from : most;
        *sums = most;
    }
}

/* Find the word of the plane that each weight of a row multiplies, for the first output. */
static void find_words(const tinyq_conv *op, int32_t rows, uint16_t *words)
{
    int32_t pitch = tinyq_pitch(op);
    for (int32_t c = 0; c < op->channels; c++)
        for (int32_t i = 0; i < op->kh; i++)
            for (int32_t j = 0; j < op->kw; j++)
                *words++ = (uint16_t)((c * rows + i * op->dilation_y) * pitch + j * op->dilation_x);
}

/* Add weight * p[0], ..., weight * p[3] to four sums. */
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && !defined(__ARM_BIG_ENDIAN)
typedef uint32_t __attribute__((__may_alias__)) codes_in_word;       /* codes are stored as uint8_t or int16_t */

static inline void multiply_halves(int32_t weight, uint32_t halves, int32_t *low, int32_t *high)
{
    __asm__("smlabb %0, %1, %2, %0" : "+r"(*low) : "r"(halves), "r"(weight));
    __asm__("smlatb %0, %1, %2, %0" : "+r"(*high) : "r"(halves), "r"(weight));
}

static inline void multiply_u8(int32_t weight, const uint8_t *p, int32_t *a, int32_t *b, int32_t *c, int32_t *d)
{
    uint32_t even, odd, word = *(const codes_in_word *)(const void *)p;
    __asm__("uxtb16 %0, %1" : "=r"(even) : "r"(word));
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(word));
    multiply_halves(weight, even, a, c);
    multiply_halves(weight, odd, b, d);
}

static inline void multiply_i16(int32_t weight, const int16_t *p, int32_t *a, int32_t *b, int32_t *c, int32_t *d)
{
    const codes_in_word *words = (const codes_in_word *)(const void *)p;
    multiply_halves(weight, words[0], a, b);
    multiply_halves(weight, words[1], c, d);
}
#else
static inline void multiply_u8(int32_t weight, const uint8_t *p, int32_t *a, int32_t *b, int32_t *c, int32_t *d)
{
    *a += weight * p[0], *b += weight * p[1], *c += weight * p[2], *d += weight * p[3];
}

static inline void multiply_i16(int32_t weight, const int16_t *p, int32_t *a, int32_t *b, int32_t *c, int32_t *d)
{
    *a += weight * p[0], *b += weight * p[1], *c += weight * p[2], *d += weight * p[3];
}
#endif

/* Instantiate the kernels for each type of code. */
#define CODE uint8_t
#define NAMED(function) function##_u8
#include "tinyq_kernels.h"
#undef CODE
#undef NAMED

#define CODE int16_t
#define NAMED(function) function##_i16
#include "tinyq_kernels.h"
