"""Functions without machine code of their own: what calls them computes the same."""
import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from tinyq.kernels.jit import linking
from tinyq.kernels.jit.compile import njit, part, prange


@part
def _twice(x):
    return x * 2


@njit
def _one_of(y, i):
    y[i] = i


def _four_times(x, y):
    for i in prange(x.size):
        y[i] = _twice(_twice(x[i]))


@pytest.mark.parametrize("how", [{}, {"parallel": True, "pipeline_class": linking.PARALLEL}])
@pytest.mark.parametrize("threads", [1, 2])
def test_what_links_a_part_computes_the_same(how, threads):
    x = np.arange(1000, dtype=np.float32)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        y = np.empty_like(x)
        numba.njit(_four_times, **how)(x, y)
    finally:
        numba.set_num_threads(before)
    assert np.array_equal(y, x * 4)


def test_a_parallel_loop_may_be_the_first_to_need_a_kernel():
    """Compiled for the loop's unsigned counter while the loop is, it is kept as any other, and found again there."""
    for one_of in (_one_of, njit(_one_of.py_func)):             # the second has it from the cache, as a new process
        assert _filled_by(one_of) == [0, 1, 2, 3, 4]
    assert sum(one_of.stats.cache_hits.values()) > 0


def _filled_by(one_of):
    def fill(y):
        for i in prange(y.size):
            one_of(y, i)

    y = np.zeros(5, np.float32)
    numba.njit(fill, parallel=True, pipeline_class=linking.PARALLEL)(y)
    return y.tolist()


def test_only_what_python_calls_becomes_machine_code(monkeypatch):
    codegen, made = cpu_target.target_context.codegen(), []
    add = codegen._add_module
    monkeypatch.setattr(codegen, "_add_module", lambda module: made.append(module.name) or add(module))

    @part
    def thrice(x):
        return x * 3

    def nine_times(x, y):
        for i in prange(x.size):
            y[i] = thrice(thrice(x[i]))

    caller = numba.njit(nine_times, parallel=True, pipeline_class=linking.PARALLEL)
    caller(np.ones(3), np.ones(3))
    assert ["nine_times" in name for name in made] == [True] and "parfor" not in made[0]
