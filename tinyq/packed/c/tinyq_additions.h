/* Shared by tinyq_additions.c and tinyq_tile.c; not for other code. */
#ifndef TINYQ_ADDITIONS_H
#define TINYQ_ADDITIONS_H

#include "tinyq_internal.h"

#define ROWS 3                          /* of weights, taken together */
#define LISTS 26                        /* list LISTS is of inputs with three zero weights */
#define BIAS 0x8000                     /* makes sums in 16 bits positive */

/* Words of outputs in a tile. */
#if defined(__ARM_FEATURE_MVE) && __ARM_FEATURE_MVE
#define TILE 4
#include <arm_mve.h>
#else
#define TILE 2
#endif

/* Write the listing of a part: the ends of its lists and then their inputs, in bytes from an output's first word in the
   plane. lists: of each input, as in tinyq_conv; rows: of the plane. Return the end of the listing. */
uint16_t *tinyq_list_inputs(const tinyq_conv *op, const tinyq_part *part, const uint16_t *lists, int32_t rows,
                            uint16_t *ends);

/* Sum the inputs of three rows of weights at the outputs whose first words lie at plane + from[i]; sums have BIAS. ends:
   a listing. Return its end. */
const uint16_t *tinyq_sum_tile(const uint16_t *ends, const uint8_t *plane, const int32_t from[TILE],
                               uint16_t sums[ROWS][4 * TILE]);

/* Add four sums with BIAS, times `scale`, to to[0], to[lane], to[2 * lane] and to[3 * lane], or replace those: then scale
   is 1. */
static inline void tinyq_spread(const uint16_t *sums, int32_t scale, int32_t replace, int32_t *to, int32_t lane)
{
#if TILE == 4
    uint32x4_t at = vmulq_n_u32(vidupq_n_u32(0, 4), (uint32_t)lane);
    int32x4_t more = vsubq_n_s32(vreinterpretq_s32_u32(vldrhq_u32(sums)), BIAS);
    if (!replace)
        more = vaddq_s32(vmulq_n_s32(more, scale), vldrwq_gather_offset_s32(to, at));
    vstrwq_scatter_offset_s32(to, at, more);
#else
    for (const uint16_t *end = sums + 4; sums < end; sums++, to += lane)
        *to = replace ? (int32_t)*sums - BIAS : *to + ((int32_t)*sums - BIAS) * scale;
#endif
}

#endif
