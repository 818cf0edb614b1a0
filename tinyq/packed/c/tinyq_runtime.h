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

/* Encoding of weights in bytes: row by row, the first code in the lowest bits. */
typedef enum {
    TINYQ_BITS,                         /* codes of 1, 2, 4 or 8 bits */
    TINYQ_PLANES,                       /* codes of 3 bits, as three bit planes */
    TINYQ_TRITS,                        /* five ternary codes per byte: sum of code[i] * 3^i */
    TINYQ_BYTES                         /* the weights themselves, two's complement */
} tinyq_scheme;

typedef struct {
    const uint8_t *data;
    const int8_t *levels;               /* weight of each code; unused by TINYQ_BYTES */
    tinyq_scheme scheme;
    int32_t bits;                       /* per code, for TINYQ_BITS */
    int32_t rows, k, row_bytes;
} tinyq_weights;

/* code = clamp(round((sum * multiplier + offset + added * added_multiplier * 2^added_shift) / 2^shift)),
   rounding half to even */
typedef struct {
    const int32_t *multiplier;          /* one per row or window, or one for all */
    const int64_t *offset;
    int32_t each;                       /* 1: one per row or window; 0: one for all */
    int32_t shift;
    int32_t low, high;
    int32_t added_multiplier, added_shift;
} tinyq_requant;

typedef struct {
    tinyq_weights weights;
    tinyq_requant requant;
    int32_t wide;                       /* 1: the output codes are int32_t */
} tinyq_linear;

/* Outputs of a row for which one column of the weights lies inside the image: first <= output < end. */
typedef struct {
    int32_t first, end;
    int32_t column;                     /* of the image, read by output `first` */
} tinyq_span;

typedef struct {
    tinyq_linear product;
    const tinyq_span *spans;            /* kw elements */
    int32_t groups, channels;           /* channels per group */
    int32_t height, width, out_height, out_width, kh, kw;
    int32_t stride_y, stride_x, padding_y, dilation_y;
    int32_t padding_code;
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

/* Multiply the codes of x (at least k) by the weights. levels: buffer of k elements. y: codes, or int32_t if wide.
   added: NULL, or codes to add before rounding; may be y itself. */
void tinyq_linear_u8(const tinyq_linear *op, const uint8_t *x, const uint8_t *added, void *y, int8_t *levels);
void tinyq_linear_i16(const tinyq_linear *op, const int16_t *x, const int16_t *added, void *y, int8_t *levels);

/* sums: buffer of out_width elements. */
void tinyq_conv_u8(const tinyq_conv *op, const uint8_t *x, const uint8_t *added, void *y, int8_t *levels,
                   int32_t *sums);
void tinyq_conv_i16(const tinyq_conv *op, const int16_t *x, const int16_t *added, void *y, int8_t *levels,
                    int32_t *sums);

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
