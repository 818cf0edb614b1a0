"""Promise 1: the weights after fixed runs have one committed hash, for any number of threads and instruction set."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "fixed_run.py"

# If a constant of tinyq/kernels/contract.py changes, these change once, in a commit that says so.
WEIGHTS_SHA256 = {
    "lenet": "40b2e82c608251d79beef1c17aa5d57a2a6ffef1a80c9dff8ada96daad6d1699",
    "resnet20": "7104d09b8bc286c7b0dae554de69222bf08377cebbcb5a634ad1ff3a12cd8043",
}

# Haswell's instruction sets: AVX2 and FMA, no AVX-512.
HASWELL = ",".join(f"+{f}" for f in (
    "sse sse2 sse3 ssse3 sse4.1 sse4.2 popcnt cx16 movbe avx avx2 fma f16c bmi bmi2 lzcnt xsave").split())


def hash_of(model, threads, **environment):
    env = {**os.environ, "NUMBA_NUM_THREADS": str(max(threads, 2)), "OMP_WAIT_POLICY": "passive", **environment}
    command = [sys.executable, RUN, model, str(threads)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("model", WEIGHTS_SHA256)
@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_any_number_of_threads(model, threads):
    assert hash_of(model, threads) == WEIGHTS_SHA256[model]


def numpy_features_beyond_avx2():
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(f for f in __cpu_dispatch__ if __cpu_features__[f] and ("512" in f or f in ("X86_V4", "AVX512")))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="AVX2 is x86's")
@pytest.mark.parametrize("model", WEIGHTS_SHA256)
def test_a_cpu_without_avx512(model):
    restricted = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": HASWELL,
                  "NPY_DISABLE_CPU_FEATURES": numpy_features_beyond_avx2()}
    assert hash_of(model, 2, **restricted) == WEIGHTS_SHA256[model]
