/* Kernels; tinyq_runtime.c includes this file once per type of CODE. */

/* Requantise a row's sums and store them in y[at], y[at + 1], ... */
static void NAMED(store)(const tinyq_linear *op, int32_t row, const int32_t *sums, int32_t count, int32_t at,
                         const CODE *added, void *y)
{
    for (int32_t i = 0; i < count; i++) {
        int32_t code = requantised(&op->requant, row, sums[i], added ? added[at + i] : 0);
        if (op->wide)
            ((int32_t *)y)[at + i] = code;
        else
            ((CODE *)y)[at + i] = (CODE)code;
    }
}

void NAMED(tinyq_linear)(const tinyq_linear *op, const CODE *x, const CODE *added, void *y, int8_t *levels)
{
    for (int32_t row = 0; row < op->weights.rows; row++) {
        int32_t sum = 0;
        decode(&op->weights, row, levels);
        for (int32_t j = 0; j < op->weights.k; j++)
            sum += (int32_t)levels[j] * x[j];
        NAMED(store)(op, row, &sum, 1, row, added, y);
    }
}

/* Add weight * code to the sum of each output of a row; line: the row of the image, or NULL in the padding. */
static void NAMED(accumulate)(const tinyq_conv *op, const tinyq_span *span, int32_t weight, const CODE *line,
                              int32_t *sums)
{
    int32_t ox = 0, padding = weight * op->padding_code;
    if (line) {
        int32_t ix = span->column;
        for (; ox < span->first; ox++)
            sums[ox] += padding;
        for (; ox < span->end; ox++, ix += op->stride_x)
            sums[ox] += weight * line[ix];
    }
    for (; ox < op->out_width; ox++)
        sums[ox] += padding;
}

/* Compute the sums of one row of outputs; image: the first channel of the group. */
static void NAMED(sum_row)(const tinyq_conv *op, const CODE *image, int32_t oy, const int8_t *weight, int32_t *sums)
{
    for (int32_t ox = 0; ox < op->out_width; ox++)
        sums[ox] = 0;
    for (int32_t c = 0; c < op->channels; c++, image += op->height * op->width)
        for (int32_t i = 0; i < op->kh; i++) {
            int32_t iy = oy * op->stride_y + i * op->dilation_y - op->padding_y;
            const CODE *line = 0 <= iy && iy < op->height ? image + iy * op->width : NULL;
            for (int32_t j = 0; j < op->kw; j++, weight++)
                if (*weight)
                    NAMED(accumulate)(op, op->spans + j, *weight, line, sums);
        }
}

void NAMED(tinyq_conv)(const tinyq_conv *op, const CODE *x, const CODE *added, void *y, int8_t *levels, int32_t *sums)
{
    int32_t rows = op->product.weights.rows, at = 0;
    for (int32_t row = 0; row < rows; row++) {
        int32_t group = row / (rows / op->groups);
        const CODE *image = x + group * op->channels * op->height * op->width;
        decode(&op->product.weights, row, levels);
        for (int32_t oy = 0; oy < op->out_height; oy++, at += op->out_width) {
            NAMED(sum_row)(op, image, oy, levels, sums);
            NAMED(store)(&op->product, row, sums, op->out_width, at, added, y);
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
                *y++ = (CODE)requantised(requant, oy * op->out_width + ox, sum, 0);
            }
}

void NAMED(tinyq_add)(const tinyq_requant *requant, const CODE *x, const CODE *added, CODE *y, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        y[i] = (CODE)requantised(requant, 0, x[i], added[i]);
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
