/* Kernels; tinyq_runtime.c includes this file once per type of CODE. */

/* Requantise a row's sums and store them in y[at], y[at + 1], ... */
static void NAMED(store)(const tinyq_linear *op, int32_t row, const int32_t *sums, int32_t count, int32_t at,
                         const CODE *added, void *y)
{
    const tinyq_requant *q = &op->requant;
    int32_t index = q->each ? row : 0, multiplier = q->multiplier[index], shift = q->shift, low = q->low, high = q->high;
    int64_t offset = q->offset[index];
    for (int32_t end = at + count; at < end; at++) {
        int64_t v = (int64_t)*sums++ * multiplier + offset;
        int32_t code;
        if (added)
            v += added[at] * q->added_step;
        if (shift >= 32) {
            code = tinyq_rounded_high(v, shift);
            code = code < low ? low : code > high ? high : code;
        } else
            code = tinyq_clamped(tinyq_rounded(v, shift), low, high);
        if (op->wide)
            ((int32_t *)y)[at] = code;
        else
            ((CODE *)y)[at] = (CODE)code;
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

/* Fill a table per nibble of codes: the sums of the weights that it encodes times their inputs. */
static void NAMED(fill_tables)(const tinyq_weights *w, const CODE *x, int32_t left, int32_t tables[4][16])
{
    int32_t each = 4 / w->bits, mask = (1 << w->bits) - 1;
    for (int32_t t = 0; t < 4; t++, x += each, left -= each)
        for (int32_t i = 0; i < 16; i++) {
            int32_t sum = 0, codes = i;
            for (int32_t j = 0; j < each && j < left; j++, codes >>= w->bits)
                sum += w->levels[codes & mask] * x[j];
            tables[t][i] = sum;
        }
}

/* Take two bytes of codes of every row at a time. */
void NAMED(tinyq_table_linear)(const tinyq_linear *op, const CODE *x, const CODE *added, void *y, void *work)
{
    const tinyq_weights *w = &op->weights;
    int32_t tables[4][16], each = 16 / w->bits, *sums = (int32_t *)work;
    for (int32_t row = 0; row < w->rows; row++)
        sums[row] = 0;
    for (int32_t j = 0; j < w->k; j += each) {
        const uint8_t *codes = w->data + j * w->bits / 8;
        int32_t second = w->k - j > each / 2;           /* whether a second byte is there */
        NAMED(fill_tables)(w, x + j, w->k - j, tables);
        for (int32_t row = 0; row < w->rows; row++, codes += w->row_bytes) {
            uint32_t low = codes[0], high = codes[second];
            sums[row] += tables[0][low & 15] + tables[1][low >> 4] + tables[2][high & 15] + tables[3][high >> 4];
        }
    }
    for (int32_t row = 0; row < w->rows; row++)
        NAMED(store)(op, row, sums + row, 1, row, added, y);
}

void NAMED(tinyq_lay_out)(const tinyq_conv *op, const CODE *image, int32_t top, int32_t count, CODE *plane)
{
    int32_t pitch = tinyq_pitch(op), rows = tinyq_plane_rows(op, count), apart = op->lane * op->stride_x;
    CODE padding = (CODE)op->padding_code;
    for (int32_t c = 0; c < op->channels; c++, image += op->height * op->width)
        for (int32_t row = 0; row < rows; row++) {
            int32_t y = top * op->stride_y - op->padding_y + row;
            uint32_t width = 0 <= y && y < op->height ? (uint32_t)op->width : 0;
            const CODE *line = image + y * op->width;
            for (int32_t x = -op->padding_x; x < pitch - op->padding_x; x++) {
                uint32_t column = (uint32_t)x;
                for (int32_t lane = 0; lane < 4; lane++, column += (uint32_t)apart)
                    *plane++ = column < width ? line[column] : padding;
            }
        }
}

/* Requantise and store a block of a row's sums, `count` rows of 4 * lane; line: the first row of y that they give. */
void NAMED(tinyq_store_block)(const tinyq_conv *op, int32_t row, int32_t line, int32_t count, int32_t *sums,
                              const CODE *added, void *y)
{
    int32_t pool = op->pool, pitch = 4 * op->lane, width = op->pooled_width;
    int32_t at = (row * op->pooled_height + line) * width;
    if (pool > 1) {
        for (int32_t x = 0; x < width; x++)
            sums[x] = largest(sums + x * pool, pool, pitch);
        count = 1;
    }
    for (int32_t i = 0; i < count; i++, at += width, sums += pitch)
        NAMED(store)(&op->product, row, sums, width, at, added, y);
}

/* Sums of four outputs of two rows, for weights of one row; p: word of the first, second: distance to the second. */
static void NAMED(multiply_tile)(const tinyq_conv *op, const int8_t *weight, const CODE *p, int32_t second,
                                 int32_t rows, int32_t *above, int32_t *below)
{
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0, lane = op->lane;
    int32_t pitch = 4 * tinyq_pitch(op), line = op->dilation_y * pitch, step = 4 * op->dilation_x;
    for (int32_t c = 0; c < op->channels; c++, p += rows * pitch) {
        const CODE *start = p;
        for (int32_t i = 0; i < op->kh; i++, start += line) {
            const CODE *a = start, *b = start + second;
            for (int32_t j = 0; j < op->kw; j++, a += step, b += step) {
                int32_t w = *weight++;
                a0 += w * a[0], a1 += w * a[1], a2 += w * a[2], a3 += w * a[3];
                b0 += w * b[0], b1 += w * b[1], b2 += w * b[2], b3 += w * b[3];
            }
        }
    }
    above[0] = a0, above[lane] = a1, above[2 * lane] = a2, above[3 * lane] = a3;
    below[0] = b0, below[lane] = b1, below[2 * lane] = b2, below[3 * lane] = b3;
}
/* Compute the outputs of one row of weights in a stripe of `count` rows; line: the first row of y that they give. */
static void NAMED(multiply_stripe)(const tinyq_conv *op, int32_t row, const int8_t *levels, const CODE *plane,
                                   int32_t line, int32_t count, int32_t *sums, const CODE *added, void *y)
{
    int32_t rows = tinyq_plane_rows(op, count), step = 4 * op->stride_y * tinyq_pitch(op), pitch = 4 * op->lane;
    int32_t most = op->pool > 1 ? op->pool : 2;
    for (int32_t top = 0; top < count; top += most, line += op->pool > 1 ? 1 : most) {
        int32_t n = count - top < most ? count - top : most;
        for (int32_t i = 0; i < n; i += 2) {
            int32_t next = i + 1 < n;
            for (int32_t x = 0; x < op->lane; x++) {
                int32_t *above = sums + i * pitch + x;
                NAMED(multiply_tile)(op, levels, plane + (top + i) * step + 4 * op->stride_x * x, next * step, rows,
                                     above, above + next * pitch);
            }
        }
        NAMED(tinyq_store_block)(op, row, line, n, sums, added, y);
    }
}

void NAMED(tinyq_conv)(const tinyq_conv *op, const CODE *x, const CODE *added, void *y, void *plane, void *work)
{
    int32_t *sums = (int32_t *)(void *)((uint8_t *)work + op->sums_at), line = 0;
    for (int32_t top = 0; top < op->out_height; top += op->stripe, line += op->pooled_stripe) {
        int32_t count = op->out_height - top < op->stripe ? op->out_height - top : op->stripe;
        for (int32_t group = 0; group < op->groups; group++) {
            int32_t row = group * op->rows, end = row + op->rows;
            NAMED(tinyq_lay_out)(op, x + group * op->channels * op->height * op->width, top, count, (CODE *)plane);
            for (; row < end; row++)
                NAMED(multiply_stripe)(op, row, tinyq_row(&op->product.weights, row, (int8_t *)work),
                                       (const CODE *)plane, line, count, sums, added, y);
        }
    }
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
