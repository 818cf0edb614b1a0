/* Kernels; tinyq_runtime.c includes this file once per type of CODE. */

/* Requantise a row's sums and store them in y[at], y[at + 1], ... */
static void NAMED(store)(const tinyq_linear *op, int32_t row, const int32_t *sums, int32_t count, int32_t at,
                         const CODE *added, void *y)
{
    const tinyq_requant *q = &op->requant;
    const int32_t *end = sums + count;
    if (op->wide || q->shift < 32) {
        for (; sums < end; sums++, at++)
            if (op->wide)
                ((int32_t *)y)[at] = tinyq_requantised(q, row, *sums, added ? added[at] : 0);
            else
                ((CODE *)y)[at] = (CODE)tinyq_requantised(q, row, *sums, added ? added[at] : 0);
        return;
    }
    int32_t multiplier = q->multiplier[row * q->multiplier_each], shift = q->shift, low = q->low, high = q->high;
    int64_t offset = q->offset[row * q->offset_each];
    CODE *to = (CODE *)y + at;
    if (added) {
        for (added += at; sums < end; sums++) {
            int64_t v = (int64_t)*sums * multiplier + offset + *added++ * q->added_step;
            *to++ = (CODE)tinyq_clamped_code(tinyq_rounded_high(v, shift), low, high);
        }
        return;
    }
    for (; sums < end; sums++) {
        int64_t v = (int64_t)*sums * multiplier + offset;
        *to++ = (CODE)tinyq_clamped_code(tinyq_rounded_high(v, shift), low, high);
    }
}

void NAMED(tinyq_linear)(const tinyq_linear *op, const CODE *x, const CODE *added, void *y, void *work)
{
    const tinyq_weights *w = &op->weights;
    for (int32_t row = 0; row < w->rows; row++) {
        const int8_t *levels = tinyq_row(w, row, (int8_t *)work);
        int32_t sum = 0;
        for (int32_t j = 0; j < w->k; j++)
            sum += (int32_t)levels[j] * x[j];
        NAMED(store)(op, row, &sum, 1, row, added, y);
    }
}

/* Fill a table of a nibble of codes: the sums of the weights that it encodes times `count` inputs. */
static void NAMED(fill_table)(const tinyq_weights *w, const CODE *x, int32_t count, int32_t *table)
{
    int32_t size = 1, codes = 1 << w->bits;
    table[0] = 0;
    for (int32_t j = 0; size < 16; j++, size *= codes) {
        int32_t input = j < count ? x[j] : 0, *to = table + size * codes;
        for (int32_t code = codes - 1; code >= 0; code--)           /* the first entries last: they are read */
            for (int32_t i = size - 1, product = w->levels[code] * input; i >= 0; i--)
                *--to = table[i] + product;
    }
}

/* Take two bytes of codes of every row at a time. */
void NAMED(tinyq_table_linear)(const tinyq_linear *op, const CODE *x, const CODE *added, void *y, void *work)
{
    const tinyq_weights *w = &op->weights;
    int32_t tables[64], each = 4 / w->bits, *sums = (int32_t *)work, *end = sums + w->rows;
    for (int32_t *sum = sums; sum < end; sum++)
        *sum = 0;
    for (int32_t j = 0; j < w->k; j += 4 * each) {
        const uint8_t *codes = w->data + j * w->bits / 8;
        int32_t second = w->k - j > 2 * each, step = w->row_bytes;  /* whether a second byte is there */
        for (int32_t t = 0; t < 4; t++)
            NAMED(fill_table)(w, x + j + t * each, w->k - j - t * each, tables + 16 * t);
        for (int32_t *sum = sums; sum < end; sum++, codes += step) {
            uint32_t low = codes[0], high = codes[second];
            *sum += tables[low & 15] + (tables + 16)[low >> 4] + (tables + 32)[high & 15] + (tables + 48)[high >> 4];
        }
    }
    for (int32_t row = 0; row < w->rows; row++)
        NAMED(store)(op, row, sums + row, 1, row, added, y);
}

/* Lay out the rows of a group's image that `count` rows of outputs from row `top` read. */
static void NAMED(lay_out)(const tinyq_conv *op, const CODE *image, int32_t top, int32_t count, CODE *plane)
{
    int32_t pitch = tinyq_pitch(op), rows = tinyq_plane_rows(op, count);
    uint32_t apart = (uint32_t)(op->lane * op->stride_x), start = 0u - (uint32_t)op->padding_x;
    uint32_t end = start + (uint32_t)pitch;
    CODE padding = (CODE)op->padding_code;
    for (int32_t channel = 0; channel < op->channels; channel++, image += op->height * op->width)
        for (int32_t row = 0; row < rows; row++) {
            int32_t y = top * op->stride_y - op->padding_y + row;
            uint32_t width = 0 <= y && y < op->height ? (uint32_t)op->width : 0;
            const CODE *line = width ? image + y * op->width : image;
            for (uint32_t x = start; x != end; x++) {
                uint32_t a = x, b = a + apart, c = b + apart, d = c + apart;
                *plane++ = a < width ? line[a] : padding;
                *plane++ = b < width ? line[b] : padding;
                *plane++ = c < width ? line[c] : padding;
                *plane++ = d < width ? line[d] : padding;
            }
        }
}

void NAMED(tinyq_convolve)(const tinyq_conv *op, tinyq_computation *compute, const CODE *x, tinyq_stripe *s)
{
    int32_t size = op->channels * op->height * op->width;
    s->line = 0;
    for (int32_t top = 0; top < op->out_height; top += op->stripe, s->line += op->pooled_stripe) {
        s->count = op->out_height - top < op->stripe ? op->out_height - top : op->stripe;
        for (s->group = 0; s->group < op->groups; s->group++) {
            NAMED(lay_out)(op, x + s->group * size, top, s->count, (CODE *)s->plane);
            compute(op, s);
        }
    }
}

void NAMED(tinyq_store_block)(const tinyq_conv *op, const tinyq_stripe *s, int32_t row, int32_t line, int32_t count,
                              int32_t *sums)
{
    int32_t pitch = 4 * op->lane, width = op->pooled_width, at = (row * op->pooled_height + line) * width;
    for (; count > 0; count -= op->pool, at += width, sums += op->pool * pitch) {
        pool(sums, op->pool, pitch, width);
        NAMED(store)(&op->product, row, sums, width, at, (const CODE *)s->added, s->y);
    }
}

/* Sum four outputs, lane apart in `sums`. words: for each weight, the word of the plane that it multiplies. */
static void NAMED(multiply_tile)(const int8_t *weight, const uint16_t *words, int32_t count, const CODE *plane,
                                 int32_t *sums, int32_t lane)
{
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (const int8_t *end = weight + count; weight < end; weight++, words++)
        NAMED(multiply)(*weight, plane + 4 * *words, &a, &b, &c, &d);
    sums[0] = a, sums[lane] = b, sums[2 * lane] = c, sums[3 * lane] = d;
}

static void NAMED(multiply_row)(const tinyq_conv *op, const tinyq_stripe *s, int32_t row, const uint16_t *words,
                                const int8_t *weights)
{
    const CODE *plane = (const CODE *)s->plane;
    int32_t step = 4 * op->stride_y * tinyq_pitch(op), line = s->line;
    int32_t *sums = (int32_t *)(void *)((uint8_t *)s->work + op->sums_at);
    for (int32_t top = 0; top < s->count; top += op->pool, line++) {
        for (int32_t i = 0; i < op->pool; i++, plane += step)
            for (int32_t x = 0; x < op->lane; x++)
                NAMED(multiply_tile)(weights, words, op->product.weights.k, plane + 4 * op->stride_x * x,
                                     sums + 4 * op->lane * i + x, op->lane);
        NAMED(tinyq_store_block)(op, s, row, line, op->pool, sums);
    }
}

static void NAMED(multiply_stripe)(const tinyq_conv *op, const tinyq_stripe *s)
{
    uint16_t *words = (uint16_t *)s->work;
    int8_t *levels = (int8_t *)(words + op->product.weights.k);
    find_words(op, tinyq_plane_rows(op, s->count), words);
    for (int32_t row = s->group * op->rows; row < (s->group + 1) * op->rows; row++)
        NAMED(multiply_row)(op, s, row, words, tinyq_row(&op->product.weights, row, levels));
}

void NAMED(tinyq_conv)(const tinyq_conv *op, const CODE *x, const CODE *added, void *y, void *plane, void *work)
{
    tinyq_stripe s = {added, y, plane, work, 0, 0, 0};
    NAMED(tinyq_convolve)(op, NAMED(multiply_stripe), x, &s);
}

void NAMED(tinyq_max)(const tinyq_windows *op, const CODE *x, CODE *y)
{
    for (int32_t c = 0; c < op->channels; c++, x += op->plane)
        for (int32_t oy = 0; oy < op->out_height; oy++)
            for (int32_t ox = 0; ox < op->out_width; ox++) {
                const CODE *taps = x + op->rows[oy].first + op->columns[ox].first;
                CODE largest = *taps;
                for (int32_t i = 0; i < op->rows[oy].count; i++)
                    for (int32_t j = 0; j < op->columns[ox].count; j++) {
                        CODE code = taps[i * op->step_y + j * op->step_x];
                        largest = code > largest ? code : largest;
                    }
                *y++ = largest;
            }
}

void NAMED(tinyq_mean)(const tinyq_windows *op, const tinyq_requant *requant, const CODE *x, CODE *y)
{
    for (int32_t c = 0; c < op->channels; c++, x += op->plane)
        for (int32_t oy = 0; oy < op->out_height; oy++)
            for (int32_t ox = 0; ox < op->out_width; ox++) {
                const CODE *taps = x + op->rows[oy].first + op->columns[ox].first;
                int64_t sum = 0;
                for (int32_t i = 0; i < op->rows[oy].count; i++)
                    for (int32_t j = 0; j < op->columns[ox].count; j++)
                        sum += taps[i * op->step_y + j * op->step_x];
                *y++ = (CODE)tinyq_requantised(requant, oy * op->out_width + ox, sum, 0);
            }
}

void NAMED(tinyq_add)(const tinyq_requant *requant, const CODE *x, const CODE *added, CODE *y, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        y[i] = (CODE)tinyq_requantised(requant, 0, x[i], added[i]);
}

void NAMED(tinyq_clip)(int32_t low, int32_t high, const CODE *x, CODE *y, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        y[i] = x[i] < low ? (CODE)low : x[i] > high ? (CODE)high : x[i];
}

void NAMED(tinyq_fill)(int32_t code, CODE *y, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        y[i] = (CODE)code;
}

void NAMED(tinyq_move)(const tinyq_move *op, const CODE *x, CODE *y)
{
    for (int32_t i = 0; i < op->count[0]; i++)
        for (int32_t j = 0; j < op->count[1]; j++) {
            const CODE *from = x + op->from + i * op->from_step[0] + j * op->from_step[1];
            CODE *to = y + op->to + i * op->to_step[0] + j * op->to_step[1];
            for (int32_t k = 0; k < op->count[2]; k++)
                to[k * op->to_step[2]] = from[k * op->from_step[2]];
        }
}

void NAMED(tinyq_widen)(const CODE *x, int32_t *y, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        y[i] = x[i];
}
