"""A NaN or an infinity stops the run before an update, names what made it first, and leaves the step to look at."""
import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.autodiff import Tensor, primitives
from tinyq.data.loader import Batch
from tinyq.errors import Diverged, InputOutputError
from tinyq.run import build, checkpoint, divergence, loop, session
from tinyq.run.observers.diverged_step import STEP_FILE
from tinyq.run.settings.resolve import resolve
from tinyq.run.settings.toml_file import read_toml

DIGITS = {"model": "digits_cnn", "data": "digits", "method": "backprop", "recipe": "none", "batch_size": 64,
          "epochs": 1, "threads": 1, "workers": 0}


def train(folder, **changes):
    return session.start(resolve({**DIGITS, **changes, "output": str(folder)}))[0]


@pytest.fixture
def spoiled(monkeypatch):
    """spoiled(name, what): at step 3 and when it is repeated, a primitive's output or gradient holds a NaN."""
    def spoil(name, forward):
        rule, step, at = primitives.PRIMITIVES[name].forward, loop.Loop._step, [0]

        def bad(array):
            array = np.array(array)
            if at[0] == 3:
                array.reshape(-1)[5] = np.nan
            return array

        def spoilt(*arrays, **params):
            y, vjps, *more = rule(*arrays, **params)
            if forward:
                return bad(y), vjps, *more
            return y, tuple(vjp and (lambda g, vjp=vjp: bad(vjp(g))) for vjp in vjps), *more

        def counted(self, *arguments):
            at[0] += 1
            step(self, *arguments)

        monkeypatch.setattr(primitives.PRIMITIVES[name], "forward", spoilt)
        monkeypatch.setattr(loop.Loop, "_step", counted)
    return spoil


@pytest.mark.parametrize("name, forward, says", [
    ("conv2d", True, r"infinity: the output of conv2d at \(0, 0, 0, 5\) of shape \(64, "),
    ("relu", True, "infinity: the output of relu at "),
    ("relu", False, "infinity: the gradient at input 0 of relu at "),
    ("linear", False, "infinity: the gradient at input 0 of linear at "),
    ("softmax_cross_entropy", False, "infinity: the gradient at input 0 of softmax_cross_entropy at ")])
def test_the_operation_that_made_a_nan_is_named_before_anything_is_updated(tmp_path, spoiled, name, forward, says):
    if name not in primitives.PRIMITIVES:
        pytest.skip(f"{name} is called otherwise")
    spoiled(name, forward)
    with pytest.raises(Diverged, match=r"backprop phase, step 3: the .*" + says):
        train(tmp_path / "r")
    position, states = checkpoint.load(tmp_path / "r" / STEP_FILE)
    assert position.steps == 2
    train(tmp_path / "two", max_steps=2)                # not spoiled: what the weights were before the step
    before = checkpoint.load_newest(tmp_path / "two" / "checkpoints")[1]
    for key, array in before["model"].items():
        if "running" not in key and "batches" not in key:
            assert np.array_equal(states["model"][key], array), key
    assert states["batch"]["0/x"].shape == (64, 1, 8, 8) and len(states["batch"]["0/indices"]) == 64


def test_a_kept_step_can_be_repeated(tmp_path):
    with pytest.raises(Diverged) as first:
        train(tmp_path / "r", lr=1e30, model="mlp:8", data="iris")
    position, states = checkpoint.load(tmp_path / "r" / STEP_FILE)
    job = build.build(resolve({}, read_toml(tmp_path / "r" / "config.toml")).config)
    phase = job.phases[position.phase]
    job.model.load_state_dict(states["model"], source="")
    phase.optimizer.load_state(states["optimizer"])
    phase.method.begin(job.model, phase.optimizer, job.bundle.train, job.streams, state=states["method"])
    job.model.train().key_step(job.streams, position.epoch, position.batch)
    batch = Batch(*(states["batch"][f"0/{name}"] for name in Batch._fields))
    with pytest.raises(Diverged) as again:
        phase.method.step([batch])
    assert f"step {position.steps + 1}: {again.value}" in str(first.value)


def test_it_ends_in_one_line_and_with_its_code(tmp_path, capsys):
    assert main(f"train --model mlp:8 --data iris --method backprop --recipe none --lr 1e30 --epochs 2 --threads 1 "
                f"--output {tmp_path}/r".split()) == 70
    err = capsys.readouterr().err
    assert err.startswith("tinyq: backprop phase, step 2: ") and err.count("\n") == 1
    assert "; first NaN or infinity: " in err and f"the step is saved in {tmp_path}/r/diverged.h5" in err
    assert "try a lower learning rate (--lr)" in err


def test_a_full_disk_keeps_no_step_and_names_the_operation_all_the_same(tmp_path, spoiled, monkeypatch):
    def full(*arguments):
        raise InputOutputError("diverged.h5: no room")

    spoiled("relu", True)
    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(Diverged, match="infinity: the output of relu.*; the step could not be saved: .* no room$"):
        train(tmp_path / "r")


class Still:
    """A model of one weight."""

    def __init__(self, w):
        self.w = Tensor(np.array(w))

    def named_parameters(self):
        return [("w", self.w)]


def test_inputs_and_weights_are_looked_at_before_operations():
    good, bad = (Batch(np.array([[1.0, x]]), None, None) for x in (2.0, np.inf))
    assert divergence.first_in(Still([1.0]), [good, bad], None) == "batch 1 at (0, 1) of shape (1, 2), and at 0 others"
    assert divergence.first_in(Still([1.0, np.nan]), [good], None) == "w at (1,) of shape (2,), and at 0 others"
    assert divergence.first_in(Still([1.0]), [good], lambda: None) == "the sum over all"

    def diverge():
        raise Diverged("again")

    assert divergence.first_in(Still([1.0]), [good], diverge) == "the sum over all"
