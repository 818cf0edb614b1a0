"""The packed kernels touch no memory but theirs, and read none that nothing was written to (see guarded.py)."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyq.kernels.jit.isa import ISA, ISAS, NARROWEST, NUMPY, available

SCRIPT = Path(__file__).with_name("guarded.py")
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+popcnt,+f16c"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks the C library for pages that nobody may touch")


def run_guarded(what, **environment):
    result = subprocess.run([sys.executable, SCRIPT, what], capture_output=True, text=True, timeout=600,
                            env={**os.environ, "NUMBA_NUM_THREADS": "2", **environment})
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.strip()


# The best and the narrowest in every run, the others in the long one.
@pytest.mark.parametrize("isa", [pytest.param(isa.name, marks=() if isa in (ISA, NARROWEST) else pytest.mark.slow)
                                 for isa in ISAS])
def test_integer_kernels_stay_in_their_memory(isa):
    if isa not in available():
        pytest.skip(f"no {isa} here")
    assert run_guarded("integers", **({} if isa == available()[0] else {"TINYQ_ISA": isa})) == isa


@pytest.mark.parametrize("target", [pytest.param({}, id="native"),
                                    pytest.param(HASWELL, id="avx2", marks=pytest.mark.slow)])
def test_float_kernels_stay_in_their_memory(target):
    if target and "avx2" not in available():
        pytest.skip("no avx2 here")
    if available() == [NUMPY]:
        pytest.skip("weights are not kept in codes here")
    run_guarded("floats", **target)
