"""Templates of the C files; export.py substitutes the $names."""
from string import Template

DIGEST = "@DIGEST@"                     # export.py puts a hash of all files in its place

# The preprocessor compares whole numbers: NAME.h of another export is noticed.
_SAME_EXPORT = """\
#if ${NAME}_EXPORT != @DIGEST@
#error "$name.h is of another export than this file; export the network again"
#endif
"""

# What the outputs mean, by the kind of the task.
MEANINGS = {"classes": Template("""The largest code is
   the largest logit, so finding the class needs no floating point."""),
            "numbers": Template("""The values are
   the predicted numbers, in this order: $names."""),
            "labels": Template("""A label
   holds where its code is above ${NAME}_OUTPUT_ZERO; its probability is 1 / (1 + exp(-value)). Order: $names.""")}

BEFORE_FLOATS = Template("""They are
   the values before the network's last operations ($after), which are in floats and left to you.""")

HEADER = Template("""\
/* Written by tinyq: the network of $name.c in integer arithmetic ($kind activations).
$origin

   Input: $inputs codes ($input_shape, last axis fastest), one per value of the network's input$before
       code = clamp(round_half_even(value * ${NAME}_INPUT_CODES_PER_UNIT) + ${NAME}_INPUT_ZERO, $input_low, $input_high)
   Output: $outputs codes; a code stands for (code - ${NAME}_OUTPUT_ZERO) * ${NAME}_OUTPUT_SCALE. $meaning */
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stdint.h>

#define ${NAME}_EXPORT @DIGEST@  /* hash of all files written together */
#define ${NAME}_INPUTS $inputs
#define ${NAME}_INPUT_CODES_PER_UNIT $reciprocal
#define ${NAME}_INPUT_ZERO ($input_zero)
#define ${NAME}_OUTPUTS $outputs
#define ${NAME}_OUTPUT_SCALE $output_scale
#define ${NAME}_OUTPUT_ZERO ($output_zero)
#define ${NAME}_FLASH_BYTES $flash  /* constants, where pointers have 32 bits */
#define ${NAME}_ARENA_BYTES $arena
#define ${NAME}_ARENA_ALIGN $align
$preparation
#ifdef __cplusplus
extern "C" {
#endif

/* Compute the outputs. arena: ${NAME}_ARENA_BYTES of memory, aligned to ${NAME}_ARENA_ALIGN, whose contents matter
   only during the call: networks that do not run at the same time may share it. Reentrant. */
void ${name}_run_in(void *arena, const $ctype *input, int32_t *output);

#ifndef TINYQ_NO_STATIC_ARENA
/* Compute the outputs in a static arena. Not reentrant. */
void ${name}_run(const $ctype *input, int32_t *output);
#endif
$pixel_table
#ifdef __cplusplus
}
#endif

#endif
""")

PREPARATION = Template("""
/* A value of the network's input is (raw / ${NAME}_RAW_DIVISOR - mean) / std, with the mean and std of its channel or
   feature, along the first axis, or with the only ones. */
#define ${NAME}_RAW_DIVISOR $divisor
#define ${NAME}_INPUT_MEAN {$mean}
#define ${NAME}_INPUT_STD {$std}
""")

PIXEL_TABLE = Template("""
/* Code of each 8-bit pixel, per channel. */
extern const $ctype ${name}_code_of_pixel[$channels][256];
""")

SOURCE = Template("""\
/* Written by tinyq. Weights are encoded as in the .tq.h5 file and decoded row by row; sums are int32_t. */
#include "$name.h"
#include "tinyq_runtime.h"

""" + _SAME_EXPORT + """
$constants
/* Values whose lifetimes do not overlap share memory. */
void ${name}_run_in(void *arena, const $ctype *input, int32_t *output)
{
    $calls
}

#ifndef TINYQ_NO_STATIC_ARENA
TINYQ_ARENA static int32_t static_arena[${NAME}_ARENA_BYTES / 4];

void ${name}_run(const $ctype *input, int32_t *output)
{
    ${name}_run_in(static_arena, input, output);
}
#endif
""")

SELF_TEST = Template("""\
/* Written by tinyq: inputs of $name and their expected outputs; exit code 1 if $name computes others. */
#include <stdio.h>

#include "$name.h"
#include "tinyq_runtime.h"

""" + _SAME_EXPORT + """
#define SAMPLES $samples

$arrays
int main(void)
{
    static int32_t output[${NAME}_OUTPUTS];
    for (int i = 0; i < SAMPLES; i++) {
        ${name}_run(inputs[i], output);
        for (int j = 0; j < ${NAME}_OUTPUTS; j++)
            if (output[j] != expected[i][j]) {
                printf("$name: sample %d, output %d: %ld instead of %ld\\n", i, j, (long)output[j],
                       (long)expected[i][j]);
                return 1;
            }
    }
    printf("$name: ok: %d x %d outputs; flash %ld bytes, arena %ld bytes\\n", SAMPLES, ${NAME}_OUTPUTS,
           (long)${NAME}_FLASH_BYTES, (long)${NAME}_ARENA_BYTES);
    return 0;
}
""")
