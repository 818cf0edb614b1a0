/* Convolutions without multiplications. A weight is a sum of +-2^p. For each power p, three rows of weights are taken
   together: the inputs for which the three have the same signs, or all opposite ones, are summed once for all three, so
   that 2.9 additions of rows of weights become 1, and 13 sums of such groups give the three outputs.

   A word of the plane holds four codes. Sums of codes 0 and 2 are kept in the halves of one word, and sums of the
   word shifted by 8 in another: modulo 2^32 they are exact, and codes 1 and 3 follow at the end. tinyq exports a
   convolution for these kernels only if no row of weights has more than 128 weights of one sign, power and chunk of
   channels: its sums, 255 * 128 at most, fit the halves. */
#include "tinyq_internal.h"

#define ROWS 3
#define LISTS 26
#define ENDS (LISTS + 1)                /* the last list is of inputs with three zero weights */
#define BIAS 0x8000                     /* makes the sums in halves of a word positive */

/* Signs of the three rows, two bits each: 0 for -, 1 for 0, 2 for +. Lists 2 g and 2 g + 1 are of opposite signs, added
   to and subtracted from the sum of group g. Groups of the first two rows' signs (+0), (0+), (++), (+-) follow each other,
   each with signs +, 0, - of the third row; group 12 is of (00+). */
TINYQ_CONST static const uint8_t list_of_signs[64] = {
    13, 7, 22, 26, 1, 25, 4, 26, 19, 10, 16, 26, 26, 26, 26, 26,
    15, 9, 20, 26, 3, 26, 2, 26, 21, 8, 14, 26, 26, 26, 26, 26,
    17, 11, 18, 26, 5, 24, 0, 26, 23, 6, 12, 26, 26, 26, 26, 26,
    26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26, 26
};

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

/* Add the words of a list, of two rows of outputs, to s and t. A listing is the ends of its lists and then their inputs,
   as bytes from the first word of an output in the plane. */
static inline const uint16_t *sum_list(const uint16_t *at, const uint16_t *end, const uint8_t *plane, int32_t second,
                                       sums4 *s, sums4 *t)
{
    sums4 above = {0, 0}, below = {0, 0};
    while (at != end) {
        const uint8_t *p = plane + *at++;
        uint32_t v = *(const uint32_t *)(const void *)p, w = *(const uint32_t *)(const void *)(p + second);
        add_word(&above, v);
        add_word(&below, w);
    }
    *s = above, *t = below;
    return at;
}

/* to += sign * from */
static inline void add(sums4 *to, const sums4 *from, int32_t sign)
{
    if (sign < 0) {
        to->even -= from->even;
        to->odd -= from->odd;
    } else {
        to->even += from->even;
        to->odd += from->odd;
    }
}

/* Sum the inputs of three rows of weights at four outputs of two rows. Return the end of the listing. */
static const uint16_t *sum_tile(const uint16_t *ends, const uint8_t *plane, int32_t second, sums4 out[ROWS][2])
{
    const uint16_t *inputs = ends + ENDS, *at = inputs;
    for (int32_t k = 0; k < ROWS; k++)
        for (int32_t i = 0; i < 2; i++)
            out[k][i].even = out[k][i].odd = BIAS * 0x10001u;
    for (int32_t pair = 0; pair < 5; pair++) {
        sums4 all[2] = {{0, 0}, {0, 0}};
        for (int32_t third = 1; third >= (pair < 4 ? -1 : 1); third--) {
            sums4 plus[2], minus[2];
            at = sum_list(at, inputs + *ends++, plane, second, &plus[0], &plus[1]);
            at = sum_list(at, inputs + *ends++, plane, second, &minus[0], &minus[1]);
            for (int32_t i = 0; i < 2; i++) {
                add(&plus[i], &minus[i], -1);
                add(&all[i], &plus[i], 1);
                if (third)
                    add(&out[2][i], &plus[i], third);
            }
        }
        for (int32_t i = 0; i < 2; i++) {
            if (pair != 1 && pair != 4)
                add(&out[0][i], &all[i], 1);
            if (pair != 0 && pair != 4)
                add(&out[1][i], &all[i], pair < 3 ? 1 : -1);
        }
    }
    return inputs + *ends;
}

static int32_t is_big_endian(void)
{
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 0;
}

/* Take apart the sums of four outputs, times 2^power, and add them to those in `sums` or replace those. */
static void take_apart(const sums4 *a, int32_t power, int32_t replace, int32_t *sums, int32_t lane)
{
    uint32_t even = a->even, odd = odd_codes(a);
    int32_t part[4];
    part[0] = (int32_t)(even & 0xffffu) - BIAS;
    part[1] = (int32_t)(odd & 0xffffu) - BIAS;
    part[2] = (int32_t)(even >> 16) - BIAS;
    part[3] = (int32_t)(odd >> 16) - BIAS;
    for (int32_t i = 0; i < 4; i++) {
        int32_t sum = part[i] * (1 << power), *to = sums + (is_big_endian() ? 3 - i : i) * lane;
        *to = replace ? sum : *to + sum;
    }
}

/* The sign of 2^power in a weight's nonadjacent form: 0 for -, 1 for none, 2 for +. */
static uint32_t sign_of(int32_t weight, int32_t power)
{
    uint32_t half = (uint32_t)(weight >> 1), sum = (uint32_t)weight + half, changed = half ^ sum;
    return 1u + (((sum & changed) >> power) & 1u) - (((half & changed) >> power) & 1u);
}

/* Four codes of two bits, a byte each. */
static uint32_t spread(uint32_t codes)
{
    codes = (codes | codes << 12) & 0x000f000fu;
    return (codes | codes << 6) & 0x03030303u;
}

/* Find the list of each input of up to three rows of weights. found: k rounded up to a multiple of 4. */
typedef void finder(const tinyq_weights *w, int32_t row, int32_t rows, int32_t power, uint8_t *found);

/* Ternary codes are signs. */
static void find_by_codes(const tinyq_weights *w, int32_t row, int32_t rows, int32_t power, uint8_t *found)
{
    const uint8_t *first = w->data + (size_t)row * (size_t)w->row_bytes;
    (void)power;
    for (const uint8_t *end = found + w->k; found < end; first++) {
        uint32_t second = rows > 1 ? first[w->row_bytes] : 0x55, third = rows > 2 ? first[2 * w->row_bytes] : 0x55;
        uint32_t signs = spread(*first) | spread(second) << 2 | spread(third) << 4;
        for (int32_t i = 0; i < 4; i++, signs >>= 8)
            *found++ = list_of_signs[signs & 63];
    }
}

/* Weights are decoded behind `found`. */
static void find_by_levels(const tinyq_weights *w, int32_t row, int32_t rows, int32_t power, uint8_t *found)
{
    for (int32_t k = 0; k < ROWS; k++) {
        const int8_t *levels = k < rows ? tinyq_row(w, row + k, (int8_t *)found + w->k) : NULL;
        for (int32_t j = 0; j < w->k; j++)
            found[j] = (uint8_t)((k ? found[j] : 0u) | (levels ? sign_of(levels[j], power) : 1u) << (2 * k));
    }
    for (int32_t j = 0; j < w->k; j++)
        found[j] = list_of_signs[found[j]];
}

/* List the inputs of a part; `of` is the list of each. Return the end of the listing. */
static uint16_t *list_inputs(const tinyq_conv *op, const tinyq_part *part, const uint8_t *of, int32_t rows,
                             uint16_t *ends)
{
    int32_t pitch = tinyq_pitch(op), area = op->kh * op->kw, start = 0;
    uint16_t *inputs = ends + ENDS;
    const uint8_t *end = of + part->end * area;
    of += part->first * area;
    for (int32_t i = 0; i < ENDS; i++)
        ends[i] = 0;
    for (const uint8_t *p = of; p < end; p++)
        ends[*p]++;
    for (int32_t i = 0; i < ENDS; i++) {
        start += ends[i];
        ends[i] = (uint16_t)(start - ends[i]);
    }
    for (int32_t c = part->first; c < part->end; c++)
        for (int32_t i = 0; i < op->kh; i++) {
            uint32_t at = 4u * (uint32_t)((c * rows + i * op->dilation_y) * pitch);
            for (int32_t j = 0; j < op->kw; j++, at += 4u * (uint32_t)op->dilation_x)
                inputs[ends[*of++]++] = (uint16_t)at;           /* a begin becomes an end */
        }
    return inputs + start;
}

/* Sum one tile over all parts. second: bytes to the second row of outputs, 0 if there is none; above, below: sums of the
   two rows, lane apart. */
static void sum_parts(const tinyq_conv *op, int32_t rows, const uint16_t *listing, const uint8_t *plane, int32_t second,
                      int32_t *above, int32_t *below, int32_t apart)
{
    for (int32_t i = 0; i < op->count; i++) {
        sums4 out[ROWS][2];
        listing = sum_tile(listing, plane, second, out);
        for (int32_t k = 0; k < rows; k++) {
            take_apart(&out[k][0], op->parts[i].power, i == 0, above + k * apart, op->lane);
            if (second)
                take_apart(&out[k][1], op->parts[i].power, i == 0, below + k * apart, op->lane);
        }
    }
}

/* Compute the outputs of up to three rows of weights in a stripe of `count` rows; line: the first row of y. */
static void add_stripe(const tinyq_conv *op, int32_t row, int32_t rows, int32_t line, int32_t count,
                       const uint8_t *plane, uint8_t *work, const uint8_t *added, void *y)
{
    int32_t *sums = (int32_t *)(void *)(work + op->sums_at);
    int32_t step = 4 * op->stride_y * tinyq_pitch(op), pitch = 4 * op->lane, most = op->pool > 1 ? op->pool : 2;
    for (int32_t top = 0; top < count; top += most, line += op->pool > 1 ? 1 : most) {
        int32_t n = count - top < most ? count - top : most;
        for (int32_t i = 0; i < n; i += 2) {
            int32_t next = i + 1 < n;
            for (int32_t x = 0; x < op->lane; x++) {
                int32_t *above = sums + i * pitch + x;
                sum_parts(op, rows, (const uint16_t *)(const void *)work,
                          plane + (top + i) * step + 4 * op->stride_x * x, next * step, above, above + next * pitch,
                          most * pitch);
            }
        }
        for (int32_t k = 0; k < rows; k++)
            tinyq_store_block_u8(op, row + k, line, n, sums + k * most * pitch, added, y);
    }
}

static void convolve(const tinyq_conv *op, finder *find, const uint8_t *x, const uint8_t *added, void *y,
                     uint8_t *plane, uint8_t *work)
{
    int32_t line = 0, rows;
    for (int32_t top = 0; top < op->out_height; top += op->stripe, line += op->pooled_stripe) {
        int32_t count = op->out_height - top < op->stripe ? op->out_height - top : op->stripe;
        for (int32_t group = 0; group < op->groups; group++) {
            int32_t end = (group + 1) * op->rows;
            tinyq_lay_out_u8(op, x + group * op->channels * op->height * op->width, top, count, plane);
            for (int32_t row = group * op->rows; row < end; row += rows) {
                uint16_t *listing = (uint16_t *)(void *)work;
                rows = end - row < ROWS ? end - row : ROWS;
                for (int32_t i = 0; i < op->count; i++) {
                    find(&op->product.weights, row, rows, op->parts[i].power, work + op->sums_at);
                    listing = list_inputs(op, op->parts + i, work + op->sums_at, tinyq_plane_rows(op, count), listing);
                }
                add_stripe(op, row, rows, line, count, plane, work, added, y);
            }
        }
    }
}

void tinyq_add_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane, void *work)
{
    convolve(op, find_by_levels, x, added, y, (uint8_t *)plane, (uint8_t *)work);
}

void tinyq_ternary_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane,
                           void *work)
{
    convolve(op, find_by_codes, x, added, y, (uint8_t *)plane, (uint8_t *)work);
}
