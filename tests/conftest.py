"""What several test files need."""
import os
from pathlib import Path

import pytest


@pytest.fixture
def shared_data():
    """shared_data("mnist") is the path of data too large for the project, or the test is skipped with the reason."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    root = Path(os.environ.get("TINYQ_SHARED_DATA", beside))

    def find(name):
        if not (root / name).exists():
            pytest.skip(f"{name} is not in TINYQ_SHARED_DATA, nor in ../shared/data beside the checkout")
        return root / name

    return find


@pytest.fixture
def two_threads():
    """Skip the test where numba has one thread; set the threads back afterwards."""
    import numba

    from tinyq import kernels

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("numba has one thread here")
    yield
    kernels.set_threads(numba.config.NUMBA_NUM_THREADS)


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request):
    """Run a test with this many threads in the kernels."""
    import numba

    from tinyq import kernels

    if request.param > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("one core here")
    kernels.set_threads(request.param)
    yield request.param
    kernels.set_threads(numba.config.NUMBA_NUM_THREADS)
