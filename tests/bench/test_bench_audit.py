"""The bench of the ledger's cost takes steps with and without a record."""
import runpy
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield runpy.run_path(str(BENCH / "audit.py"))
    sys.modules.pop("common", None)


def test_a_record_of_a_step_has_as_many_bytes_as_the_page_says(bench):
    assert 600 < bench["record_bytes"]("lenet", 1) < 800
    bench["step_of"]("lenet", "off", 1)()
