"""Write the self-test of a network: samples with their outputs, in a function without stdio and a program around it."""
from string import Template

from tinyq.packed.c.project.provenance import HEAD, SAME_EXPORT

ABOUT = Template("$samples of $name, with the outputs it must compute.")

FUNCTION = Template("""\
$head */
#include "$name.h"
#include "tinyq_runtime.h"

$same_export
$arrays
int ${name}_selftest_in(void *arena, int *correct)
{
    static int32_t output[${NAME}_OUTPUTS];
    int right = 0;
    for (int i = 0; i < ${NAME}_SELFTEST_SAMPLES; i++) {
        ${name}_run_in(arena, inputs[i], output);
        for (int j = 0; j < ${NAME}_OUTPUTS; j++)
            if (output[j] != expected[i][j])
                return i + 1;$count
    }
    if (correct)
        *correct = right;
    return 0;
}

#ifndef TINYQ_NO_STATIC_ARENA
int ${name}_selftest(void)
{
    return ${name}_selftest_in(${name}_arena, NULL);
}
#endif
""")

COUNT = Template("""
        right += ${name}_class_of(output) == labels[i];""")

PROGRAM = Template("""\
$head */
#include <stdio.h>

#include "$name.h"

$same_export
static int32_t arena[${NAME}_ARENA_BYTES / 4];

int main(void)
{
    int correct, wrong = ${name}_selftest_in(arena, &correct);
    if (wrong) {
        printf("$name: sample %d of %d: wrong outputs\\n", wrong, ${NAME}_SELFTEST_SAMPLES);
        return 1;
    }
    printf("$name: ok: %d x %ld outputs", ${NAME}_SELFTEST_SAMPLES, (long)${NAME}_OUTPUTS);
    if (${NAME}_SELFTEST_LABELS)
        printf(", %d of %d classes right", correct, ${NAME}_SELFTEST_LABELS);
    printf("; flash %ld bytes, arena %ld bytes\\n", (long)${NAME}_FLASH_BYTES, (long)${NAME}_ARENA_BYTES);
    return 0;
}
""")


def self_test(names: dict[str, str], samples: str, arrays: str, labelled: bool) -> dict[str, str]:
    """Return {file name: text}.

    names: what every template substitutes. samples: what they are. arrays: C definitions of inputs, expected and, where
    `labelled`, labels.
    """
    same_export, name = SAME_EXPORT.substitute(names), names["name"]
    about = ABOUT.substitute(names, samples=samples)
    return {f"{name}_selftest.c": FUNCTION.substitute(
                names, head=HEAD.substitute(names, about=about), same_export=same_export, arrays=arrays,
                count=COUNT.substitute(names) if labelled else ""),
            f"examples/{name}/selftest.c": PROGRAM.substitute(
                names, head=HEAD.substitute(names, about=f"a program that runs the self-test of {name}; exit code 1 "
                                            "if it fails."), same_export=same_export)}
