#include "tinyq_internal.h"

/* Replace the first `count` sums by the largest of windows of size x size. */
static void pool(int32_t *sums, int32_t size, int32_t pitch, int32_t count)
{
    for (int32_t i = 1; i < size; i++)
        for (int32_t x = 0; x < pitch; x++)
            sums[x] = sums[i * pitch + x] > sums[x] ? sums[i * pitch + x] : sums[x];
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

/* Instantiate the kernels for each type of code; MULTIPLY adds weight * p[i] to four sums. */
#define MULTIPLY_EACH(weight, p, a, b, c, d) \
    do { \
        int32_t w = weight; \
        const CODE *q = p; \
        a += w * q[0], b += w * q[1], c += w * q[2], d += w * q[3]; \
    } while (0)

#define CODE uint8_t
#define NAMED(function) function##_u8
#define MULTIPLY MULTIPLY_EACH
#include "tinyq_kernels.h"
#undef CODE
#undef NAMED
#undef MULTIPLY

#define CODE int16_t
#define NAMED(function) function##_i16
#define MULTIPLY MULTIPLY_EACH
#include "tinyq_kernels.h"
