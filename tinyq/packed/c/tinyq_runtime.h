/* Integer kernels for networks with encoded weights, called by the C files that tinyq exports.

   C99 with <stddef.h> and <stdint.h>; no heap, floating point, recursion or global state. tinyq exports a network only
   if every sum fits int32_t and every requantisation fits int64_t.

   A value is an array of codes in the order channel, row, column. A code is uint8_t or int16_t; each function exists
   for both (_u8, _i16). Compile with -ffunction-sections, link with -Wl,--gc-sections to drop unused functions. */
#ifndef TINYQ_RUNTIME_H
#define TINYQ_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* A header of yours may define the macros below: -D'TINYQ_CONFIG="my_config.h"'. */
#ifdef TINYQ_CONFIG
#include TINYQ_CONFIG
#endif

/* Attributes of all constants and of the static arenas, such as -D'TINYQ_ARENA=__attribute__((section(".dtcm")))'. */
#ifndef TINYQ_CONST
#define TINYQ_CONST
#endif
#ifndef TINYQ_ARENA
#define TINYQ_ARENA
#endif

/* Is called before layer i and, with the number of layers, after the last: a watchdog, a yield, a profiler. */
#ifndef TINYQ_LAYER_HOOK
#define TINYQ_LAYER_HOOK(i) ((void)0)
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct tinyq_weights;

/* Decode the k weights of a row. */
typedef void tinyq_decoder(const struct tinyq_weights *w, int32_t row, int8_t *levels);

/* Weights in bytes, row by row: codes, the first in the lowest bits, or without a decoder the weights themselves. */
typedef struct tinyq_weights {
    const uint8_t *data;
    const int8_t *levels;               /* weight of each code */
    tinyq_decoder *decode;
    int32_t bits;                       /* per code */
    int32_t rows, k, row_bytes;
} tinyq_weights;

tinyq_decoder tinyq_decode_bits;        /* codes of 1, 2, 4 or 8 bits */
tinyq_decoder tinyq_decode_planes;      /* codes of 3 bits, as three bit planes */
tinyq_decoder tinyq_decode_trits;       /* five ternary codes per byte: sum of code[i] * 3^i */

/* code = clamp(round((sum * multiplier + offset + added * added_step) / 2^shift)), rounding half to even; half of 2^shift
   is already in the offset */
typedef struct {
    const int32_t *multiplier;          /* one per row or window, or one for all */
    const int64_t *offset;
    int64_t added_step;
    int32_t multiplier_each, offset_each;               /* 1: one per row or window; 0: one for all */
    int32_t shift;
    int32_t low, high;
} tinyq_requant;

typedef struct {
    tinyq_weights weights;
    tinyq_requant requant;
    int32_t wide;                       /* 1: the output codes are int32_t */
} tinyq_linear;

/* Channels first to end - 1, and the weights' digits +-2^power: sums that fit 16 bits. */
typedef struct {
    int32_t first, end, power;
} tinyq_part;

/* A convolution, perhaps followed by max pooling, `stripe` rows of outputs at a time.

   The rows of a stripe's image lie in a plane in scratch memory, with their padding, in words of four codes: word
   x of a row holds columns x, x + lane * stride_x, x + 2 * lane * stride_x and x + 3 * lane * stride_x. So the inputs of
   outputs x, x + lane, x + 2 * lane and x + 3 * lane are one aligned word for every weight. */
typedef struct {
    tinyq_linear product;
    int32_t groups, channels, rows;     /* channels and rows of weights per group */
    int32_t height, width, out_height, out_width;       /* outputs before pooling that are used */
    int32_t kh, kw, stride_y, stride_x, padding_y, padding_x, dilation_y, dilation_x;
    int32_t padding_code;
    int32_t pool, pooled_height, pooled_width;          /* an output is the largest of pool x pool sums */
    int32_t stripe, pooled_stripe, block, pooled_block; /* rows of outputs before and after pooling */
    int32_t lane;
    const tinyq_part *parts;            /* of additions: the sums are those of all parts */
    const uint16_t *lists;              /* instead of weights.data; see tinyq_additions.c */
    int32_t count;
    int32_t sums_at;                    /* bytes into the work memory */
} tinyq_conv;

/* Windows over a plane; window (oy, ox) has rows[oy].count * columns[ox].count taps. */
typedef struct {
    int32_t first;                      /* offset in elements from the start of the plane or the row */
    int32_t count;
} tinyq_taps;

typedef struct {
    const tinyq_taps *rows, *columns;
    int32_t channels, plane, out_height, out_width;
    int32_t step_y, step_x;             /* elements between neighbouring taps */
} tinyq_windows;

/* Copy a block of up to three axes; offsets and steps in elements. */
typedef struct {
    int32_t from, to;
    int32_t count[3], from_step[3], to_step[3];
} tinyq_move;

/* Multiply the codes of x by the weights. y: codes, or int32_t if wide. added: NULL, or codes to add before rounding; may
   be y itself. work: k bytes, unused without a decoder. */
void tinyq_linear_u8(const tinyq_linear *op, const uint8_t *x, const uint8_t *added, void *y, void *work);
void tinyq_linear_i16(const tinyq_linear *op, const int16_t *x, const int16_t *added, void *y, void *work);

/* The same for codes of 1, 2 or 4 bits. work: an int32_t per row. */
void tinyq_table_linear_u8(const tinyq_linear *op, const uint8_t *x, const uint8_t *added, void *y, void *work);
void tinyq_table_linear_i16(const tinyq_linear *op, const int16_t *x, const int16_t *added, void *y, void *work);

/* plane, work: scratch memory, aligned to 4 bytes. With one stripe and one group, y and work may overlap x. */
void tinyq_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane, void *work);
void tinyq_conv_i16(const tinyq_conv *op, const int16_t *x, const int16_t *added, void *y, void *plane, void *work);

/* The same sums by additions, three rows of weights at a time: of weights -1 and 1 in bits, and of any by their lists. */
void tinyq_binary_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane,
                          void *work);
void tinyq_listed_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, void *plane,
                          void *work);

void tinyq_max_u8(const tinyq_windows *op, const uint8_t *x, uint8_t *y);
void tinyq_max_i16(const tinyq_windows *op, const int16_t *x, int16_t *y);

void tinyq_mean_u8(const tinyq_windows *op, const tinyq_requant *requant, const uint8_t *x, uint8_t *y);
void tinyq_mean_i16(const tinyq_windows *op, const tinyq_requant *requant, const int16_t *x, int16_t *y);

/* y may be x or added. */
void tinyq_add_u8(const tinyq_requant *requant, const uint8_t *x, const uint8_t *added, uint8_t *y, int32_t count);
void tinyq_add_i16(const tinyq_requant *requant, const int16_t *x, const int16_t *added, int16_t *y, int32_t count);

/* Raise codes below low to low, and lower those above high to high; y may be x. */
void tinyq_clip_u8(int32_t low, int32_t high, const uint8_t *x, uint8_t *y, int32_t count);
void tinyq_clip_i16(int32_t low, int32_t high, const int16_t *x, int16_t *y, int32_t count);

void tinyq_fill_u8(int32_t code, uint8_t *y, int32_t count);
void tinyq_fill_i16(int32_t code, int16_t *y, int32_t count);

void tinyq_move_u8(const tinyq_move *op, const uint8_t *x, uint8_t *y);
void tinyq_move_i16(const tinyq_move *op, const int16_t *x, int16_t *y);

/* Convert codes to int32_t. */
void tinyq_widen_u8(const uint8_t *x, int32_t *y, int32_t count);
void tinyq_widen_i16(const int16_t *x, int32_t *y, int32_t count);

#ifdef __cplusplus
}
#endif

#endif
