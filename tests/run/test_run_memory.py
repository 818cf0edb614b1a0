"""The peak memory of a training step is estimated from smaller steps, and is right at the size that was not tried."""
import numpy as np
import pytest

from tinyq.run import step_memory
from tinyq.run.build import build
from tinyq.run.settings.resolve import resolve
from tinyq.run.step_memory import Memory, memory_of


def job_of(**flags):
    given = {"recipe": "none", "model": "digits_cnn", "data": "digits", "method": "backprop", "epochs": 1, "lr": 0.01,
             "batch_size": 256, "workers": 0, "threads": 1, **flags}
    return build(resolve(given).config)


@pytest.mark.parametrize("flags", [
    {}, {"opt": "adam", "accumulate": 2}, {"method": "cbp", "levels": "ternary", "pretrain_epochs": 0},
    {"model": "cifar_resnet18", "batch_size": 32}, {"method": "rpr", "levels": "ternary", "epochs": 30,
                                                    "pretrain_epochs": 0}], ids=str)
def test_the_peak_of_a_step_is_estimated_from_smaller_ones(flags):
    job = job_of(**flags)
    estimated = memory_of(job)
    step_memory._trace(job, job.phases[-1], job.config.batch_size)      # loads kernels that smaller steps did not
    points = step_memory._trace(job, job.phases[-1], job.config.batch_size)
    assert estimated.activations + estimated.workspace == pytest.approx(points[:, 1].max(), rel=0.03)


def test_state_counts_moments_and_multipliers():
    parameters = memory_of(job_of()).parameters
    assert memory_of(job_of(opt="adam")).state == pytest.approx(2 * parameters, rel=0.02)
    cbp = job_of(method="cbp", levels="ternary", pretrain_epochs=0)
    constrained = sum(p.data.nbytes for _, p in cbp.model.constrained_parameters())
    assert memory_of(cbp).state > parameters + constrained


def test_the_line_that_is_largest_for_a_large_batch_decides():
    low, high = (np.array([[10.0, 100.0], [20.0 * n, 30.0 * n], [0.0, 5.0]]) for n in (2, 4))
    assert step_memory._extrapolated(low, high, 2, 4, 4) == (10, 110)
    assert step_memory._extrapolated(low, high, 2, 4, 100) == (10, 2990)


def test_the_line_names_every_part():
    text = str(Memory(program=100 << 20, parameters=1 << 20, state=2 << 20, activations=3 << 20, workspace=4 << 20,
                      waiting=5 << 20))
    assert text.startswith("121 MiB at the peak of a training step: parameters 1, activations 3, optimiser and")
    assert "workspace 4, batches ahead 5, program and data 100, gaps 6" in text


def test_a_method_without_a_gradient_has_no_such_step():
    job = job_of(model="mlp:4", data="iris", method="conntra", levels="ternary", constrain="all", pretrain_epochs=0,
                 batch_size=32)
    assert memory_of(job) is None
