"""The doctor: what it finds is what the kernels use, and what it warmed up need not be compiled again."""
import json
import os
import subprocess
import sys

import numba
import pytest

from tinyq import doctor
from tinyq.kernels.jit import cache
from tinyq.kernels.simd.vectors import MR, NR


def test_it_says_what_the_kernels_use(capsys):
    assert not doctor.main(["--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["register tile"].startswith(f"{MR} x {NR} ") and found["threads"] == numba.get_num_threads()
    assert found["cache"] == str(cache.cache_folder()) and found["numba"] == numba.__version__
    assert not doctor.main([])
    assert "instruction set" in capsys.readouterr().out


@pytest.mark.slow                       # .ci/run does the same while it installs
def test_after_a_warm_up_nothing_is_compiled(tmp_path):
    """From an empty cache: with a full one there would be nothing to compile anyway."""
    env = {**os.environ, "TINYQ_CACHE": str(tmp_path / "cache")}

    def run(*command):
        result = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=env, capture_output=True, text=True,
                                timeout=600)
        assert result.returncode == 0, result.stderr
        return result.stderr

    assert "all kernels are compiled" in run("tinyq.doctor", "--warm-up")
    for recipe in ("digits-cbp", "digits-rpr", "iris-conntra"):
        for changes in ([], ["--pretrain-epochs", "0"]):
            assert "compiling" not in run("tinyq.train", "--recipe", recipe, "--max-steps", "3", *changes), recipe
