"""Put the self-tests of many networks into one program, for a core without an operating system."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from embedded.emulated_cores import TARGETS, Target
from embedded.programs import compiled, linked, run

from tinyq.packed.c.export import COMPILED, export
from tinyq.packed.integer.lowering import lower

MAIN = """\
#include <stdint.h>
#include <stdio.h>

{includes}
#if {big_endian} != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#error "another order of bytes than the test says"
#endif

static int64_t arena[{arena}];

static int failed(const char *name, int sample)
{{
    if (sample)
        printf("%s: sample %d\\n", name, sample);
    return sample != 0;
}}

int main(void)
{{
    int wrong = 0;
    {calls}
    printf("%d of {count} wrong\\n", wrong);
    return wrong;
}}
"""


@dataclass(frozen=True)
class Networks:
    """Networks that were exported into a folder; their self-tests share one arena. arenas: bytes by name."""

    folder: Path
    arenas: dict[str, int]

    @classmethod
    def exported(cls, folder: Path, cases) -> "Networks":
        """Export the cases {name: (packed, "int8" or "int16", float32 samples of the self-test)}."""
        return cls(folder, {name: export(lower(packed, kind), packed, folder, name, samples).arena
                            for name, (packed, kind, samples) in cases.items()})

    def only(self, chosen: Callable[[str], bool]) -> "Networks":
        """Return the networks whose names are chosen."""
        return Networks(self.folder, {name: size for name, size in self.arenas.items() if chosen(name)})

    def run(self, target: Target, folder: Path, *flags: str, big_endian: bool = False) -> str:
        """Compile the program, run it on the target, and return what it prints."""
        folder.mkdir(parents=True, exist_ok=True)
        main = folder / "main.c"
        calls = (f'wrong += failed("{name}", {name}_selftest_in(arena, NULL));' for name in self.arenas)
        main.write_text(MAIN.format(
            includes="\n".join(f'#include "{name}.h"' for name in self.arenas), big_endian=int(big_endian),
            arena=-(-max(self.arenas.values()) // 8), count=len(self.arenas), calls="\n    ".join(calls)))
        own = [self.folder / f"{name}{end}" for name in self.arenas for end in (".c", "_selftest.c")]
        objects = compiled(target, [main, *own, *(self.folder / file for file in COMPILED)], folder, "-std=c99",
                           f"-I{self.folder}", *flags)
        return run(target, linked(target, objects, folder / "program.elf"))


def emulated(core: str) -> Target:
    """Return the target of this name; the test is skipped where something for it is not installed."""
    missing = TARGETS[core].missing()
    if missing:
        pytest.skip(missing)
    return TARGETS[core]
