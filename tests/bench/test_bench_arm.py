"""The model of AArch64 cores reads the inner loops of their machine code, and finds the tiles near the peak."""
import re

import arm
import pytest
from common.machine_code import machine_code

CODE = """
tinyq_tile:
\tmov\tx8, xzr
.LBB0_1:
\tldp\tq24, q25, [x1], #32     // 32-byte Folded
.LBB0_2:
\t.p2align\t4
\tldr\tq26, [x2], #16
\tfmla\tv0.4s, v24.4s, v26.s[0]
\tsdot\tv1.4s, v25.16b, v26.4b[1]
\tsmull2\tv2.8h, v25.16b, v26.16b
\tsubs\tx0, x0, #1
\tb.ne\t.LBB0_2
\tcbnz\tx3, .LBB0_1
\tret
"""


def test_the_inner_loop_is_read_with_its_products():
    loop = arm.inner_loop(CODE)
    assert loop.multiplies == {"fmla.4s": 1, "sdot.4s": 1, "smull2.8h": 1} and loop.products == 4 + 16 + 8
    assert [line.split()[0] for line in loop.instructions] == ["ldr", "fmla", "sdot", "smull2", "subs"]


def test_the_float_tile_loads_its_rows_as_two_vectors_and_multiplies_by_their_lanes_without_spills():
    loop = arm.inner_loop(machine_code("neon", "cortex-a72", "packed_tile"))
    assert loop.multiplies == {"fmla.4s": 16}
    text = "\n".join(loop.instructions)
    assert len(re.findall(r"fmla .*s\[[0-3]\]", text.replace("\t", " "))) == 16
    assert not re.search(r"ldr\ts|dup|\[sp", text)


@pytest.mark.skipif(not arm.analyzer(), reason="there is no llvm-mca")
@pytest.mark.parametrize("cpu, least", [("cortex-a72", 0.99), pytest.param("cortex-a53", 0.45, marks=pytest.mark.slow),
                                        pytest.param("neoverse-n1", 0.99, marks=pytest.mark.slow)])
def test_the_float_tile_is_near_the_peak(cpu, least):
    rate, share = arm.modelled(arm.analyzer(), cpu, arm.FLOAT_TILE)
    assert least <= share <= 1.01 and rate > 0


@pytest.mark.slow
@pytest.mark.skipif(not arm.analyzer(), reason="there is no llvm-mca")
def test_int8_by_dot_products_is_far_faster_than_float():
    dots, floats = (arm.modelled(arm.analyzer(), "neoverse-n1", tile)[0] for tile in (arm.DOTPROD[0], arm.FLOAT_TILE))
    assert dots >= 2.4 * floats
