"""Write a program that feeds a network: with pixels or measurements, or with codes where neither is known."""
from string import Template

from tinyq.packed.c.project.provenance import HEAD, SAME_EXPORT

PROGRAM = Template("""\
$head
   $usage */
$includes
#include "$name.h"

$same_export
static $ctype input[${NAME}_INPUTS];
static int32_t output[${NAME}_OUTPUTS];
static int32_t arena[${NAME}_ARENA_BYTES / 4];

$prepare
static void show(void)
{
    $show
}

$main
""")

OF_PIXELS = Template("""\
/* Channels of a pixel together, as cameras give them: red, green, blue, red, green, ... */
static void from_hwc(const uint8_t *pixels)
{
    for (int32_t i = 0; i < ${NAME}_INPUT_HEIGHT * ${NAME}_INPUT_WIDTH; i++)
        for (int32_t c = 0; c < ${NAME}_INPUT_CHANNELS; c++)
            input[c * ${NAME}_INPUT_HEIGHT * ${NAME}_INPUT_WIDTH + i] = ${name}_code_of_pixel[c][*pixels++];
}

/* One channel after the other, as the network reads them. */
static void from_chw(const uint8_t *pixels)
{
    for (int32_t c = 0; c < ${NAME}_INPUT_CHANNELS; c++)
        for (int32_t i = 0; i < ${NAME}_INPUT_HEIGHT * ${NAME}_INPUT_WIDTH; i++)
            input[c * ${NAME}_INPUT_HEIGHT * ${NAME}_INPUT_WIDTH + i] = ${name}_code_of_pixel[c][*pixels++];
}
""")

MAIN_OF_PIXELS = Template("""\
int main(int argc, char **argv)
{
    static uint8_t pixels[${NAME}_INPUTS];
    int is_hwc = argc == 2 && !strcmp(argv[1], "hwc"), is_chw = argc == 2 && !strcmp(argv[1], "chw");
    if ((!is_hwc && !is_chw) || fread(pixels, 1, sizeof pixels, stdin) != sizeof pixels) {
        fprintf(stderr, "give hwc or chw, and %ld bytes of pixels on standard input\\n", (long)${NAME}_INPUTS);
        return 2;
    }
    if (is_hwc)
        from_hwc(pixels);
    else
        from_chw(pixels);
    show();
    return 0;
}""")

PREPARED = Template("""\
    static const float mean[] = ${NAME}_INPUT_MEAN, std[] = ${NAME}_INPUT_STD;
    int32_t each = (int32_t)(sizeof mean / sizeof *mean), at = number / (${NAME}_INPUTS / each);
    float value = (raw / ${NAME}_RAW_DIVISOR - mean[at]) / std[at];""")
UNPREPARED = "    float value = raw;\n    (void)number;"

OF_VALUES = Template("""\
/* Turn a raw value into a code. number: its place in the input, from 0. */
static $ctype code_of(float raw, int32_t number)
{
$value
    float code = rintf(value * ${NAME}_INPUT_CODES_PER_UNIT) + ${NAME}_INPUT_ZERO;
    if (!(code > ${NAME}_INPUT_LOW))
        return ${NAME}_INPUT_LOW;
    return code < ${NAME}_INPUT_HIGH ? ($ctype)code : ${NAME}_INPUT_HIGH;
}
""")

MAIN_OF_VALUES = Template("""\
int main(void)
{
    for (int32_t i = 0; i < ${NAME}_INPUTS; i++) {
        $type raw;
        if (scanf("$scan", &raw) != 1) {
            fprintf(stderr, "give %ld numbers on standard input\\n", (long)${NAME}_INPUTS);
            return 2;
        }
        input[i] = $code;
    }
    show();
    return 0;
}""")

SHOW_CLASS = Template('puts(${name}_class_names[${name}_classify_in(arena, input, output)]);')
SHOW_NUMBER = Template('printf("%ld\\n", (long)${name}_classify_in(arena, input, output));')
SHOW_VALUES = Template("""\
${name}_run_in(arena, input, output);
    for (int32_t i = 0; i < ${NAME}_OUTPUTS; i++)
        printf("%g\\n", (double)((float)(output[i] - ${NAME}_OUTPUT_ZERO) * ${NAME}_OUTPUT_SCALE));""")


def example(names: dict[str, str], inputs: str, shows: str, has_preparation: bool) -> dict[str, str]:
    """Return {file name: text}.

    names: what every template substitutes. inputs: "pixels", "values" or "codes". shows: "class name", "class" or
    "values".
    """
    match inputs:
        case "pixels":
            usage = "Reads 8-bit pixels: example hwc < picture.raw. On a board, pass the camera's buffer to from_hwc."
            prepare, main = OF_PIXELS.substitute(names), MAIN_OF_PIXELS.substitute(names)
            includes = "#include <stdio.h>\n#include <string.h>\n"
        case "values":
            usage = f"Reads {names['NAME']}_INPUTS raw values on standard input; needs -lm."
            value = PREPARED.substitute(names) if has_preparation else UNPREPARED
            prepare = OF_VALUES.substitute(names, value=value)
            main = MAIN_OF_VALUES.substitute(names, type="float", scan="%f", code="code_of(raw, i)")
            includes = "#include <math.h>\n#include <stdio.h>\n"
        case _:
            usage = f"Reads {names['NAME']}_INPUTS codes on standard input, made as {names['name']}.h says."
            prepare = ""
            main = MAIN_OF_VALUES.substitute(names, type="int", scan="%d", code=f"({names['ctype']})raw")
            includes = "#include <stdio.h>\n"
    show = {"class name": SHOW_CLASS, "class": SHOW_NUMBER, "values": SHOW_VALUES}[shows].substitute(names)
    about = f"an example of a program that runs {names['name']}."
    return {f"examples/{names['name']}/example.c": PROGRAM.substitute(
        names, head=HEAD.substitute(names, about=about), usage=usage, includes=includes, prepare=prepare, show=show,
        main=main, same_export=SAME_EXPORT.substitute(names))}
