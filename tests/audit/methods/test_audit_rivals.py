"""STE, BWN, TWN and their like: a run of each is verified, replayed, resumed and packed; wrong rules are named."""
import copy
from types import SimpleNamespace

import numpy as np
import pytest
from audit_runs import RIVALS, chained, read, resume, train

from tinyq import data, nn, optim
from tinyq.__main__ import main
from tinyq.audit.capture.capture import Capture
from tinyq.audit.step.step_check import check
from tinyq.audit.verification.invariants import broken
from tinyq.autodiff import tape
from tinyq.data import Batch, Table
from tinyq.methods import METHODS, bwn, lqnets, twn
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.packed.network import PackedNetwork
from tinyq.run.checkpoint import Position
from tinyq.streams import Streams

FEW = [name if name == "ste" else pytest.param(name, marks=pytest.mark.slow) for name in RIVALS]
every_rival = pytest.mark.parametrize("name", RIVALS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals")
    return {name: (folder / name, train(folder / name, name)) for name in RIVALS}


@every_rival
def test_a_run_is_verified_and_every_step_replayed_to_the_bit(name, runs, capsys):
    folder, outcome = runs[name]
    assert outcome["on_levels"] == 1.0 and outcome["constrained_weights"] == 128
    assert main(["audit", "verify", str(folder)]) == 0
    assert f"the rules of Backprop, {METHODS[name].__name__} hold at every step" in capsys.readouterr().out
    assert main(["audit", "replay", str(folder), "--all", "--final"]) == 0
    assert main(["audit", "check", str(folder), "--step", str(outcome["steps"])]) == 0


@pytest.mark.parametrize("name", FEW)
def test_a_run_that_stopped_within_an_epoch_goes_on_bit_for_bit(name, runs, tmp_path):
    train(tmp_path / "run", name, max_steps=17)
    assert resume(tmp_path / "run", max_steps=1000)["weights_sha256"] == runs[name][1]["weights_sha256"]
    assert main(["audit", "verify", str(tmp_path / "run")]) == 0


@every_rival
def test_a_packed_network_classifies_as_the_trained_one_and_runs_in_integers(name, runs, capsys):
    folder, outcome = runs[name]
    packed = PackedNetwork.load(folder / "model.tq.h5")
    x, y = data.load("iris").arrays("test")
    assert (packed(x).argmax(1) == y).mean() == outcome["test_accuracy"]
    whole = PackedNetwork.load(folder / "model.tq.h5", "int8")
    assert (whole(x).argmax(1) == y).mean() >= outcome["test_accuracy"] - 0.1


@pytest.mark.slow
@every_rival
def test_a_run_is_exported_to_c(name, runs, tmp_path):
    assert main(["pack", str(runs[name][0]), "--c", str(tmp_path / "c")]) == 0


def steps(records, phase):
    return [r for r in records if r["record"] == "step" and r["phase"] == phase]


def epochs(records, phase):
    return [r for r in records if r["record"] == "epoch" and r["phase"] == phase]


ZERO = "0" * 32
OF_LATENTS = {
    "more level changes than weights": (lambda r, m: steps(r, m)[3]["metrics"].update(flips=129), "129 of 128"),
    "other scales after an epoch": (lambda r, m: epochs(r, m)[0]["metrics"].update(scales=ZERO), "the scales are"),
    "a weight on no level": (lambda r, m: epochs(r, m)[0]["metrics"].update(occupied=[[127, 0]]), "are on levels"),
    "a tensor without counts": (lambda r, m: epochs(r, m)[0]["metrics"].update(occupied=[]), "0 of 1 constrained"),
}
OF_ONE = {
    "scales that move": ("ste", lambda r: steps(r, "ste")[3]["metrics"].update(scales=ZERO), "scales is"),
}
BREAKS = {**{f"{method}: {name}": (method, lambda r, change=change, method=method: change(r, method), says)
             for method in ("ste", "bwn", "twn", "lqnets") for name, (change, says) in OF_LATENTS.items()}, **OF_ONE}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_named(name, runs):
    method, change, says = BREAKS[name]
    records = copy.deepcopy([line.record for line in read(runs[method][0] / "ledger.jsonl")])
    change(records)
    found = broken(chained(records))
    assert any(says in text for text in found), found


STREAMS = Streams(7)


def batch(step, n=12):
    stream = STREAMS.key("batch", step)
    y = stream.integers(0, 3, n)
    return Batch((stream.normal((n, 5)) + y[:, None]).astype(np.float32), y, np.arange(n))


def chain_of_layers():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


class UnusedBranch(nn.Module):
    """A network with a layer that computes, and whose output reaches no loss."""

    def __init__(self):
        self.first, self.unused, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.first(x)
        self.unused(x)
        return self.last(x)


def faults_of(name, steps=2, network=chain_of_layers):
    """What the check of the second step finds."""
    model = network()
    nn.constrain(model).initialise(STREAMS)
    optimizer, method = optim.SGD(model.parameters(), lr=0.05, momentum=0.9), METHODS[name]()
    method.begin(model.train(), optimizer, Table(*batch(0)[:2]), STREAMS)
    phase = SimpleNamespace(name="phase", method=method, optimizer=optimizer, first_epoch=0)
    for step in range(1, steps + 1):
        capture, position = Capture(model, optimizer), Position(steps=step - 1)
        with tape.traced(capture.note), tape.traced_vjps(capture.note_vjp):
            method.step([batch(step)])
    return check(capture.finished(phase, position, [batch(steps)]), STREAMS).faults


@every_rival
def test_a_right_step_has_no_fault(name):
    assert faults_of(name) == []
    assert faults_of(name, network=UnusedBranch) == []


def of_the_whole_tensor(w):
    return np.full(len(w), np.abs(w).mean(), w.dtype)


def quantizer_with(**changes):
    """Let every quantizer be made with another argument."""
    def plant(patch):
        right = LevelQuantizer.__init__

        def wrong(self, level_set, scale, thresholds=None, slope=None):
            given = {"scale": scale, "thresholds": thresholds, "slope": slope}
            right(self, level_set, **{**given, **{key: change(given[key]) for key, change in changes.items()}})
        patch.setattr(LevelQuantizer, "__init__", wrong)
    return plant


BUGS = {
    "lqnets: one scale for all filters": ("lqnets", lambda p: p.setattr(lqnets.lqnets_method, "mean_magnitudes",
                                                                        of_the_whole_tensor), "by its definition"),
    "ste: thresholds nearer to 0": ("ste", quantizer_with(thresholds=lambda t: np.array([-0.01, 0.01], np.float32)),
                                    "not at the level of their definition"),
    "ste: another slope": ("ste", quantizer_with(slope=lambda s: np.full((8, 8), 0.5, np.float32)), "the gradient of"),
    "bwn: one scale for all filters": ("bwn", lambda p: p.setattr(bwn.bwn_method, "mean_magnitudes",
                                                                  of_the_whole_tensor), "by its definition"),
    "bwn: the gradient of ste": ("bwn", quantizer_with(slope=lambda s: None), "the gradient of"),
    "twn: another share": ("twn", lambda p: p.setattr(twn.twn_method, "SHARE", 0.9), "by its definition"),
    "twn: the mean of all": ("twn", lambda p: p.setattr(twn.twn_method, "mean_beyond", lambda size, t: size.mean()),
                             "by its definition"),
}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_caught_and_named(name, monkeypatch):
    method, plant, says = BUGS[name]
    plant(monkeypatch)
    found = faults_of(method)
    assert any(says in fault for fault in found), found
