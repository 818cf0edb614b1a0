"""NEON's float kernels on x86, with its look-ups emulated; on AArch64 every test of products runs them."""
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 emulates NEON's look-ups")
def test_the_tile_of_packed_rows_and_weights_in_codes_have_the_references_bits(tmp_path):
    command = [sys.executable, HERE / "emulated_neon_floats.py", HERE / "neon_floats.py"]
    result = subprocess.run(command, timeout=600, capture_output=True, text=True,
                            env={**os.environ, "TINYQ_CACHE": str(tmp_path)})
    assert result.stdout == "equal\n", result.stderr[-3000:]
