"""A replay of steps: equal bit for bit, or the first difference is named."""
import shutil

import h5py
import numpy as np
import pytest
from audit_runs import METHODS, of_step, read, rewrite, train

from tinyq import kernels
from tinyq.__main__ import main
from tinyq.audit.ledger.digests import digest_of
from tinyq.audit.ledger.environment import differences, environment
from tinyq.audit.replay.replay import random_steps, replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.autodiff import elementwise, linalg, tape
from tinyq.errors import AuditMismatch, BadInput, UsageError
from tinyq.methods import CBP
from tinyq.run import checkpoint


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return {method: (folder / method, train(folder / method, method)) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_random_steps_are_what_they_were(method, runs):
    folder, result = runs[method]
    source = Source(folder, {"threads": 1})
    steps = random_steps(source, 10)
    done = replay(source, steps)
    assert done.wanted == len(steps) == 10 and done.compared >= 10
    assert replay(source, range(1, result["steps"] + 1)).compared == result["steps"]


def test_a_late_step_starts_from_the_nearest_checkpoint(runs):
    folder, result = runs["cbp"]
    assert replay(Source(folder, {}), [result["steps"]]).compared == 7             # one epoch of 35 steps
    assert replay(Source(folder, {}), [2, 35]).compared == 2 + 7


def changed(folder, tmp_path, step, **fields):
    """A copy of the run whose ledger, the chain made anew, says something else of one step."""
    copy = shutil.copytree(folder, tmp_path / "changed")

    def change(records):
        record = of_step(records, step)
        record |= {k: (v(record[k]) if callable(v) else v) for k, v in fields.items()}

    rewrite(copy, change)
    return copy


ZERO = "0" * 32
LIES = {"ids": "other samples", "x": "the input differs", "batch": "batch", "lr": "lr"}


@pytest.mark.parametrize("field", LIES)
def test_a_record_that_lies_is_found_though_the_chain_is_whole(field, runs, tmp_path):
    value = {"batch": 5, "lr": ["0x1p-3"]}.get(field, ZERO)
    with pytest.raises(AuditMismatch, match=f"step 12: .*{LIES[field]}"):
        replay(Source(changed(runs["cbp"][0], tmp_path, 12, **{field: value}), {}), [14])


def trained_with(fault, folder, monkeypatch, method="cbp", **changes):
    """A run during which something went wrong once; the fault is gone when it is replayed."""
    with monkeypatch.context() as patch:
        fault(patch)
        train(folder, method, **changes)
    return Source(folder, {})


def once_flipped(function, call, argument, bit=30):
    """The function, one bit of one element of one argument flipped in its n-th call."""
    calls = iter(range(1, 1_000_000))

    def flipping(*arguments, **options):
        if tape.state.recording and next(calls) == call:                  # in training, not in evaluation
            arguments = list(arguments)
            array = np.array(arguments[argument])
            array.reshape(-1).view(np.uint32)[array.size // 2] ^= np.uint32(1 << bit)
            arguments[argument] = array
        return function(*arguments, **options)
    return flipping


def flip_linear(patch, call, argument):
    patch.setattr(linalg.linear, "forward", once_flipped(linalg.linear.forward, call, argument))


# Where a bit flips -> what is named. The network has three linear layers, the middle one constrained.
FLIPS = {
    "input of a product": (lambda p: flip_linear(p, 3 * 16 + 2, 0),
                           r"step 17: linear of fc2.weight, output \(16, 16\)"),
    "weight of a product": (lambda p: flip_linear(p, 3 * 16 + 1, 1),
                            r"step 17: linear of fc1.weight, output \(16, 8\)"),
    "sign of a ReLU's input": (lambda p: p.setattr(
        elementwise.relu, "forward", once_flipped(elementwise.relu.forward, 2 * 16 + 1, 0, bit=31)),
                               r"step 17: linear of fc2.weight, output \(16, 16\) \(or relu just before\)"),
    "gradient of the optimiser": (lambda p: p.setattr(kernels, "sgd", once_flipped(kernels.sgd, 6 * 16 + 3, 1)),
                                  r"step 17: the update of fc2.weight differs, while its gradient agrees"),
    "momentum": (lambda p: p.setattr(kernels, "sgd", once_flipped(kernels.sgd, 6 * 16 + 3, 2)),
                 r"step 17: the update of fc2.weight|step 18: the update of fc2.weight"),
}


@pytest.mark.parametrize("where", FLIPS)
def test_one_flipped_bit_is_located(where, tmp_path, monkeypatch):
    fault, says = FLIPS[where]
    source = trained_with(fault, tmp_path / "run", monkeypatch, audit="digests")
    with pytest.raises(AuditMismatch, match=says):
        replay(source, [20])


def test_where_arrays_were_kept_the_element_is_named_too(tmp_path, monkeypatch):
    # 16 steps, and two of each phase from which the size of a step was foretold
    fault = lambda p: flip_linear(p, 3 * 20 + 1, 1)   # noqa: E731
    says = r"linear of fc1.weight.* element \(0, 4\) of primitives/001 linear of fc1.weight/output was .*, replayed"
    source = trained_with(fault, tmp_path / "run", monkeypatch, audit="full", max_steps=20)
    with pytest.raises(AuditMismatch, match=says):
        replay(source, [20])


def test_what_was_kept_is_only_named_where_it_differs(tmp_path):
    train(tmp_path / "run", "backprop", "full", max_steps=10)
    rewrite(tmp_path / "run", lambda records: of_step(records, 9).update(w=ZERO))
    with pytest.raises(AuditMismatch, match="step 9: the update of some tensor differs, while its gradient agrees$"):
        replay(Source(tmp_path / "run", {}), [9])
    steps = tmp_path / "run" / "steps"
    shutil.copy(steps / "step-000000007.h5", steps / "step-000000009.h5")          # an epoch's last batch is smaller
    with pytest.raises(AuditMismatch, match="agrees; input/0/x has another shape than the array on disk$"):
        replay(Source(tmp_path / "run", {}), [9])


def flipped_vjp(patch):
    """One bit of the gradient that reaches the middle layer's output in step 17."""
    calls = iter(range(1, 1_000_000))
    rule = linalg.linear.forward

    def flipping(*arrays, **params):
        y, vjps, *more = rule(*arrays, **params)
        if tape.state.recording and next(calls) == 3 * 16 + 2:
            first = once_flipped(vjps[0], 1, 0)
            vjps = (first, *vjps[1:])
        return y, vjps, *more
    patch.setattr(linalg.linear, "forward", flipping)


def test_a_bit_flipped_on_the_way_back_is_located(tmp_path, monkeypatch):
    source = trained_with(flipped_vjp, tmp_path / "run", monkeypatch)
    with pytest.raises(AuditMismatch, match=r"step 17: the vjp of linear of fc2.weight, gradient at input 0 \(16, 8"):
        replay(source, [20])


def test_a_change_of_a_method_is_located(tmp_path, monkeypatch):
    clip = CBP._constrain_and_clip
    calls = iter(range(1, 1000))

    def careless(self):
        penalty = clip(self)
        if next(calls) == 5:
            self.parameters[2].grad *= np.float32(0.5)
        return penalty

    source = trained_with(lambda p: p.setattr(CBP, "_constrain_and_clip", careless), tmp_path / "run", monkeypatch)
    with pytest.raises(AuditMismatch, match="step 19: the gradient of fc2.weight differs, while every vjp before"):
        replay(source, [20])


def one_epoch_less(records):
    records.remove(next(r for r in records if r["record"] == "epoch"))


def another_array(records):
    step = of_step(records, 12)
    step["ops"], step["ops_of"] = ZERO, step["ops_of"] + "AA"


def another_weight(records):
    next(r for r in records if r["record"] == "epoch").update(w=ZERO)


def other_weights(records):
    epoch = next(r for r in records if r["record"] == "epoch")
    epoch.update(w=ZERO, w_of="__" * (len(epoch["w_of"]) // 2))


def another_scale(records):
    next(r for r in records if r["record"] == "epoch" and r["phase"] == "cbp")["metrics"].update(scales=ZERO)


REWRITTEN = {
    "an epoch less": (one_epoch_less, "step 7: the recorded checkpoint holds another state .epochs_done, batches_done"),
    "an array more": (another_array, "step 12: .* differs from the ledger; everything before it agrees"),
    "the weights of an epoch": (another_weight, "step 7: some tensor differs at this epoch"),
    "all weights of an epoch": (other_weights, r"step 7: fc1.weight, .* and \d+ more differs at this epoch"),
    "the metrics of an epoch": (another_scale, r"step 21: epoch: scales \(0+ on record, .* replayed\)"),
    "the update": (lambda r: of_step(r, 12).update(w=ZERO), "step 12: the update of some tensor differs"),
    "the order of the chain": (lambda r: of_step(r, 12).update(ops=ZERO), "digest of all ops differs, but that of"),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_a_chain_made_anew_with_something_else_is_found(name, runs, tmp_path):
    change, says = REWRITTEN[name]
    copy = shutil.copytree(runs["cbp"][0], tmp_path / "run")
    rewrite(copy, change)
    with pytest.raises(AuditMismatch, match=says):
        replay(Source(copy, {}), [22], from_the_first=True)


def test_a_checkpoint_of_another_run_is_no_place_to_start_from(runs, tmp_path):
    copy = shutil.copytree(runs["cbp"][0], tmp_path / "run")
    train(tmp_path / "other", seed=1)
    shutil.copy(tmp_path / "other/checkpoints/step-000000028.h5", copy / "checkpoints")
    assert replay(Source(copy, {}), [30]).compared == 30 - 21                # from the checkpoint before
    with pytest.raises(AuditMismatch, match="step-000000028.h5 is not on record"):
        verify(copy)


def test_a_checkpoint_with_an_honest_head_and_another_state_is_refused(runs, tmp_path):
    copy = shutil.copytree(runs["cbp"][0], tmp_path / "run")
    position, states = checkpoint.load(copy / "checkpoints/step-000000028.h5")
    states["method"]["previous"] = np.float64(0)
    checkpoint.save(copy / "checkpoints", position, states)
    with pytest.raises(AuditMismatch, match="is not the checkpoint on record"):
        replay(Source(copy, {}), [30])


def test_other_data_are_refused(runs, tmp_path):
    copy = changed(runs["cbp"][0], tmp_path, 1)
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace("split = 0", "split = 1"))
    with pytest.raises(BadInput, match="are not those on record"):
        replay(Source(copy, {}), [1])


@pytest.mark.parametrize("steps", [[0], [36], [5, 99], []])
def test_a_step_that_is_not_on_record_is_refused(steps, runs):
    with pytest.raises(UsageError, match="on record|no step is named"):
        replay(Source(runs["cbp"][0], {}), steps)


@pytest.mark.parametrize("line", ["--step 3", "--random 4", "--from 3 --to 9 --threads 1", "--from 33"])
def test_the_command(line, runs, capsys):
    assert main(["audit", "replay", str(runs["cbp"][0]), *line.split()]) == 0
    assert "replayed: everything that was asked for agrees with the ledger" in capsys.readouterr().out


@pytest.mark.parametrize("line, code", [("", 2), ("--random 0", 2), ("--step 99", 2), ("--from 3 --dump a.h5", 2)])
def test_a_wrong_command_line_is_one_line(line, code, runs, capsys):
    assert main(["audit", "replay", str(runs["cbp"][0]), *line.split()]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_other_results_of_the_kernels_are_noted():
    assert differences(environment()) == []
    (note,) = differences({**environment(), "fingerprint": "0"})
    assert "the kernels give other results on this machine" in note


def test_a_run_of_other_sources_is_replayed_with_a_note(runs, tmp_path, capsys):
    copy = changed(runs["cbp"][0], tmp_path, 1)
    rewrite(copy, lambda records: records[0]["environment"].update(source_sha256="f" * 64))
    assert main(["audit", "replay", str(copy), "--step", "3"]) == 0
    assert "note: tinyq's sources differ from those" in capsys.readouterr().err


def test_the_visits_of_a_sweep_can_be_had_one_by_one(runs, tmp_path, capsys):
    folder, _ = runs["conntra"]
    record = next(line.record for line in read(folder / "ledger.jsonl") if line.record.get("phase") == "conntra"
                  and line.kind == "step" and line.record["metrics"]["moves"])
    path = tmp_path / "sweep.h5"
    assert main(["audit", "replay", str(folder), "--step", str(record["step"]), "--dump", str(path)]) == 0
    with h5py.File(path) as file:
        visits = {name: array[()] for name, array in file["visits"].items()}
    found = [visits[name] for name in ("picks", "tried", "codes", "errors")]
    assert digest_of("digests", found).root == record["metrics"]["visited"]
    assert visits["tried"].shape == (len(visits["picks"]), 3)
    assert (visits["tried"][np.arange(len(visits["picks"])), visits["codes"]] == visits["errors"]).all()
    moves = [[k, visits["picks"][k], visits["codes"][k], visits["errors"][k]] for k in np.flatnonzero(visits["moved"])]
    assert moves == record["metrics"]["moves"]


def test_a_candidate_judged_otherwise_is_found_though_nothing_else_changed(tmp_path, monkeypatch):
    visit, calls = kernels.visit, iter(range(1, 1000))

    def careless(picks, held):
        found = visit(picks, held)
        if next(calls) == 4:
            found[3][0, (found[0][0] + 1) % 3] += 1             # of a level that was not chosen
        return found

    source = trained_with(lambda p: p.setattr(kernels, "visit", careless), tmp_path / "run", monkeypatch, "conntra")
    lines = read(source.folder / "ledger.jsonl")
    first = next(line.record["step"] for line in lines if line.record.get("phase") == "conntra" and line.kind == "step")
    with pytest.raises(AuditMismatch, match=rf"step {first + 3}: step: visited \("):
        replay(source, [first + 5])
