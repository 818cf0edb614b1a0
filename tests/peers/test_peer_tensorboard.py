"""TensorBoard's own reader reads what a run writes with --tensorboard."""
import numpy as np
import pytest

from tinyq.files.journal import read_records
from tinyq.run import session
from tinyq.run.settings.resolve import resolve

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.mark.filterwarnings("default")
def test_tensorboard_reads_every_scalar_of_a_resumed_run(tmp_path):
    session.start(resolve({"model": "mlp:8,16", "data": "iris", "method": "backprop", "recipe": "none", "epochs": 3,
                           "batch_size": 16, "tensorboard": True, "print_freq": 3, "threads": 1, "workers": 0,
                           "max_steps": 10, "output": str(tmp_path / "r")}))
    session.resume(tmp_path / "r", {"max_steps": 100})
    events = accumulator.EventAccumulator(str(tmp_path / "r"), {"scalars": 0})
    events.Reload()
    records = read_records(tmp_path / "r" / "metrics.jsonl")
    for tag in ("epoch/validation_loss", "step/objective"):
        kind, key = tag.split("/")
        expected = [(record["step"], float(np.float32(record[key]))) for record in records if record["record"] == kind]
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert found == expected and len(found) > 2
