"""AMX on machines that have none: its kernels with emulated tile registers, their machine code, what is said without.

What the instructions do is the emulator's word here (emulated_tiles.py); on a processor that has them
test_packed_executors.py runs them.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packed_networks import packed

from tinyq.kernels.jit import target
from tinyq.kernels.jit.isa import available
from tinyq.packed.file import format

HERE = Path(__file__).parent
REFUSED = """
import pretended_tiles
from tinyq.kernels import target
target.tiles_refused = lambda: "Invalid argument"
from tinyq.kernels.jit.cache import cache_folder
from tinyq.kernels.jit.isa import ISA, NOTE, available
assert "amx" not in available() and "-without-tiles" in cache_folder().name
print(ISA.name, NOTE, sep="|")
"""
pytestmark = pytest.mark.skipif("vnni" not in available(), reason="the emulator is made of AVX-512 registers")


def output_of(cache, *arguments, **environment):
    result = subprocess.run([sys.executable, *map(str, arguments)], cwd=HERE, capture_output=True, text=True,
                            timeout=600, env={**os.environ, "TINYQ_CACHE": str(cache), "NUMBA_NUM_THREADS": "2",
                                          **environment})
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


def test_emulated_tiles_give_numpy_s_bits(tmp_path):
    format.write(tmp_path / "lenet.tq.h5", packed("lenet", "ternary"))
    format.write(tmp_path / "digits_cnn.tq.h5", packed("digits_cnn", "binary"))
    plain = output_of(tmp_path, HERE / "integer_hash.py", tmp_path, TINYQ_ISA="numpy")
    amx = output_of(tmp_path, HERE / "emulated_tiles.py", HERE / "integer_hash.py", tmp_path)
    assert amx.split() == ["amx", plain.split()[1]]


def test_they_stay_in_their_memory_and_give_numpy_s_integers_of_every_product(tmp_path):
    assert output_of(tmp_path, HERE / "emulated_tiles.py", HERE / "guarded.py", "integers") == "amx"


def test_the_machine_code_multiplies_unsigned_codes_with_signed_levels_without_spills(tmp_path):
    code = output_of(tmp_path, HERE / "tile_code.py")
    # As the assembler writes it, the sums come last: levels, codes, sums.
    products = re.findall(r"tdpbusd\s+%tmm(\d), %tmm(\d), %tmm(\d)", code)
    assert sorted(products) == sorted(2 * [("6", "4", "0"), ("7", "4", "1")] + [("6", "5", "2"), ("7", "5", "3")])
    assert len(re.findall(r"ldtilecfg", code)) == len(re.findall(r"tilerelease", code)) == 1
    assert len(re.findall(r"tilezero", code)) == len(re.findall(r"tilestored", code)) == 4 + 2
    assert "zmm" not in code and "call" not in code


@pytest.mark.parametrize("forced", ["", "amx"])
def test_a_process_that_may_not_use_tiles_says_why_and_uses_vectors(tmp_path, forced):
    isa, note = output_of(tmp_path, "-c", REFUSED, TINYQ_ISA=forced).split("|")
    assert isa == "vnni"
    assert note == "this process may not use the processor's AMX tiles (Invalid argument); vnni computes, slower"


def test_linux_is_asked(monkeypatch):
    monkeypatch.setattr(target, "target_features", lambda: frozenset({"amx-tile", "amx-int8"}))
    answer = target.tiles_refused.__wrapped__()
    assert (answer is None) is ("amx" in available()) and (answer is None or answer[0].isupper())
