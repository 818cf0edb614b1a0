"""Put many networks into one program, which compares their outputs on a core without an operating system."""
from dataclasses import dataclass
from pathlib import Path

import pytest
from embedded.exported import exported
from embedded.programs import compiled, linked, run
from embedded.targets import TARGETS, Target

from tinyq.packed.c.export import COMPILED

TOP = """\
#include <stdint.h>
#include <stdio.h>

#if {big_endian} != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#error "another order of bytes than the test says"
#endif
{includes}
static int64_t arena[{arena}];
static int32_t output[{outputs}];

/* Return 0 if the outputs are those expected. */
static int differs(const char *name, int sample, const int32_t *expected, int count)
{{
    for (int i = 0; i < count; i++)
        if (output[i] != expected[i]) {{
            printf("%s: sample %d, output %d: %ld instead of %ld\\n", name, sample, i, (long)output[i],
                   (long)expected[i]);
            return 1;
        }}
    return 0;
}}
"""
ONE = """
static const {ctype} {name}_inputs[][{inputs}] = {{{codes}}};
static const int32_t {name}_expected[][{outputs}] = {{{expected}}};

static int check_{name}(void)
{{
    for (int i = 0; i < {samples}; i++) {{
        {name}_run_in(arena, {name}_inputs[i], output);
        if (differs("{name}", i, {name}_expected[i], {outputs}))
            return 1;
    }}
    return 0;
}}
"""
MAIN = """
int main(void)
{{
    int wrong = {calls};
    printf("%d of {count} wrong\\n", wrong);
    return wrong;
}}
"""


@dataclass(frozen=True)
class Networks:
    """Exported networks by name in a folder; parts: C text that checks each; outputs: of the largest."""

    folder: Path
    names: list[str]
    parts: list[str]
    outputs: int

    @classmethod
    def exported(cls, folder: Path, cases) -> "Networks":
        """Export the cases {name: (packed, "int8" or "int16", float32 samples)} into the folder."""
        networks = {name: exported(packed, kind, samples, folder, name)
                    for name, (packed, kind, samples) in cases.items()}
        return cls(folder, list(cases), [_part(name, network) for name, network in networks.items()],
                   max(network.outputs for network in networks.values()))

    def run(self, target: Target, folder: Path, *flags: str, big_endian: bool = False) -> str:
        """Compile the program, run it on the target, and return what it prints."""
        headers = [(self.folder / f"{name}.h").read_text() for name in self.names]
        arena = max(int(text.split("_ARENA_BYTES ", 1)[1].split()[0]) for text in headers)
        folder.mkdir(parents=True, exist_ok=True)
        main = folder / "main.c"
        main.write_text(
            TOP.format(big_endian=int(big_endian), includes="\n".join(f'#include "{name}.h"' for name in self.names),
                       arena=-(-arena // 8), outputs=self.outputs)
            + "".join(self.parts) + MAIN.format(calls=" + ".join(f"check_{name}()" for name in self.names),
                                                count=len(self.names)))
        sources = [main, *(self.folder / f"{name}.c" for name in self.names), *(self.folder / c for c in COMPILED)]
        objects = compiled(target, sources, folder, "-std=c99", f"-I{self.folder}", *flags)
        return run(target, linked(target, objects, folder / "program.elf"))


def emulated(core: str) -> Target:
    """Return the target of this name; the test is skipped where something for it is not installed."""
    missing = TARGETS[core].missing()
    if missing:
        pytest.skip(missing)
    return TARGETS[core]


def _part(name, network):
    ctype = {"uint8": "uint8_t", "int16": "int16_t"}[network.samples.dtype.name]
    return ONE.format(name=name, ctype=ctype, samples=len(network.samples), inputs=network.samples.shape[1],
                      codes=_rows(network.samples), outputs=network.outputs, expected=_rows(network.expected))


def _rows(values):
    return ",\n".join("{" + ",".join(map(str, row)) + "}" for row in values.tolist())
