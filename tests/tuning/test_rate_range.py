"""The learning-rate range test suggests a rate that trains, and keeps nothing."""
import re

import pytest

from tinyq.__main__ import main
from tinyq.errors import Diverged
from tinyq.output.work import Work
from tinyq.run.settings.resolve import resolve
from tinyq.tuning.rate_range import LAST, STEPS, Curve, Growth, RangeTest, as_lines, find_rate

IRIS = "--model mlp:8,16 --data iris --recipe none --batch-size 16 --threads 1 --workers 0"


def found_with(line, capsys):
    capsys.readouterr()
    code = main(["train", *f"{IRIS} {line} --lr-find".split()])
    return code, *capsys.readouterr()


def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss_and_nothing_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, out, err = found_with("--method backprop --output r", capsys)
    lowest = float(re.search(r"lowest at ([\d.]+); it grows out of bounds at", out)[1])
    suggestion = float(re.search(r"suggestion: --lr ([\d.]+) \(", out)[1])
    assert (code, err) == (0, "") and suggestion == pytest.approx(lowest / 10, rel=0.1) and 1e-3 < suggestion < 1
    assert list(tmp_path.iterdir()) == [] and max(map(len, out.splitlines())) <= 80
    assert found_with("--method backprop", capsys)[1] == out


def test_the_rate_is_that_of_the_first_phase(capsys):
    _, out, _ = found_with("--method cbp --pretrain-epochs 1 --cbp.lambda-lr 0.05", capsys)
    assert "test of the float phase" in out and "suggestion: --pretrain-lr" in out
    _, out, _ = found_with("--method cbp --pretrain-epochs 0", capsys)
    assert "test of the cbp phase" in out and "suggestion: --lr" in out


def test_at_the_suggested_rate_the_loss_has_begun_to_fall(capsys):
    found = find_rate(resolve({"model": "mlp:8,16", "data": "iris", "method": "backprop", "recipe": "none",
                               "batch_size": 16, "threads": 1, "workers": 0}).config)
    near = min(found.points, key=lambda point: abs(point[0] - found.suggestion))
    assert near[2] < found.points[0][2] and found.diverged


def test_every_rate_is_tried_once_and_grows_by_the_same_factor(capsys):
    points = find_rate(resolve({"model": "mlp:8,16", "data": "iris", "method": "rpr", "recipe": "none", "opt": "adam",
                                "pretrain_epochs": 0, "epochs": 40, "threads": 1, "workers": 0}).config).points
    rates = [rate for rate, _, _ in points]
    assert all(later / rate == pytest.approx(1e8 ** (1 / (STEPS - 1))) for rate, later in
               zip(rates, rates[1:], strict=False)) and rates[-1] <= LAST * 1.001


@pytest.mark.parametrize("points", [[], [(1e-7, 2.0, 2.0)], [(1e-7, 2.0, 2.0), (1e-3, 1.99, 1.99), (1.0, 9.0, 9.0)]])
def test_where_no_rate_lowers_the_loss_none_is_suggested(points):
    found = RangeTest("backprop", "--lr", points, diverged=True)
    assert found.suggestion is None and "no rate lowers the loss" in as_lines(found)[-1]


def test_a_loss_below_0_may_fall_and_grow_too():
    growth = Growth()
    curve = Curve(growth, Work("test", STEPS))
    for loss in (-1.0, -2.0, -2.5):
        curve.end_step(None, None, loss)
    assert RangeTest("backprop", "--lr", curve.points, diverged=False).lowest == curve.points[-1]
    with pytest.raises(Diverged):
        curve.end_step(None, None, 30.0)
    assert RangeTest("backprop", "--lr", [(1e-7, -1, -1.0), (1e-6, -1, -1.01)], diverged=False).lowest is None


def test_a_method_without_gradients_has_no_rate(capsys):
    code, _, err = found_with("--method conntra --constrain all --pretrain-epochs 0", capsys)
    assert code == 2 and "--lr-find: conntra follows no gradient, so it has no learning rate" in err


def test_it_does_not_go_with_a_resume(capsys):
    assert main("train --resume r --lr-find".split()) == 2
    assert "--resume cannot be combined with" in capsys.readouterr().err
