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
