"""The integer kernels for ARM on other processors: their instructions emulated, their machine code read.

What an instruction does is the emulator's word here (emulated_neon.py); on AArch64 the tests of every instruction set
run the real ones.
"""
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packed_networks import packed

from tinyq.kernels.jit.isa import ARM, available
from tinyq.packed.file import format

HERE = Path(__file__).parent
CODE = HERE.parents[2] / "bench" / "common" / "machine_code.py"
EMULATOR = HERE / "emulated_neon.py"
ON_ARM = platform.machine() in ("aarch64", "arm64")
emulated = pytest.mark.skipif(ON_ARM, reason="test_packed_executors.py runs the real instructions")
each_set = pytest.mark.parametrize("isa", [isa.name for isa in ARM])


def output_of(*arguments, **environment):
    result = subprocess.run([sys.executable, *map(str, arguments)], cwd=HERE, capture_output=True, text=True,
                            timeout=900, env={**os.environ, "NUMBA_NUM_THREADS": "2", **environment})
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


@each_set
def test_each_kernel_gives_numpy_s_integers(isa):
    if ON_ARM and isa not in available():
        pytest.skip(f"no {isa} here")
    assert output_of(*[] if ON_ARM else [EMULATOR], "integer_parts.py", TINYQ_ISA=isa) == isa


@pytest.mark.slow
@emulated
@each_set
def test_emulated_instructions_give_numpy_s_bits(isa, tmp_path):
    for name, levels in {"lenet": "ternary", "digits_cnn": "binary", "resnet20": "shift2"}.items():
        format.write(tmp_path / f"{name}.tq.h5", packed(name, levels))
    plain = output_of("integer_hash.py", tmp_path, TINYQ_ISA="numpy")
    emulated = output_of(EMULATOR, "integer_hash.py", tmp_path, TINYQ_ISA=isa, TINYQ_CACHE=str(tmp_path))
    assert emulated.split() == [isa, plain.split()[1]]


@pytest.mark.slow
@emulated
@each_set
def test_they_stay_in_their_memory_and_give_numpy_s_integers_of_every_product(isa, tmp_path):
    assert output_of(EMULATOR, "guarded.py", "integers", TINYQ_ISA=isa, TINYQ_CACHE=str(tmp_path)) == isa


@pytest.mark.parametrize("isa, cpu, kernel, products", [
    ("neon", "cortex-a72", "small_tile", {"smull": 16, "smlal": 48, "sadalp": 8}),          # of 4 rows, others of 8
    pytest.param("neon", "cortex-a72", "byte_tile", {"smull": 64, "smlal": 0, "sadalp": 32}, marks=pytest.mark.slow),
    ("dotprod", "generic", "byte_tile", {"sdot": 64, "dup": 0}), ("i8mm", "generic", "byte_tile", {"usmmla": 32})])
def test_the_inner_loop_holds_its_products_and_all_sums(isa, cpu, kernel, products):
    loop = max(loops(output_of(CODE, isa, cpu, kernel)), key=len)
    names = [line.split()[0].removesuffix("2") for line in loop]
    assert {name: names.count(name) for name in products} == products
    assert not [line for line in loop if "[sp" in line]                 # no sum is kept in memory


def loops(code):
    """The blocks of instructions that end in a branch."""
    lines = [line.strip() for line in code.splitlines() if line.startswith("\t") and not line.startswith("\t.")]
    block = []
    for line in lines:
        block.append(line)
        if re.match(r"b(\.\w+)?\s|cbn?z\s|ret", line):
            yield block
            block = []
