"""A run whose last step overflows ends as a run that diverged, not with a network that computes NaN."""
import numpy as np
import pytest

from tinyq.errors import Diverged, UsageError
from tinyq.methods.base import GradientMethod
from tinyq.run import session
from tinyq.run.settings.resolve import resolve

IRIS = {"model": "mlp:8,16", "data": "iris", "recipe": "none", "batch_size": 16, "epochs": 1, "max_steps": 3,
        "threads": 1, "workers": 0}
METHODS = [{"method": "backprop"}, {"method": "cbp", "pretrain_epochs": 0},
           {"method": "rpr", "pretrain_epochs": 0, "epochs": 5}]


def train(folder, **changes):
    return session.start(resolve({**IRIS, **changes, "output": str(folder)}))[0]


def spoil(monkeypatch, value, number=3):
    """Put a value into the weights of a layer behind the update of the given step."""
    step, steps = GradientMethod.step, []

    def spoiling(self, batches):
        objective = step(self, batches)
        steps.append(objective)
        if len(steps) == number:
            dict(self.model.named_parameters())["fc2.weight"].data[...] = value
        return objective

    monkeypatch.setattr(GradientMethod, "step", spoiling)


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("settings", METHODS, ids=lambda settings: settings["method"])
def test_a_weight_that_overflowed_in_the_last_step_is_not_saved(tmp_path, monkeypatch, settings, value):
    spoil(monkeypatch, value)
    with pytest.raises(Diverged, match="is not finite after the last step, .*try a lower --lr"):
        train(tmp_path / "r", **settings)
    assert not (tmp_path / "r" / "model.h5").exists() and not (tmp_path / "r" / "result.json").exists()


def test_weights_so_large_that_the_output_overflows_are_not_saved(tmp_path, monkeypatch):
    spoil(monkeypatch, np.float32(3e38))
    with pytest.raises(Diverged, match="the network's output is not finite"):
        train(tmp_path / "r", method="backprop")
    assert not (tmp_path / "r" / "model.h5").exists()


def test_a_float_network_that_overflowed_is_not_saved(tmp_path, monkeypatch):
    spoil(monkeypatch, np.inf, number=8)
    with pytest.raises(Diverged, match="is not finite"):
        train(tmp_path / "r", method="cbp", pretrain_epochs=1, max_steps=14, **{"iris.validation": 0})
    assert not (tmp_path / "r" / "float.h5").exists()


def test_a_loss_beyond_float32_ends_in_one_line_without_a_warning(tmp_path):
    table = tmp_path / "far.csv"
    table.write_text("x,y\n" + "".join(f"{i},{(i - 20) * 1e22}\n" for i in range(40)))
    with pytest.raises(Diverged, match="the loss is inf"):         # a warning is an error in these tests
        train(tmp_path / "r", method="backprop", data=str(table), loss="mse")


@pytest.mark.parametrize("settings", [{"schedule": "plateau"},
                                      {"schedule": "constant", "pretrain_epochs": 1, "pretrain_schedule": "plateau"}])
def test_a_plateau_that_would_hear_nothing_is_refused(tmp_path, settings):
    with pytest.raises(UsageError, match="--schedule plateau: iris has no validation part"):
        train(tmp_path / "r", method="cbp", **settings, **{"iris.validation": 0})
    assert not (tmp_path / "r").exists()
    train(tmp_path / "r", method="cbp", **settings)
