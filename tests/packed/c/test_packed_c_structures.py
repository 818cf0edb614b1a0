"""The runtime's structures as the exporter reads them: in the order and of the size that compilers see."""
import shutil
import subprocess

import pytest

from tinyq.packed.c.export import RUNTIME
from tinyq.packed.c.structures import braced, runtime_text, size_of, structures

CROSS = shutil.which("arm-none-eabi-gcc")


@pytest.mark.skipif(CROSS is None, reason="no compiler for ARM")
def test_sizes_are_those_of_a_32_bit_compiler(tmp_path):
    for name in RUNTIME:
        (tmp_path / name).write_text(runtime_text(name))
    checks = "".join(f"typedef char {name}_size[sizeof({name}) == {size_of(name)} ? 1 : -1];\n"
                     for name in structures())
    (tmp_path / "sizes.c").write_text(f'#include "tinyq_runtime.h"\n{checks}')
    subprocess.run([CROSS, "-mcpu=cortex-m0", "-std=c99", "-ffreestanding", "-fsyntax-only", "sizes.c"], cwd=tmp_path,
                   check=True)
    assert {"tinyq_conv", "tinyq_linear", "tinyq_windows", "tinyq_move"} <= set(structures())


def test_initialisers_follow_the_header_whatever_the_order_given():
    assert braced("tinyq_taps", {"count": 2, "first": None}) == "{\n    /* first */ NULL,\n    /* count */ 2\n}"
    for members in ({"first": 1}, {"first": 1, "count": 2, "more": 4}):
        with pytest.raises(AssertionError, match="tinyq_taps"):
            braced("tinyq_taps", members)
