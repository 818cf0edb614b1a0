/* Convolutions without multiplications. A weight is a sum of +-2^p, its nonadjacent form. For each power p, three rows of
   weights are taken together: the inputs for which the three have the same signs, or all opposite ones, are summed once
   for all three, where each row alone would add its own, and 13 sums of such groups give the three outputs.

   A word of the plane holds four codes. Sums of codes 0 and 2 are kept in the halves of one word, and sums of the
   word shifted by 8 in another: modulo 2^32 they are exact, and codes 1 and 3 follow at the end. tinyq exports parts in
   which no row has more than 128 weights of one sign: their sums, 255 * 128 at most, fit the halves. */
#include "tinyq_additions.h"

#define CODES 3                         /* lists per uint16_t, five bits each */

static int32_t inputs_of(const tinyq_conv *op, const tinyq_part *part)
{
    return (part->end - part->first) * op->kh * op->kw;
}

static int32_t words_of_lists(const tinyq_conv *op, const tinyq_part *part)
{
    return (inputs_of(op, part) + CODES - 1) / CODES;
}

/* The list of each combination of signs of the three rows, two bits each: 0 for -, 1 for 0, 2 for +. Lists 2 g and
   2 g + 1 are of opposite signs, added to and subtracted from the sum of group g. Groups of the first two rows' signs
   (+0), (0+), (++), (+-) follow each other, each with signs +, 0, - of the third row; group 12 is of (00+). */
TINYQ_CONST static const uint8_t list_of_signs[43] = {
    13, 7, 22, 26, 1, 25, 4, 26, 19, 10, 16, 26, 26, 26, 26, 26,
    15, 9, 20, 26, 3, 26, 2, 26, 21, 8, 14, 26, 26, 26, 26, 26,
    17, 11, 18, 26, 5, 24, 0, 26, 23, 6, 12
};

/* Find the lists of the inputs of a part for up to three rows of weights, in the form of tinyq_conv.lists. */
typedef void finder(const tinyq_conv *op, const tinyq_part *part, int32_t row, int32_t rows, uint16_t *found);

/* For weights -1 and 1 in bits 0 and 1. */
static void find_in_bits(const tinyq_conv *op, const tinyq_part *part, int32_t row, int32_t rows, uint16_t *found)
{
    const tinyq_weights *w = &op->product.weights;
    const uint8_t *bits = w->data + (size_t)row * (size_t)w->row_bytes;
    int32_t second = rows > 1 ? w->row_bytes : 0, third = rows > 2 ? 2 * w->row_bytes : 0, count = inputs_of(op, part);
    uint32_t absent = (second ? 0u : 4u) | (third ? 0u : 16u), present = 2u | (second ? 8u : 0u) | (third ? 32u : 0u);
    for (int32_t i = 0, at = part->first * op->kh * op->kw; i < count; found++) {
        uint32_t codes = 0;
        for (int32_t shift = 0; shift < 5 * CODES; shift += 5, i++, at++) {
            uint32_t list = LISTS;
            if (i < count) {
                const uint8_t *p = bits + (at >> 3);
                uint32_t signs = ((uint32_t)p[0] >> (at & 7) & 1u) << 1 | ((uint32_t)p[second] >> (at & 7) & 1u) << 3 |
                                 ((uint32_t)p[third] >> (at & 7) & 1u) << 5;
                list = list_of_signs[(signs & present) | absent];
            }
            codes |= list << shift;
        }
        *found = (uint16_t)codes;
    }
}

/* Count the inputs of each list; ends[i] becomes where list i begins. Return how many inputs there are. */
static uint32_t count_inputs(const uint16_t *lists, const uint16_t *last, uint16_t *ends)
{
    uint32_t start = 0;
    for (int32_t list = 0; list <= LISTS; list++)
        ends[list] = 1;                                     /* not 0: compilers would call memset for 54 bytes */
    for (; lists < last; lists++) {
        uint32_t codes = *lists;
        ends[codes & 31]++;
        ends[codes >> 5 & 31]++;
        ends[codes >> 10]++;
    }
    for (int32_t list = 0; list <= LISTS; list++) {
        uint32_t count = ends[list] - 1u;
        ends[list] = (uint16_t)start;
        start += count;
    }
    return start;
}

/* Where the next weight's input lies, in bytes from the first. */
typedef struct {
    uint32_t at, step, to_line, to_channel;
    int32_t i, j, kh, kw;
} walk;

static inline void put(walk *w, uint16_t *inputs, uint16_t *end)
{
    inputs[(*end)++] = (uint16_t)w->at;
    w->at += w->step;
    if (--w->j == 0) {
        w->at += w->to_line;
        w->j = w->kw;
        if (--w->i == 0) {
            w->at += w->to_channel;
            w->i = w->kh;
        }
    }
}

uint16_t *tinyq_list_inputs(const tinyq_conv *op, const tinyq_part *part, const uint16_t *lists, int32_t rows,
                            uint16_t *ends)
{
    uint32_t pitch = 4u * (uint32_t)tinyq_pitch(op), step = 4u * (uint32_t)op->dilation_x;
    uint32_t line = pitch * (uint32_t)op->dilation_y, channel = pitch * (uint32_t)rows;
    walk w = {(uint32_t)part->first * channel, step, line - step * (uint32_t)op->kw, channel - line * (uint32_t)op->kh,
              op->kh, op->kw, op->kh, op->kw};
    const uint16_t *last = lists + words_of_lists(op, part);
    uint16_t *inputs = ends + LISTS + 1;
    uint32_t count = count_inputs(lists, last, ends);
    for (; lists < last; lists++) {                         /* a begin becomes an end */
        uint32_t codes = *lists;
        put(&w, inputs, ends + (codes & 31));
        put(&w, inputs, ends + (codes >> 5 & 31));
        put(&w, inputs, ends + (codes >> 10));
    }
    return inputs + count;
}

/* Sum three rows of weights at a block of `count` rows of outputs; apart: sums per row of weights. */
static void sum_block(const tinyq_conv *op, int32_t rows, const uint16_t *listings, const uint8_t *plane,
                      int32_t count, int32_t *sums, int32_t apart)
{
    int32_t step = 4 * op->stride_y * tinyq_pitch(op), lane = op->lane, x = 0, i = 0;
    while (i < count) {
        const uint16_t *listing = listings;
        int32_t from[TILE], to[TILE], used = 0;
        for (int32_t t = 0; t < TILE; t++) {
            from[t] = i < count ? i * step + 4 * op->stride_x * x : from[0];
            to[t] = 4 * lane * i + x;
            used += i < count;
            if (++x == lane)
                x = 0, i++;
        }
        for (int32_t part = 0; part < op->count; part++) {
            uint16_t tile[ROWS][4 * TILE];
            int32_t scale = 1 << op->parts[part].power;     /* 1 for the first */
            listing = tinyq_sum_tile(listing, plane, from, tile);
            for (int32_t k = 0; k < rows; k++)
                for (int32_t t = 0; t < used; t++)
                    tinyq_spread(tile[k] + 4 * t, scale, part == 0, sums + k * apart + to[t], lane);
        }
    }
}

/* Compute the outputs of up to three rows of weights whose inputs are listed. */
static void add_rows(const tinyq_conv *op, const tinyq_stripe *s, int32_t row, int32_t rows)
{
    uint8_t *work = (uint8_t *)s->work;
    const uint8_t *plane = (const uint8_t *)s->plane;
    int32_t *sums = (int32_t *)(void *)(work + op->sums_at), apart = 4 * op->lane * op->block, line = s->line;
    int32_t step = 4 * op->stride_y * tinyq_pitch(op) * op->block;
    for (int32_t left = s->count; left > 0; left -= op->block, line += op->pooled_block, plane += step) {
        int32_t n = left < op->block ? left : op->block;
        sum_block(op, rows, (const uint16_t *)(const void *)work, plane, n, sums, apart);
        for (int32_t k = 0; k < rows; k++)
            tinyq_store_block_u8(op, s, row + k, line, n, sums + k * apart);
    }
}

/* Words of the lists of three rows of weights. */
static int32_t words_of_three(const tinyq_conv *op)
{
    int32_t words = 0;
    for (int32_t i = 0; i < op->count; i++)
        words += words_of_lists(op, op->parts + i);
    return words;
}

/* Without a finder the lists are stored. */
static void add_stripe(const tinyq_conv *op, const tinyq_stripe *s, finder *find)
{
    int32_t rows = tinyq_plane_rows(op, s->count), end = (s->group + 1) * op->rows, threes = (op->rows + ROWS - 1) / ROWS;
    uint16_t *found = (uint16_t *)(void *)((uint8_t *)s->work + op->sums_at);
    const uint16_t *lists = find ? found : op->lists + s->group * threes * words_of_three(op);
    for (int32_t row = s->group * op->rows; row < end; row += ROWS) {
        uint16_t *listing = (uint16_t *)s->work;
        int32_t three = end - row < ROWS ? end - row : ROWS;
        for (const tinyq_part *part = op->parts; part < op->parts + op->count; part++) {
            if (find)
                find(op, part, row, three, found);
            listing = tinyq_list_inputs(op, part, lists, rows, listing);
            lists += find ? 0 : words_of_lists(op, part);
        }
        add_rows(op, s, row, three);
    }
}

static void add_stripe_of_bits(const tinyq_conv *op, const tinyq_stripe *s)
{
    add_stripe(op, s, find_in_bits);
}

static void add_stripe_of_lists(const tinyq_conv *op, const tinyq_stripe *s)
{
    add_stripe(op, s, NULL);
}

void tinyq_binary_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane,
                          void *work)
{
    tinyq_stripe s = {added, y, plane, work, 0, 0, 0};
    tinyq_convolve_u8(op, add_stripe_of_bits, x, &s);
}

void tinyq_listed_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane,
                          void *work)
{
    tinyq_stripe s = {added, y, plane, work, 0, 0, 0};
    tinyq_convolve_u8(op, add_stripe_of_lists, x, &s);
}
