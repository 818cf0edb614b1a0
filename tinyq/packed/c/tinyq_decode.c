/* Weights as they are stored, one row at a time. */
#include "tinyq_internal.h"

static const uint8_t *row_of(const tinyq_weights *w, int32_t row)
{
    return w->data + (size_t)row * (size_t)w->row_bytes;
}

void tinyq_decode_bits(const tinyq_weights *w, int32_t row, int8_t *levels)
{
    const uint8_t *data = row_of(w, row);
    int32_t each = 8 / w->bits, mask = (1 << w->bits) - 1, left = 0, codes = 0;
    for (int32_t j = 0; j < w->k; j++, left--, codes >>= w->bits) {
        if (left == 0) {
            codes = *data++;
            left = each;
        }
        levels[j] = w->levels[codes & mask];
    }
}

void tinyq_decode_planes(const tinyq_weights *w, int32_t row, int8_t *levels)
{
    const uint8_t *data = row_of(w, row);
    int32_t plane = w->row_bytes / 3;
    for (int32_t j = 0; j < w->k; data++) {
        int32_t a = data[0], b = data[plane] << 1, c = data[2 * plane] << 2;
        for (int32_t end = w->k - j < 8 ? w->k : j + 8; j < end; j++, a >>= 1, b >>= 1, c >>= 1)
            levels[j] = w->levels[(a & 1) | (b & 2) | (c & 4)];
    }
}

void tinyq_decode_trits(const tinyq_weights *w, int32_t row, int8_t *levels)
{
    const uint8_t *data = row_of(w, row);
    int32_t left = 0, codes = 0;
    for (int32_t j = 0; j < w->k; j++, left--) {
        if (left == 0) {
            codes = *data++;
            left = 5;
        }
        int32_t rest = (codes * 171) >> 9;              /* codes / 3, for codes below 256 */
        levels[j] = w->levels[codes - 3 * rest];
        codes = rest;
    }
}
