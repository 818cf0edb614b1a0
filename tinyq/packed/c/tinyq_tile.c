/* Sums of inputs at a tile of outputs, without multiplications; see tinyq_additions.c. */
#include "tinyq_additions.h"

#if TILE == 4
/* Lanes of 16 bits hold sums of codes 0 and 2 of each word, or of 1 and 3. */
const uint16_t *tinyq_sum_tile(const uint16_t *ends, const uint8_t *plane, const int32_t from[TILE],
                               uint16_t sums[ROWS][4 * TILE])
{
    const uint16_t *inputs = ends + LISTS + 1, *at = inputs;
    const uint32x4_t words = vreinterpretq_u32_s32(vldrwq_s32(from));
    const uint16x8_t bias = vdupq_n_u16(BIAS), zero = vdupq_n_u16(0);
    uint16x8x2_t a = {{bias, bias}}, b = a, c = a;
    for (int32_t pair = 0; pair < 5; pair++) {
        uint16x8_t all0 = zero, all1 = zero;
        for (int32_t third = 1; third >= (pair < 4 ? -1 : 1); third--) {
            uint16x8_t even = zero, odd = zero;
            for (const uint16_t *end = inputs + *ends++; at != end; at++) {
                uint8x16_t v = vreinterpretq_u8_u32(
                    vldrwq_gather_offset_u32((const uint32_t *)(const void *)(plane + *at), words));
                even = vaddq_u16(even, vmovlbq_u8(v));
                odd = vaddq_u16(odd, vmovltq_u8(v));
            }
            for (const uint16_t *end = inputs + *ends++; at != end; at++) {
                uint8x16_t v = vreinterpretq_u8_u32(
                    vldrwq_gather_offset_u32((const uint32_t *)(const void *)(plane + *at), words));
                even = vsubq_u16(even, vmovlbq_u8(v));
                odd = vsubq_u16(odd, vmovltq_u8(v));
            }
            all0 = vaddq_u16(all0, even), all1 = vaddq_u16(all1, odd);
            if (third > 0)
                c.val[0] = vaddq_u16(c.val[0], even), c.val[1] = vaddq_u16(c.val[1], odd);
            else if (third < 0)
                c.val[0] = vsubq_u16(c.val[0], even), c.val[1] = vsubq_u16(c.val[1], odd);
        }
        if (pair != 1 && pair != 4)
            a.val[0] = vaddq_u16(a.val[0], all0), a.val[1] = vaddq_u16(a.val[1], all1);
        if (pair == 1 || pair == 2)
            b.val[0] = vaddq_u16(b.val[0], all0), b.val[1] = vaddq_u16(b.val[1], all1);
        else if (pair == 3)
            b.val[0] = vsubq_u16(b.val[0], all0), b.val[1] = vsubq_u16(b.val[1], all1);
    }
    vst2q_u16(sums[0], a);
    vst2q_u16(sums[1], b);
    vst2q_u16(sums[2], c);
    return inputs + *ends;
}

#else

/* Sums of four outputs: of codes 0 and 2, and of codes 1 and 3 or, without instructions for halves, of the words
   shifted right by 8. */
typedef struct {
    uint32_t even, odd;
} sums4;

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
static inline void add_word(sums4 *s, uint32_t word)
{
    __asm__("uxtab16 %0, %0, %1" : "+r"(s->even) : "r"(word));
    __asm__("uxtab16 %0, %0, %1, ror #8" : "+r"(s->odd) : "r"(word));
}

static inline uint32_t odd_codes(const sums4 *s)
{
    return s->odd;
}
#else
static inline void add_word(sums4 *s, uint32_t word)
{
    s->even += word & 0x00ff00ffu;
    s->odd += word >> 8;
}

static inline uint32_t odd_codes(const sums4 *s)
{
    return s->odd - (((s->even >> 16) - BIAS) << 8);
}
#endif

/* Add the words of a list to s[0], and those `second` bytes further to s[1]. */
static inline const uint16_t *sum_list(const uint16_t *at, const uint16_t *end, const uint8_t *plane, int32_t second,
                                       sums4 s[2])
{
    sums4 a = {0, 0}, b = {0, 0};
    while (at != end) {
        const uint8_t *p = plane + *at++;
        uint32_t v = *(const uint32_t *)(const void *)p, w = *(const uint32_t *)(const void *)(p + second);
        add_word(&a, v);
        add_word(&b, w);
    }
    s[0] = a, s[1] = b;
    return at;
}

static inline void add(sums4 *to, const sums4 *from)
{
    for (int32_t i = 0; i < TILE; i++) {
        to[i].even += from[i].even;
        to[i].odd += from[i].odd;
    }
}

static inline void subtract(sums4 *to, const sums4 *from)
{
    for (int32_t i = 0; i < TILE; i++) {
        to[i].even -= from[i].even;
        to[i].odd -= from[i].odd;
    }
}

/* Code 0 is the first byte in memory. */
static void take_apart(const sums4 *s, uint16_t *sums)
{
    const uint16_t one = 1;
    int32_t first = *(const uint8_t *)&one ? 0 : 3, next = first ? -1 : 1;
    uint32_t even = s->even, odd = odd_codes(s);
    sums[first] = (uint16_t)even;
    sums[first + next] = (uint16_t)odd;
    sums[first + 2 * next] = (uint16_t)(even >> 16);
    sums[first + 3 * next] = (uint16_t)(odd >> 16);
}

const uint16_t *tinyq_sum_tile(const uint16_t *ends, const uint8_t *plane, const int32_t from[TILE],
                               uint16_t sums[ROWS][4 * TILE])
{
    const uint16_t *inputs = ends + LISTS + 1, *at = inputs;
    int32_t second = from[1] - from[0];
    sums4 rows[ROWS][TILE];
    plane += from[0];
    for (int32_t k = 0; k < ROWS; k++)
        for (int32_t i = 0; i < TILE; i++)
            rows[k][i].even = rows[k][i].odd = BIAS * 0x10001u;
    for (int32_t pair = 0; pair < 5; pair++) {
        sums4 all[TILE] = {{0, 0}, {0, 0}};
        for (int32_t third = 1; third >= (pair < 4 ? -1 : 1); third--) {
            sums4 plus[TILE], minus[TILE];
            at = sum_list(at, inputs + *ends++, plane, second, plus);
            at = sum_list(at, inputs + *ends++, plane, second, minus);
            subtract(plus, minus);
            add(all, plus);
            if (third > 0)
                add(rows[2], plus);
            else if (third < 0)
                subtract(rows[2], plus);
        }
        if (pair != 1 && pair != 4)
            add(rows[0], all);
        if (pair == 1 || pair == 2)
            add(rows[1], all);
        else if (pair == 3)
            subtract(rows[1], all);
    }
    for (int32_t k = 0; k < ROWS; k++)
        for (int32_t i = 0; i < TILE; i++)
            take_apart(&rows[k][i], sums[k] + 4 * i);
    return inputs + *ends;
}

#endif
