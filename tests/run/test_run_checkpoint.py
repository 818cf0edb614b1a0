"""Checkpoints that were changed or cut: an older one takes their place, and none is trusted."""
import json

import h5py
import numpy as np
import pytest

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.weights import weights_sha256
from tinyq.run import checkpoint
from tinyq.run.checkpoint import Position

STATES = {"model": {"w": np.arange(5, dtype=np.float32)}}


@pytest.fixture
def newest(tmp_path):
    checkpoint.save(tmp_path, Position(epoch=2, steps=10), STATES)
    return checkpoint.save(tmp_path, Position(epoch=3, steps=15, test_float={"accuracy": 0.5}), STATES)


def assert_passed_over(path, says):
    position, _, complaints = checkpoint.load_newest(path.parent)
    assert position == Position(epoch=2, steps=10) and len(complaints) == 1
    assert path.name in complaints[0] and says in complaints[0]


def test_the_newest_position_comes_back(newest):
    position, states, complaints = checkpoint.load_newest(newest.parent)
    assert position == Position(epoch=3, steps=15, test_float={"accuracy": 0.5}) and complaints == []
    assert np.array_equal(states["model"]["w"], STATES["model"]["w"])


def test_a_changed_position_is_noticed(newest):
    data = newest.read_bytes()
    newest.write_bytes(data.replace(b'"epoch": 3', b'"epoch": 1'))
    assert newest.read_bytes() != data
    assert_passed_over(newest, "damaged")


@pytest.mark.parametrize("text", ["{", '{"stage": 1}', "[1]", "null", ""])
def test_a_position_that_is_none_is_passed_over_even_with_its_digest(newest, text):
    datasets = {"model/w": STATES["model"]["w"]}
    digest = weights_sha256({**datasets, "position": np.frombuffer(text.encode(), np.uint8)})
    hdf5.write(newest, datasets, {"/": {"format": checkpoint.FORMAT, "position": text, "sha256": digest}})
    assert_passed_over(newest, "its position does not fit")


def test_a_checkpoint_without_a_position_is_passed_over(newest):
    with h5py.File(newest, "a") as file:
        del file.attrs["position"]
    assert_passed_over(newest, "its position does not fit")


def test_the_position_is_readable_json(newest):
    with h5py.File(newest) as file:
        assert json.loads(file.attrs["position"])["steps"] == 15


def test_without_any_whole_checkpoint_each_complaint_is_told(newest):
    for path in newest.parent.iterdir():
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"no checkpoint to resume from; .*000000015\.h5.*; .*000000010\.h5"):
        checkpoint.load_newest(newest.parent)


def test_the_newest_and_the_best_are_kept(tmp_path):
    position = Position()
    for epoch, accuracy in enumerate([0.1, 0.9, 0.5, 0.6, 0.7, 0.8]):
        position.steps, position.epoch = 10 * (epoch + 1), epoch + 1
        if accuracy > (position.best_figure or 0):
            position.best_steps, position.best_figure = position.steps, accuracy
        checkpoint.save(tmp_path, position, STATES)
        checkpoint.remove_old(tmp_path, position)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{steps:09d}.h5" for steps in (20, 40, 50, 60)]
    assert checkpoint.load_newest(tmp_path)[0].best_steps == 20
