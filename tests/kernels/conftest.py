"""What the kernel tests share."""
import numba
import pytest

from tinyq import kernels


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    """Run a test with this many threads in the kernels."""
    if request.param > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("one core here")
    kernels.set_threads(request.param)
    yield request.param
    kernels.set_threads(numba.config.NUMBA_NUM_THREADS)
