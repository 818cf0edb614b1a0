"""Promise 1: the weights after fixed runs have one committed hash, for any number of threads and instruction set."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "fixed_run.py"
EMULATED_NEON = Path(__file__).parents[1] / "kernels/simd/emulated_neon_floats.py"
X86 = platform.machine() in ("x86_64", "AMD64")

# If a constant of tinyq/kernels/contract.py changes, these change once, in a commit that says so.
WEIGHTS_SHA256 = {
    "lenet": "5d78b3993aef4ad588ff873566e5ac876fe44c629262351b0361d6d3b94ab78a",
    "resnet20": "e06d93a6ec8251a30474ac1e0d4a9c9b1f2362de127e66bf529632c441e56707",
    "resnet18": "3171c2f3d1e8e26108aca6d6b946192697a5db35a27ed33377c3d1d315b151d5",
    "googlenet": "41ca240700d670d2e2359f2e3054cabde6d4bada6da8788e8b2d3cbf8267f2fc",
    "digits": "7734e89b8b6369bbb8cf2e7085e590a8e5cf22061112a7865d3341bf6fc2b157",
}

# Haswell's instruction sets: AVX2 and FMA, no AVX-512.
HASWELL = ",".join(f"+{f}" for f in (
    "sse sse2 sse3 ssse3 sse4.1 sse4.2 popcnt cx16 movbe avx avx2 fma f16c bmi bmi2 lzcnt xsave").split())


def hash_of(run, threads, *before, **environment):
    env = {**os.environ, "NUMBA_NUM_THREADS": str(max(threads, 2)), "OMP_WAIT_POLICY": "passive", **environment}
    command = [sys.executable, *before, RUN, run, str(threads)]
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()[-1]


# The other runs are slow, and use few kernels that these do not.
QUICK = ("lenet", "digits")
RUNS = [pytest.param(run, marks=() if run in QUICK else pytest.mark.slow) for run in WEIGHTS_SHA256]


@pytest.mark.parametrize("run, threads", [
    pytest.param(run, threads, marks=() if run in QUICK or threads in (2, 16) else pytest.mark.slow)
    for run in WEIGHTS_SHA256 for threads in (1, 2, 3, 16)])
def test_any_number_of_threads(run, threads):
    assert hash_of(run, threads) == WEIGHTS_SHA256[run]


def numpy_features_beyond_avx2():
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(f for f in __cpu_dispatch__ if __cpu_features__[f] and ("512" in f or f in ("X86_V4", "AVX512")))


@pytest.mark.skipif(not X86, reason="AVX2 is x86's")
@pytest.mark.parametrize("run", RUNS)
def test_a_cpu_without_avx512(run):
    restricted = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": HASWELL,
                  "NPY_DISABLE_CPU_FEATURES": numpy_features_beyond_avx2()}
    assert hash_of(run, 2, **restricted) == WEIGHTS_SHA256[run]


@pytest.mark.slow
@pytest.mark.skipif(not X86, reason="x86 emulates NEON's look-ups")
def test_the_register_tiles_of_neon(tmp_path):
    assert hash_of("lenet", 2, EMULATED_NEON, TINYQ_CACHE=str(tmp_path)) == WEIGHTS_SHA256["lenet"]
