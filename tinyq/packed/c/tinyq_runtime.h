/* Networks of packed weights in whole numbers: what the file that tinyq wrote of a network calls.

   C99 with <stddef.h> and <stdint.h>; no heap, no floating point, no recursion, no state of its own. The file that
   calls was written only after every sum was shown to fit int32_t, and every requantisation int64_t.

   A value is an array of codes in the order channel, row, column; a code is uint8_t or int16_t, and each function comes
   for both (_u8, _i16). Link with -ffunction-sections -Wl,--gc-sections to leave out what a network does not call. */
#ifndef TINYQ_RUNTIME_H
#define TINYQ_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How weights lie in their bytes, each row of them on its own, the first in the lowest bits. */
typedef enum {
    TINYQ_BITS,                         /* codes of 1, 2, 4 or 8 bits */
    TINYQ_PLANES,                       /* codes of 3 bits in three planes of single bits */
    TINYQ_TRITS,                        /* five codes of 0 to 2 a byte, the sum of code[i] * 3^i */
    TINYQ_BYTES                         /* the weights themselves, in two's complement */
} tinyq_scheme;

typedef struct {
    const uint8_t *data;
    const int8_t *levels;               /* the weight that each code stands for; not of TINYQ_BYTES */
    tinyq_scheme scheme;
    int32_t bits;                       /* of a code of TINYQ_BITS */
    int32_t rows, k, row_bytes;
} tinyq_weights;

/* code = clamp(round((sum * multiplier + offset + added * added_multiplier * 2^added_shift) / 2^shift)), half to even */
typedef struct {
    const int32_t *multiplier;          /* one for each row or window, or one for all of them */
    const int64_t *offset;
    int32_t each;                       /* 1: one for each; 0: one for all */
    int32_t shift;
    int32_t low, high;
    int32_t added_multiplier, added_shift;
} tinyq_requant;

typedef struct {
    tinyq_weights weights;
    tinyq_requant requant;
    int32_t wide;                       /* its codes are int32_t */
} tinyq_linear;

/* The outputs of a row that one column of the weights meets inside the image: from `first` to before `end`. */
typedef struct {
    int32_t first, end;
    int32_t column;                     /* of the image, that the first of them meets */
} tinyq_span;

typedef struct {
    tinyq_linear product;
    const tinyq_span *spans;            /* kw of them */
    int32_t groups, channels;           /* channels of one group */
    int32_t height, width, out_height, out_width, kh, kw;
    int32_t stride_y, stride_x, padding_y, dilation_y;
    int32_t padding_code;
} tinyq_conv;

/* Windows over a plane: window (oy, ox) has rows[oy].count * columns[ox].count taps. */
typedef struct {
    int32_t first;                      /* elements from the plane's, or the row's, first one */
    int32_t count;
} tinyq_taps;

typedef struct {
    const tinyq_taps *rows, *columns;
    int32_t channels, plane, out_height, out_width;
    int32_t step_y, step_x;             /* elements from one tap to the next */
} tinyq_windows;

/* A block of up to three axes from one place to another, in elements. */
typedef struct {
    int32_t from, to;
    int32_t count[3], from_step[3], to_step[3];
} tinyq_move;

/* The codes of x, k or more of them, times the weights; levels: room for k. y: codes, or int32_t if wide.
   added: NULL, or what is added to y before it is rounded; it may be y itself. */
void tinyq_linear_u8(const tinyq_linear *op, const uint8_t *x, const uint8_t *added, void *y, int8_t *levels);
void tinyq_linear_i16(const tinyq_linear *op, const int16_t *x, const int16_t *added, void *y, int8_t *levels);

/* sums: room for out_width. */
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

/* Codes below low become low; y may be x. */
void tinyq_clip_u8(int32_t low, const uint8_t *x, uint8_t *y, int32_t count);
void tinyq_clip_i16(int32_t low, const int16_t *x, int16_t *y, int32_t count);

void tinyq_fill_u8(int32_t code, uint8_t *y, int32_t count);
void tinyq_fill_i16(int32_t code, int16_t *y, int32_t count);

void tinyq_move_u8(const tinyq_move *op, const uint8_t *x, uint8_t *y);
void tinyq_move_i16(const tinyq_move *op, const int16_t *x, int16_t *y);

/* The same codes as int32_t. */
void tinyq_widen_u8(const uint8_t *x, int32_t *y, int32_t count);
void tinyq_widen_i16(const int16_t *x, int32_t *y, int32_t count);

#ifdef __cplusplus
}
#endif

#endif
