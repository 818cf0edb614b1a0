"""The caller's memory: networks that share it, none that is static, and where a linker puts it."""
import re
import subprocess

from compiling import GCC, STRICT, compiled, needs_compiler
from packed_networks import samples
from small_models import SHAPE, small

from tinyq.packed.c.entry import expected_codes, find_entry
from tinyq.packed.c.export import COMPILED, export
from tinyq.packed.integer.lowering import lower

TAKE_TURNS = """\
#include <string.h>
#include "a.h"
#include "b.h"
#define LARGER (A_ARENA_BYTES > B_ARENA_BYTES ? A_ARENA_BYTES : B_ARENA_BYTES)
static int32_t arena[LARGER / 4 + 2];
static const uint8_t a_input[] = {%s};
static const int16_t b_input[] = {%s};
static const int32_t a_expected[] = {%s}, b_expected[] = {%s};
static int32_t output[4];
int main(void)
{
    for (int i = 0; i < 3; i++) {
        memset(arena, i == 1 ? 0xff : 0x5a, sizeof arena);
        a_run_in(arena + 1, a_input, output);
        if (memcmp(output, a_expected, sizeof output))
            return 1;
        b_run_in(arena + 1, b_input, output);
        if (memcmp(output, b_expected, sizeof output))
            return 2;
        if (arena[0] != arena[LARGER / 4 + 1])
            return 3;
    }
    return 0;
}
"""


def listed(values):
    return ", ".join(map(str, values.ravel().tolist()))


@needs_compiler
def test_two_networks_take_turns_in_one_arena_whose_old_contents_do_not_matter(tmp_path):
    codes, results = [], []
    for name, model, kind in (("a", "residual", "int8"), ("b", "concatenated", "int16")):
        network = small(model)
        program = lower(network, kind)
        export(program, network, tmp_path, name)
        first, last = expected_codes(program, network, find_entry(program, network), samples(1, SHAPE, 5))
        codes.append(listed(first))
        results.append(listed(last))
    (tmp_path / "main.c").write_text(TAKE_TURNS % (*codes, *results))
    run = compiled(tmp_path, "turns", "-DTINYQ_NO_STATIC_ARENA", sources=("main.c", "a.c", "b.c"))
    assert run.returncode == 0


def sections(path):
    told = subprocess.run(["size", "-A", path], capture_output=True, text=True, check=True).stdout
    return {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", told, re.M)}


@needs_compiler
def test_nothing_is_writable_without_the_static_arena(tmp_path):
    network = small("residual")
    export(lower(network, "int8"), network, tmp_path, "net")
    for source in ("net.c", *COMPILED):
        subprocess.run([GCC, *STRICT, "-DTINYQ_NO_STATIC_ARENA", "-c", source, "-o", "a.o"], cwd=tmp_path, check=True)
        held = sections(tmp_path / "a.o")
        assert held[".data"] == held[".bss"] == 0


@needs_compiler
def test_macros_place_constants_and_the_static_arena(tmp_path):
    network = small("residual")
    sizes = export(lower(network, "int8"), network, tmp_path, "net")
    places = [f'-DTINYQ_{name}=__attribute__((section("{name.lower()}_memory")))' for name in ("CONST", "ARENA")]
    subprocess.run([GCC, *STRICT, "-fno-pie", *places, "-c", "net.c"], cwd=tmp_path, check=True)
    told = subprocess.run(["size", "-A", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    held = {name: int(size) for name, size in re.findall(r"^(\w+_memory)\s+(\d+)", told, re.M)}
    assert held["arena_memory"] == sizes.arena and held["const_memory"] >= sizes.flash
    assert re.search(r"\.rodata\s+0\s", told) or ".rodata" not in told
