"""Every operation against torch on torch's own sample inputs, values and gradients, in float64 and float32."""
import pytest

torch = pytest.importorskip("torch")

import torch_samples  # noqa: E402 (it imports torch)
from torch_samples import OPERATIONS, compare  # noqa: E402

import tinyq.functional as F  # noqa: E402

NAMES = sorted(OPERATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_torchs_on_some_of_its_samples(name):
    report = compare(name, few=True)
    assert report.faults == [] and report.compared + report.refused.total()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_torchs_on_all_of_its_samples(name):
    report = compare(name)
    assert report.faults == [] and report.compared


def test_a_wrong_value_and_a_wrong_gradient_are_found(monkeypatch):
    for wrong in (lambda x: F.sin(x) * 1.00001, lambda x: x * (F.sin(x).data / x.data)):
        monkeypatch.setitem(torch_samples.OPERATIONS, "sin", wrong)
        assert any("float64" in fault for fault in compare("sin").faults)
