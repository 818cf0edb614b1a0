"""Compiled kernels are kept apart from everyone else's, and the wait for them is announced once."""
import os
import subprocess
import sys

import numba
import pytest

from tinyq.kernels import contract
from tinyq.kernels.jit import cache
from tinyq.kernels.jit import compile as kernel_compile


def run(cache):
    code = ("import numpy as np\nfrom tinyq import kernels\nx = np.ones((3, 4), np.float32)\n"
            "kernels.sum(kernels.exp(x), (0,))")
    process = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TINYQ_CACHE": str(cache)},
                             capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stderr


def test_the_first_compilation_is_announced_once_and_later_runs_load(tmp_path):
    assert run(tmp_path).count("compiling kernels") == 1
    assert [folder.name for folder in tmp_path.iterdir()] == [cache.cache_folder().name]
    assert run(tmp_path) == ""


def test_numbas_own_cache_folder_is_left_alone():
    before = numba.config.CACHE_DIR
    kernel_compile.njit(lambda: 1)
    assert numba.config.CACHE_DIR == before


@pytest.mark.parametrize("samples, per_chunk", [(1, 8), (8, 8), (64, 8), (65, 9), (128, 16), (1000, 125)])
def test_the_chunks_of_a_weight_gradient_are_fixed(samples, per_chunk):
    assert contract.samples_per_chunk(samples) == per_chunk


def test_the_constants_behind_every_committed_hash():
    assert (contract.KC, contract.LANES, contract.REDUCTION_CHUNK) == (256, 32, 4096)
