"""Attacks by the owner of a run that once passed verify and a replay of every step: each ends in a refusal."""
import copy
import dataclasses
import json
import re
import shutil

import h5py
import numpy as np
import pytest
from audit_runs import chained, of_step, read, resume, rewrite, train, write_ledger
from forgeries import reseal

from tinyq.__main__ import main
from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.ledger.history import MAX_NOTED
from tinyq.audit.ledger.records import GRADIENT_FIELDS
from tinyq.audit.replay import replay_all as replay_all_module
from tinyq.audit.replay.comparison import nearly_equal
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay import Stretch, random_steps, replay, replay_stretch
from tinyq.audit.replay.replay_all import replay_all
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.invariants import MAX_FAULTS, broken
from tinyq.audit.verification.metrics import MetricsComparison
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, BadInput
from tinyq.files import weights as weight_files
from tinyq.files.journal import LEDGER_FILE
from tinyq.files.read import sha256_of
from tinyq.files.weights import weights_sha256
from tinyq.run import checkpoint


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest") / "run"
    train(folder, "cbp")
    return folder


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "run")


def records_of(run):
    return [line.record for line in read(run / LEDGER_FILE)]


def test_another_model_behind_an_honest_run(run):
    """The head of the honest run was published; another end and another model follow it."""
    head, records = read(run / LEDGER_FILE)[-1].head, records_of(run)
    held, draw = weight_files.read(run / "model.h5"), np.random.default_rng(3)
    forged = {name: (held.scales[name].reshape(-1, *[1] * (array.ndim - 1))
                     * draw.choice(held.levels[name], array.shape)).astype(np.float32) if name in held.scales
              else draw.standard_normal(array.shape).astype(np.float32) for name, array in held.state.items()}
    attributes = {**held.attributes, "weights_sha256": weights_sha256(forged)}
    weight_files.write(run / "model.h5", weight_files.Weights(forged, held.scales, held.levels, attributes))
    (run / "model.tq.h5").unlink()
    step, figures = records[-1]["step"], {**records[-1]["figures"], "weights_sha256": weights_sha256(forged),
                                          "test_accuracy": 0.9999}
    environment = records[0]["environment"]
    records += [{"record": "resume", "step": step, "repeated": 0, "head": head, "environment": environment,
                     "print_freq": 0},
                {"record": "end", "step": step, "weights_sha256": weights_sha256(forged)},
                {"record": "file", "step": step, "file": "model.h5", "sha256": sha256_of(run / "model.h5")},
                {"record": "result", "step": step, "figures": figures}]
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, **figures}, indent=2) + "\n")
    reseal(run, records)
    with pytest.raises(AuditMismatch, match="the recorded end differs from what the method makes"):
        verify(run, head)


@pytest.mark.parametrize("place", [{"epoch": 3, "batch": 0}, {"phase": 1, "epoch": 3, "batch": 0}])
def test_steps_invented_behind_a_checkpoint_that_says_the_phase_is_over(run, place):
    """A replay from such a checkpoint has nothing to do; nothing done is no agreement."""
    records = records_of(run)
    path = run / "checkpoints/step-000000028.h5"
    position, states = checkpoint.load(path)
    for name, value in place.items():
        setattr(position, name, value)
    checkpoint.write(path, position, states)
    mine = next(r for r in records if r["record"] == "checkpoint" and r["step"] == 28)
    mine |= {"phases_done": position.phase, "epochs_done": position.epoch, "batches_done": position.batch,
             "state_sha256": checkpoint.state_sha256(position, states)}
    for step in range(29, 36):
        of_step(records, step).update(w="0" * 64, ids="0" * 64)
    reseal(run, records)
    with pytest.raises(AuditMismatch, match="checkpoint, step 28: has . phases and 3 epochs"):
        verify(run)
    source = Source(run, {})
    for steps in ([30], [29, 35], random_steps(source, 20)):
        with pytest.raises(AuditMismatch, match="before everything on record was compared|differs"):
            replay(source, steps)
    with pytest.raises(AuditMismatch):
        replay_all(source)


def test_momentum_edited_in_a_checkpoint_before_a_resume(tmp_path, capsys):
    run = tmp_path / "run"
    train(run, "backprop", max_steps=16)
    path = checkpoint.path_of(run / "checkpoints", 16)
    position, states = checkpoint.load(path)
    for name in [name for name in states["optimizer"] if name.endswith("momentum") and name.startswith("params")]:
        states["optimizer"][name] = states["optimizer"][name] - 30
    checkpoint.write(path, position, states)
    assert main(["train", "--resume", str(run), "--max-steps", "1000"]) == 76
    assert "is not the checkpoint on record (state_sha256)" in capsys.readouterr().err
    # An owner who writes a ledger that knows the edited checkpoint passes the resume, and no replay that crosses it.
    records = records_of(run)
    next(r for r in reversed(records) if r["record"] == "checkpoint")["state_sha256"] = checkpoint.state_sha256(
        position, states)
    reseal(run, records)
    resume(run, max_steps=1000)
    assert "resumed 1 time, at step 16: replay --all compares the checkpoint there" in verify(run)
    with pytest.raises(AuditMismatch, match="step 16: the recorded checkpoint holds another state .state_sha256"):
        replay_all(Source(run, {}))


def settings_of_another_run(records):
    records[0]["settings"].update(model="resnet101", seed=12345)


def check_with_faults(records):
    records[0]["settings"]["audit_every"] = 1
    at = records.index(of_step(records, 1))
    records.insert(at, {"record": "check", "step": 1, "counts": {}, "faults": ["the vjp is wrong"], "surrogates": {},
                        "largest_error": 0.0})


def steps_cut_off(records):
    at = records.index(of_step(records, 8))
    del records[3:at]                       # after the first step


LIES = {
    "a file twice": (lambda r: r.insert(*next((i, copy.deepcopy(x)) for i, x in enumerate(r) if x["record"] == "file")),
                     "repeats the record before it"),
    "settings of another run": (settings_of_another_run, "settings on record differ in model, seed"),
    "a check with faults": (check_with_faults, "found faults; the first, at step 1: the vjp is wrong"),
    "a method that nobody knows": (lambda r: next(x for x in r if x["record"] == "phase").update(method="Adam"),
                                   "the method Adam is unknown here, so its rules cannot be applied"),
    "steps cut off": (steps_cut_off, "step 8: follows step 1"),
    "an epoch left out": (lambda r: r.remove(next(x for x in r if x["record"] == "epoch")),
                          "within epoch|after 1 epochs"),
    "a batch taken twice": (lambda r: of_step(r, 5).update(batch=3), "takes batch 3, but batch 4 is next"),
    "a file that no run writes": (lambda r: r.append({"record": "file", "step": 35, "file": "../x", "sha256": "0"}),
                                  "no run records such a file"),
    "an unknown field": (lambda r: of_step(r, 3).update(note="all is well"), "step has the unknown field note"),
    "batches left out": (lambda r: [of_step(r, step).update(batch=of_step(r, step)["batch"] + 1) for step in (5, 6, 7)],
                         "step 5 leaves out the batches from 4 on"),
    "a checkpoint at another batch": (lambda r: next(x for x in r if x["record"] == "checkpoint").update(
        batches_done=3), "has 3 batches done, after batch -1"),
    "a resume from nowhere": (lambda r: r.insert(r.index(of_step(r, 4)), {
        "record": "resume", "step": 3, "repeated": -1, "head": "", "environment": {}, "print_freq": 0}),
        "resumes where no checkpoint is on record"),
    "a check that nobody asked for": (lambda r: r.insert(r.index(of_step(r, 4)), {
        "record": "check", "step": 4, "counts": {}, "faults": [], "surrogates": {}, "largest_error": 0.0}),
        "is a check of step 4; the next step is 4, audit_every is 0"),
    "an exception of another step": (lambda r: r.insert(r.index(of_step(r, 4)), {
        "record": "exception", "step": 9, "message": ""}), "exception, step 9: follows step 3"),
    "an end before the beginning": (lambda r: r.insert(1, {"record": "end", "step": 0, "weights_sha256": ""}),
                                    "ends a run without a phase"),
    "two results": (lambda r: r.insert(len(r) - 1, copy.deepcopy(r[-1])), "does not follow an end of its own"),
    "an end before the end": (lambda r: r.insert(r.index(of_step(r, 22)), {
        "record": "end", "step": 21, "weights_sha256": "0" * 64}), "follows the end of the run without a resume"),
    "a figure better than measured": (lambda r: r[-1]["figures"].update(test_accuracy=1.0),
                                      "result.json differs from the ledger in test_accuracy"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_record_that_says_what_is_not_so_is_held_against_something(name, run):
    change, says = LIES[name]
    records = records_of(run)
    change(records)
    reseal(run, records)
    with pytest.raises(AuditMismatch, match=says):
        verify(run)


def test_an_exception_on_record_is_said(run):
    records = records_of(run)
    at = records.index(of_step(records, 9))
    records.insert(at, {"record": "exception", "step": 9, "message": "the loss is nan"})
    reseal(run, records)
    assert "exception: step 9: the loss is nan" in verify(run)


def test_metrics_that_were_emptied_are_missed(run):
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(AuditMismatch, match="metrics.jsonl: lacks the epoch record"):
        verify(run)


def test_files_that_no_record_knows_are_named(run):
    (run / "notes.txt").write_text("accuracy 99 %")
    assert "others: not on record and not verified: notes.txt" in verify(run)


def test_arrays_kept_of_a_step_are_compared_though_every_digest_agrees(tmp_path):
    """`--audit full`: a digest is no substitute for an array that is there."""
    run = tmp_path / "run"
    train(run, "backprop", "full", epochs=1)
    from tinyq.audit.step.dump import step_file
    from tinyq.files import hdf5
    path = step_file(run, 3)
    with hdf5.Reader(path) as file:
        arrays, attributes = file.read(file.specs(), finite=False), file.attributes()
    name = next(name for name in arrays if name.startswith("gradients/"))
    arrays[name] = arrays[name] * np.float32(2)
    hdf5.write(path, arrays, {"/": attributes})
    with pytest.raises(AuditMismatch, match="step 3: every digest agrees, but the stored arrays do not"):
        replay(Source(run, {}), [3])


def test_a_replay_says_how_many_steps_were_asked_for_and_compared(run, capsys):
    assert main(["audit", "replay", str(run), "--all", "--final"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("steps: 35 of 35 were asked for and compared, every digest equal\non the way: 35 steps, ")
    assert said.endswith("replayed: everything that was asked for agrees with the ledger\n")
    assert "float network: float.h5 was made again" in said and "test accuracy 86.67%: measured again, equal" in said


def test_parts_replayed_side_by_side_compare_as_much_as_one_after_the_other(run, capsys):
    said = []
    for jobs in ("1", "2"):
        assert main(["audit", "replay", str(run), "--all", "--jobs", jobs]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert replay_all_module._replay_part(run, {}, False, 2).compared == 7
    records = records_of(run)
    of_step(records, 3).update(w="0" * 64)
    reseal(run, records)
    assert main(["audit", "replay", str(run), "--all", "--jobs", "2"]) == 76


def test_a_replayed_end_measures_the_accuracy_again(run):
    """A figure that result.json and the ledger agree on is measured all the same."""
    from tinyq.audit.replay.final import replay_final

    records, result = copy.deepcopy(records_of(run)), json.loads((run / "result.json").read_text())
    for figures in (records[-1]["figures"], result):
        figures["test_accuracy"] = 1.0
    (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    reseal(run, records)
    verify(run)
    with pytest.raises(AuditMismatch, match="test_accuracy is 0.86.*, on record 1.0"):
        replay_final(Source(run, {}))


def another_class_order(run):
    with h5py.File(run / "float.h5", "a") as file:
        file.attrs["class_names"] = np.array([b"virginica", b"setosa", b"versicolor"])


def another_float_weight(run):
    with h5py.File(run / "float.h5", "a") as file:
        file["fc1/weight"][...] = file["fc1/weight"][()] * 2


def figure_twice(run):
    text = (run / "result.json").read_text()
    (run / "result.json").write_text(text.replace('"test_accuracy":', '"test_accuracy": 1.0,\n  "test_accuracy":'))


FILES = {another_class_order: "float.h5 says another class_names", another_float_weight: "float.h5: damaged",
         figure_twice: "result.json is not written as tinyq writes it"}


@pytest.mark.parametrize("change", FILES, ids=lambda change: change.__name__)
def test_a_file_that_says_what_is_not_so(change, run):
    records = records_of(run)
    reseal(run, records)
    change(run)
    if change is not figure_twice:
        next(r for r in records if r.get("file") == "float.h5")["sha256"] = sha256_of(run / "float.h5")
        reseal(run, records)
    with pytest.raises(AuditMismatch, match=FILES[change]):
        verify(run)


@pytest.mark.parametrize("spelling", [(b'"record":"begin"', b'"record":"begin","record":"begin"'), (b"\n", b"\r\n"),
                                      (b'"seed":0', b'"seed":NaN')])
def test_a_line_has_one_spelling(spelling, run):
    first, *rest = (run / LEDGER_FILE).read_bytes().splitlines(keepends=True)
    (run / LEDGER_FILE).write_bytes(b"".join([first.replace(*spelling), *rest]))
    with pytest.raises(AuditMismatch, match="line 1 is not written as tinyq writes its record"):
        verify(run)


def other_float_accuracy(records):
    next(r for r in records if r["record"] == "float")["figures"]["accuracy"] = "0x1p+0"


def without_gradients(records):
    record = of_step(records, 9)
    for name in GRADIENT_FIELDS:
        record.pop(name)


def huge_step(records):
    of_step(records, 35)["step"] = 10 ** 18


@pytest.mark.parametrize("change", [other_float_accuracy, without_gradients, huge_step], ids=lambda c: c.__name__)
def test_a_replay_of_a_strange_record_is_a_mismatch_and_no_internal_error(change, run, capsys):
    rewrite(run, change)
    assert main(["audit", "replay", str(run), "--all"]) == 76
    assert capsys.readouterr().err.count("\n") == 1


def test_plots_that_are_no_text_are_a_mismatch(run, capsys):
    (run / "plots" / "curves.svg").write_bytes(b"\xff\xfe")
    (run / "plots" / "folder").mkdir()
    assert main(["audit", "replay", str(run), "--final"]) == 76
    assert "differ from those that the run draws" in capsys.readouterr().err


@pytest.mark.parametrize("line, says", [
    ("verify RUN --head 0123", "must be 64 hexadecimal digits"),
    ("replay RUN --all --step 3", "--all and --step: name the steps in one way")])
def test_a_command_line_that_cannot_be_meant(line, says, run, capsys):
    assert main(["audit", *line.replace("RUN", str(run)).split()]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("line, says", [
    ("--all --jobs 0", "--jobs 0: must be at least 1"), ("--final", "is not finished; --final needs a finished one")])
def test_what_an_unfinished_run_or_no_job_cannot_do(line, says, tmp_path, capsys):
    run = tmp_path / "run"
    train(run, "backprop", epochs=1)
    write_ledger(run, [record for record in records_of(run) if record["record"] not in ("end", "result")])
    assert main(["audit", "replay", str(run), *line.split()]) == 2
    assert says in capsys.readouterr().err


def test_steps_and_the_end_in_one_command(run, capsys):
    assert main(["audit", "replay", str(run), "--final", "--from", "33"]) == 0
    assert "measured again, equal" in capsys.readouterr().out


def test_a_kept_check_that_says_otherwise_is_a_mismatch(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", audit_every=7, epochs=1)
    rewrite(run, lambda r: next(x for x in r if x["record"] == "check").update(largest_error=0.9))
    with pytest.raises(AuditMismatch, match="step 7: its recorded check differs|largest_error"):
        replay_all(Source(run, {}))


def test_another_kind_of_record_is_named(run):
    def change(records):
        records.insert(records.index(of_step(records, 5)), {
            "record": "epoch", "phase": "float", "epoch": 1, "step": 4, "measured": {}, "w": "", "w_of": "",
            "metrics": {}})

    rewrite(run, change)
    with pytest.raises(AuditMismatch, match="the ledger has a record of kind epoch here, the replay one of kind step"):
        replay(Source(run, {}), [6])


def test_a_killed_run_whose_checkpoint_file_is_not_on_record_goes_on(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", max_steps=9)
    records = records_of(run)
    at = max(i for i, r in enumerate(records) if r["record"] == "checkpoint")
    write_ledger(run, records[:at + 1])
    resume(run, max_steps=1000)
    verify(run)


def test_a_checkpoint_of_no_line_is_refused(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", max_steps=9)
    path = checkpoint.path_of(run / "checkpoints", 9)
    position, states = checkpoint.load(path)
    position.ledger_head = "0" * 64
    checkpoint.write(path, position, states)
    with pytest.raises(AuditMismatch, match="contains no line with SHA-256 0000"):
        resume(run, max_steps=1000)


def test_metrics_that_are_no_json_are_a_difference(run):
    (run / "metrics.jsonl").write_text("{\n" + (run / "metrics.jsonl").read_text())
    with pytest.raises(AuditMismatch, match="metrics.jsonl: lacks the epoch record"):
        verify(run)


def test_printed_steps_are_compared_too(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", print_freq=3, epochs=1)
    verify(run)
    text = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(re.sub(r'"objective": [^,]*', '"objective": 0.5', text, count=1))
    with pytest.raises(AuditMismatch, match="metrics.jsonl: differs from line .* in objective"):
        verify(run)


def test_metrics_that_are_gone_end_within_a_line_or_lack_a_printed_step_are_differences(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", print_freq=3, epochs=1)
    text = (run / "metrics.jsonl").read_text()
    for changed, fault in ((text[:-9], "lacks the epoch record"), (text + "{", "ends within a line"),
                           (text.partition("\n")[2], "lacks the step record of line 5"), (None, "is missing")):
        (run / "metrics.jsonl").unlink() if changed is None else (run / "metrics.jsonl").write_text(changed)
        with pytest.raises(AuditMismatch, match=f"metrics.jsonl: {fault}"):
            verify(run)


def test_a_killed_run_may_lack_the_record_of_its_last_step_only(run):
    (run / "metrics.jsonl").unlink()
    comparison = MetricsComparison(run)
    comparison.finish(False)
    assert comparison.faults == ["metrics.jsonl: is missing"]
    (run / "metrics.jsonl").write_text("")
    for steps, faults in ((1, 0), (2, 1)):
        comparison = MetricsComparison(run)
        comparison.add(Line({"record": "begin", "print_freq": 1}, "", 1, 0))
        for step in range(steps):
            comparison.add(Line({"record": "step", "step": step + 1}, "", step + 2, 0))
        comparison.finish(False)
        assert len(comparison.faults) == faults


def test_the_best_epoch_of_a_checkpoint_is_the_best_on_record(run):
    path = sorted((run / "checkpoints").glob("*.h5"))[-1]
    position, states = checkpoint.load(path)
    position.best_steps, position.best_figure = 21, next(
        line.record["measured"]["validation_accuracy"] for line in read(run / "ledger.jsonl")
        if line.kind == "epoch" and line.record["step"] == 21)
    position.best_figure = float.fromhex(position.best_figure)
    checkpoint.write(path, position, states)
    with pytest.raises(AuditMismatch, match=f"{path.name} names another best epoch than the ledger"):
        verify(run)


def test_a_float_network_of_other_weights_is_found_by_a_replay_of_the_end(run):
    held = weight_files.read(run / "float.h5")
    held.state["fc1.bias"][0] += 1
    held.attributes.pop("weights_sha256")
    weight_files.write(run / "float.h5", held)
    with pytest.raises(AuditMismatch, match="float.h5 has other weights than those recorded"):
        replay_final(Source(run, {}))


def test_a_best_network_of_a_run_without_a_best_epoch_is_a_difference(tmp_path):
    train(tmp_path / "run", "backprop", epochs=1, **{"iris.validation": 0})
    shutil.copy(tmp_path / "run" / "model.h5", tmp_path / "run" / "best.h5")
    with pytest.raises(AuditMismatch, match="best.h5 is there, but the run has no best epoch"):
        replay_final(Source(tmp_path / "run", {}))


@pytest.mark.parametrize("field, near, far", [
    ("largest_error", 0.5 + 1e-9, 0.51), ("surrogates", {"relu": 1 - 1e-9, "none": None}, {"relu": 0.9, "none": None}),
    ("surrogates", {"relu": 1.0, "none": None}, {"relu": 1.0, "none": 0.0}), ("counts", {"vjps": 3}, {"vjps": 4})])
def test_a_check_made_again_may_differ_in_the_last_digits_of_its_float64_sums_only(field, near, far):
    recorded = {"largest_error": 0.5, "surrogates": {"relu": 1.0, "none": None}, "counts": {"vjps": 3}}
    assert nearly_equal(recorded, {**recorded, field: near}, field) == (field != "counts")
    assert not nearly_equal(recorded, {**recorded, field: far}, field)
    assert not nearly_equal({"surrogates": {"relu": "x"}}, {"surrogates": {"relu": 1.0}}, "surrogates")


def test_a_step_without_the_figures_of_its_metrics_record_cannot_be_compared(run):
    (run / "metrics.jsonl").write_text('{"record": "step", "step": 1}\n')
    comparison = MetricsComparison(run)
    comparison.add(Line({"record": "step", "step": 1, "phase": "float", "epoch": 0, "metrics": {}, "lr": []}, "", 4, 0))
    assert "line 4 of the ledger cannot be compared with metrics.jsonl" in comparison.faults[0]


def test_a_resume_that_metrics_refuse_leaves_the_ledger_alone(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", max_steps=9)
    before = (run / "ledger.jsonl").read_bytes()
    (run / "metrics.jsonl").write_text("")
    with pytest.raises(BadInput, match="metrics.jsonl: has 0 records, but the checkpoint counts 1"):
        resume(run, max_steps=12)
    assert (run / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("where", ["figures", "result.json", "both"])
@pytest.mark.parametrize("value", [None, 1])
def test_a_figure_that_the_other_does_not_have_is_a_difference(where, value, run):
    records = [line.record for line in read(run / "ledger.jsonl")]
    if where != "result.json":
        records[-1]["figures"]["seconds"] = value
    reseal(run, records)
    result = json.loads((run / "result.json").read_text())
    if where != "figures":
        result["note"] = value
    (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    with pytest.raises(AuditMismatch, match="result.json differs from the ledger in (note|seconds)"):
        verify(run)


def test_settings_that_nothing_can_follow_are_one_fault(run):
    records = records_of(run)
    records[0]["settings"]["accumulate"] = "x"
    reseal(run, records)
    with pytest.raises(AuditMismatch, match="line 1, begin, step 0: cannot be checked"):
        verify(run)
    records[0]["settings"].update(accumulate=1, epochs=None)
    reseal(run, records)
    with pytest.raises(AuditMismatch, match="no number of epochs"):
        replay(Source(run, {}), [1])


def test_a_run_without_its_packed_file_says_so(run):
    (run / "model.tq.h5").unlink()
    assert "packed: there is no model.tq.h5" in replay_final(Source(run, {}))


def test_kept_arrays_that_are_gone_are_counted(tmp_path):
    run = tmp_path / "run"
    train(run, "backprop", "full", max_steps=4)
    assert "arrays: 4 of 4 steps have theirs in steps; replay compares them" in verify(run)
    shutil.rmtree(run / "steps")
    assert "arrays: 0 of 4 steps have theirs in steps; replay compares them" in verify(run)


FINAL = {
    "weights_sha256": (lambda r, held: [x.update(weights_sha256="0" * 64) for x in r if x["record"] == "end"],
                       "the recorded end differs from what the method makes"),
    "attributes": (lambda r, held: held.attributes.update(note="good"), "model.h5: note differ from the run"),
    "probe": (lambda r, held: held.probe_logits.fill(0), "model.h5: probe logits differ"),
}


@pytest.mark.parametrize("name", FINAL)
def test_the_end_made_again_differs(name, run):
    change, says = FINAL[name]
    records, held = records_of(run), weight_files.read(run / "model.h5")
    change(records, held)
    weight_files.write(run / "model.h5", held)
    reseal(run, records)
    from tinyq.audit.replay.final import replay_final
    with pytest.raises(AuditMismatch, match=says):
        replay_final(Source(run, {}))


def test_more_faults_and_exceptions_than_anyone_reads_are_counted(run):
    def exceptions(records):
        at = records.index(of_step(records, 9))
        records[at:at] = [{"record": "exception", "step": 9, "message": f"number {i}"} for i in range(MAX_NOTED + 1)]

    records = records_of(run)
    exceptions(records)
    reseal(run, records)
    assert sum(line.startswith("exception: step 9: number ") for line in verify(run)) == MAX_NOTED
    for record in records:
        if record["record"] == "step":
            record.update(step=-1, phase="x", epoch=99, batch=99)
    assert len(broken(chained(records))) == MAX_FAULTS


def test_a_phase_does_not_begin_within_an_epoch(run):
    records = records_of(run)
    records.remove([record for record in records if record["record"] == "epoch"][1])
    assert any("the phase begins within an epoch" in fault for fault in broken(chained(records)))


def test_the_end_is_made_again_without_the_last_checkpoint(run):
    from tinyq.audit.replay.final import replay_final

    (run / "checkpoints/step-000000035.h5").unlink()
    assert replay_final(Source(run, {}))[0].startswith("end: ")


def test_an_array_that_one_of_two_networks_lacks_differs(run):
    from tinyq.audit.replay.final import replay_final

    held = weight_files.read(run / "model.h5")
    weight_files.write(run / "model.h5", dataclasses.replace(held, probe_inputs=None, probe_logits=None))
    reseal(run, records_of(run))
    with pytest.raises(AuditMismatch, match="model.h5: probe inputs, logits differ"):
        replay_final(Source(run, {}))


def test_a_stretch_that_the_ledger_does_not_reach_is_no_agreement(run):
    with pytest.raises(AuditMismatch, match="only 35 of the 36 steps after step 0 were compared"):
        replay_stretch(Source(run, {}), Stretch(None, (36,), 36, True))
