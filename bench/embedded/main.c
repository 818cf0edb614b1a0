/* Runs a network on the first SAMPLES samples and then AGAIN times on the last of them; prints the outputs and, on a
   board, the bytes of stack that it took.

   samples.h defines CODE, INPUTS, OUTPUTS and the array `samples`. NETWORK is the name of the function that runs the
   network; without it, this is the program whose size is subtracted. Whatever AGAIN is, the same is printed: a run
   with AGAIN 1 executes the instructions of one inference more than a run with AGAIN 0, apart from those of main. */
#include <stdint.h>
#include <stdio.h>

#include "samples.h"

#ifdef NETWORK
void NETWORK(const CODE *input, int32_t *output);
#endif

/* Not static: the program without a network has it too. */
int32_t outputs[SAMPLES][OUTPUTS];

#ifdef STACK
#define PAINT 0xA5
extern unsigned char __stack[];
#endif

int main(void)
{
#ifdef STACK
    volatile unsigned char *bottom = __stack - STACK, *top = (unsigned char *)__builtin_frame_address(0) - 128;
    for (volatile unsigned char *p = bottom; p < top; p++)
        *p = PAINT;
#endif
#ifdef NETWORK
    for (int i = 0; i < SAMPLES + AGAIN; i++) {
        int sample = i < SAMPLES ? i : SAMPLES - 1;
        NETWORK(samples[sample], outputs[sample]);
    }
#endif
#ifdef STACK
    if (*bottom != PAINT) {
        printf("the stack of %d bytes is too small\n", STACK);
        return 1;
    }
    while (bottom < top && *bottom == PAINT)
        bottom++;
    printf("stack %ld\n", (long)((unsigned char *)__builtin_frame_address(0) - bottom));
#endif
    for (int i = 0; i < SAMPLES; i++)
        for (int j = 0; j < OUTPUTS; j++)
            printf("%ld%c", (long)outputs[i][j], j + 1 < OUTPUTS ? ' ' : '\n');
    return 0;
}
