#include "tinyq_internal.h"

/* Return the largest of a window of size x size sums. */
static int32_t largest(const int32_t *sums, int32_t size, int32_t pitch)
{
    int32_t most = *sums;
    for (int32_t i = 0; i < size; i++, sums += pitch)
        for (int32_t j = 0; j < size; j++)
            most = sums[j] > most ? sums[j] : most;
    return most;
}

/* Instantiate the kernels for each type of code. */
#define CODE uint8_t
#define NAMED(function) function##_u8
#include "tinyq_kernels.h"
#undef CODE
#undef NAMED

#define CODE int16_t
#define NAMED(function) function##_i16
#include "tinyq_kernels.h"
