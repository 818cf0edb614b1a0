"""Templates of NAME.h and NAME.c; c_source.py substitutes the $names."""
from string import Template

from tinyq.packed.c.project.provenance import SAME_RUNTIME

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
$head

   Input: $inputs codes ($input_shape, last axis fastest), one per value of the network's input$before
       code = clamp(round_half_even(value * ${NAME}_INPUT_CODES_PER_UNIT) + ${NAME}_INPUT_ZERO, $input_low, $input_high)
   Output: $outputs codes; a code stands for (code - ${NAME}_OUTPUT_ZERO) * ${NAME}_OUTPUT_SCALE. $meaning */
#ifndef ${NAME}_H
#define ${NAME}_H

#include <stdint.h>

#define ${NAME}_EXPORT $digest  /* hash of all files written together */
#define ${NAME}_PACKED_SHA256 "$sha256"
#define ${NAME}_TINYQ_VERSION "$version"

#define ${NAME}_INPUTS $inputs
${dimensions}#define ${NAME}_INPUT_CODES_PER_UNIT $reciprocal
#define ${NAME}_INPUT_ZERO ($input_zero)
#define ${NAME}_INPUT_LOW ($input_low)
#define ${NAME}_INPUT_HIGH ($input_high)
#define ${NAME}_OUTPUTS $outputs
#define ${NAME}_OUTPUT_SCALE $output_scale
#define ${NAME}_OUTPUT_ZERO ($output_zero)
#define ${NAME}_LAYERS $layers
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
$classes_in$class_names
/* Compute the outputs of the samples in ${name}_selftest.c; return 0, or the number, from 1, of the first sample whose
   outputs are not as expected. correct: NULL, or where to store how many samples have the class of their label. */
#define ${NAME}_SELFTEST_SAMPLES $samples
#define ${NAME}_SELFTEST_LABELS $labels
int ${name}_selftest_in(void *arena, int *correct);

/* The same in a static arena, which others may use between the calls. Not reentrant. */
#ifndef TINYQ_NO_STATIC_ARENA
extern int32_t ${name}_arena[${NAME}_ARENA_BYTES / 4];
void ${name}_run(const $ctype *input, int32_t *output);
${classes}int ${name}_selftest(void);
#endif
$pixel_table
#ifdef __cplusplus
}
#endif

#endif
""")

CLASSES_IN = Template("""\

/* Class of the largest output; of equal ones the first. */
int32_t ${name}_class_of(const int32_t *output);

/* Compute the outputs and return the class. */
int32_t ${name}_classify_in(void *arena, const $ctype *input, int32_t *output);
""")

CLASSES = Template("int32_t ${name}_classify(const $ctype *input, int32_t *output);\n")

CLASS_NAMES = Template("""
extern const char *const ${name}_class_names[${NAME}_OUTPUTS];
""")

DIMENSIONS = Template("""\
#define ${NAME}_INPUT_CHANNELS $channels
#define ${NAME}_INPUT_HEIGHT $height
#define ${NAME}_INPUT_WIDTH $width
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
$head
   Sums are int32_t. */
#include "$name.h"
#include "tinyq_runtime.h"

$same_export
""" + SAME_RUNTIME + """
$constants
/* Values whose lifetimes do not overlap share memory. */
void ${name}_run_in(void *memory, const $ctype *input, int32_t *output)
{
    uint8_t *const arena = (uint8_t *)memory;
    (void)arena;
    $calls
}
$classes_in
#ifndef TINYQ_NO_STATIC_ARENA
TINYQ_ARENA int32_t ${name}_arena[${NAME}_ARENA_BYTES / 4];

void ${name}_run(const $ctype *input, int32_t *output)
{
    ${name}_run_in(${name}_arena, input, output);
}
$classes#endif
""")

CLASSES_IN_SOURCE = Template("""
int32_t ${name}_class_of(const int32_t *output)
{
    int32_t best = 0;
    for (int32_t i = 1; i < ${NAME}_OUTPUTS; i++)
        if (output[i] > output[best])
            best = i;
    return best;
}

int32_t ${name}_classify_in(void *arena, const $ctype *input, int32_t *output)
{
    ${name}_run_in(arena, input, output);
    return ${name}_class_of(output);
}
""")

CLASSES_SOURCE = Template("""
int32_t ${name}_classify(const $ctype *input, int32_t *output)
{
    return ${name}_classify_in(${name}_arena, input, output);
}
""")
