"""Two runs side by side: the first record at which they part is found, and what differs there is named."""
import json
import shutil

import pytest
from audit_runs import of_step, read, rewrite, train

from tinyq.__main__ import main
from tinyq.audit.compare.record_differences import differences_of, shown_value
from tinyq.audit.compare.side_by_side import compare


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(folder)
    return folder


def changed(run, tmp_path, change):
    """A copy of the run whose records were changed, the chain made anew."""
    copy = shutil.copytree(run, tmp_path / "changed")
    rewrite(copy, change)
    return copy


def compared(run, other, capsys, *flags):
    assert main(["audit", "compare", str(run), str(other), *flags]) == 0
    return capsys.readouterr().out


def test_equal_runs_are_called_equal_with_counts(run, capsys):
    out = compared(run, run, capsys)
    assert "35 step records" in out and out.endswith("the runs are equal: every digest and every metric agrees\n")
    assert json.loads(compared(run, run, capsys, "--json"))["equal"] is True


def flipped(letters, at):
    return letters[:at] + ("A" if letters[at] != "A" else "B") + letters[at + 1:]


# field of step 20 -> (its other value, what is said first). The network has three layers.
STEP = {
    "lr": (["0x1p-3"], "lr [0.05, 0.05] in A, [0.125] in B"),
    "batch": (6, "batch 5 in A, 6 in B"),
    "ids": ("0" * 64, "samples: "),
    "x": ("0" * 64, "input: "),
    "ops": ("0" * 32, "output of operation number 2 of 5"),
    "vjps": ("0" * 32, "vjp number 1 of "),
    "g": ("0" * 32, "gradient of fc1.bias"),
    "w": ("0" * 64, "weights: fc2.weight"),
    "metrics": ({"loss": "0x1p+0"}, "metric loss"),
}
LETTERS = {"ops": 4, "vjps": 3, "g": 2, "w": 5}            # of ops_of and the like, the one that is changed


@pytest.mark.parametrize("field", STEP)
def test_the_step_and_what_differs_in_it_are_named(field, run, tmp_path, capsys):
    value, says = STEP[field]

    def change(records):
        record = of_step(records, 20)
        record[field] = {**record[field], **value} if field == "metrics" else value
        if field in LETTERS:
            record[f"{field}_of"] = flipped(record[f"{field}_of"], LETTERS[field])

    lines = compared(run, changed(run, tmp_path, change), capsys).splitlines()
    assert "the runs part at step 20 (phase " in lines[-2] and lines[-1].startswith(f"  first: {says}")


def test_the_cause_comes_before_its_effects(run, tmp_path):
    def change(records):
        of_step(records, 20).update(x="0" * 64, g="0" * 32, w="0" * 64)

    found = compare(run, changed(run, tmp_path, change))
    assert found.step == 20 and [text.partition(":")[0] for text in found.differences] == [
        "input", "gradient of some tensor", "weights"]


def test_a_replay_names_the_operation(run, tmp_path, capsys):
    def change(records):
        record = of_step(records, 3)
        record.update(ops="0" * 32, ops_of=flipped(record["ops_of"], 2))

    out = compared(run, changed(run, tmp_path, change), capsys, "--replay")
    assert out.splitlines()[-1] == ("  operation: linear of fc2.weight, output (16, 16) (or relu just before) "
                                    "(number 1 of 4)")


def test_a_replay_of_runs_that_differ_in_no_operation_names_none(run, tmp_path, capsys):
    other = changed(run, tmp_path, lambda records: of_step(records, 3).update(w="0" * 64))
    assert json.loads(compared(run, other, capsys, "--replay", "--json"))["operation"] == ""
    assert json.loads(compared(run, run, capsys, "--replay", "--json"))["operation"] == ""


def test_settings_and_data_that_differ_are_said_first(run, tmp_path, capsys):
    def change(records):
        records[0]["settings"] = {**records[0]["settings"], "seed": 7}
        records[0]["data"] = {**records[0]["data"], "sha256": "0" * 64}
        records[1]["w_of"] = flipped(records[1]["w_of"], 0)
        records[1]["w"] = "0" * 64

    lines = compared(run, changed(run, tmp_path, change), capsys).splitlines()
    assert lines[0] == "settings: seed 0 in A, 7 in B" and lines[1].startswith("data: sha256 96afdf4ae5f8... in A")
    assert lines[-2:] == ["the runs part at the record of phase float, after step 0", "  first: weights: fc1.weight"]


def test_other_networks_and_methods_are_named(run, tmp_path, capsys):
    def change(records):
        records[1].update(method="Other", tensors={**records[1]["tensors"], "fc1.weight": [9, 4], "a": [1], "b": [1],
                                                   "c": [1]})

    lines = compared(run, changed(run, tmp_path, change), capsys).splitlines()
    assert lines[-2:] == ["  first: method Backprop in A, Other in B",
                          "  then: network: tensors fc1.weight [8, 4] in A, [9, 4] in B; a is in B only; b is in B "
                          "only and 1 more"]


def test_epochs_are_compared(run, tmp_path, capsys):
    def change(records):
        epoch = next(r for r in records if r["record"] == "epoch")
        epoch["measured"] = {**epoch["measured"], "loss": "0x1p+1"}

    out = compared(run, changed(run, tmp_path, change), capsys)
    assert "the runs part at the end of epoch 1 (phase float)" in out and ", 2 in B" in out


@pytest.mark.parametrize("swapped", [False, True])
def test_an_unfinished_run_is_the_beginning_of_the_other(swapped, run, tmp_path, capsys):
    def change(records):
        del records[records.index(of_step(records, 12)):]

    pair = run, changed(run, tmp_path, change)
    short, long = "AB" if swapped else "BA"
    lines = compared(*reversed(pair) if swapped else pair, capsys).splitlines()
    assert lines[-2:] == [f"the runs part at the end of {short}, after step 11",
                          f"  first: length: {short} (unfinished) has no more records; {long} goes on with step 12 "
                          "(phase float, epoch 2, batch 4)"]


def test_a_run_that_is_not_finished_yet_is_equal_so_far(run, tmp_path, capsys):
    def change(records):
        del records[next(i for i, r in enumerate(records) if r["record"] == "end"):]

    lines = compared(run, changed(run, tmp_path, change), capsys).splitlines()
    assert lines[-3:-1] == ["note: B is not finished yet", "note: B is not measured yet"]
    assert "the runs are equal" in lines[-1]


@pytest.mark.parametrize("kind, change, says", [
    ("end", {"weights_sha256": "0" * 64}, "weights_sha256 ff306f94039e... in A, 000000000000... in B"),
    ("result", {"figures": {"test_accuracy": 1.0}}, "model is in A only")])
def test_results_are_compared(kind, change, says, run, tmp_path, capsys):
    other = changed(run, tmp_path, lambda records: next(r for r in records if r["record"] == kind).update(change))
    lines = compared(run, other, capsys).splitlines()
    assert f"the runs part at the record of {kind}" in lines and f"  first: {says}" in lines


def test_both_results_that_differ_are_told_by_the_first(run, tmp_path):
    def change(records):
        next(r for r in records if r["record"] == "end")["weights_sha256"] = "0" * 64
        next(r for r in records if r["record"] == "result")["figures"] = {}

    assert compare(run, changed(run, tmp_path, change)).where == "the record of end"


def test_ledgers_of_different_digests_are_refused(run, tmp_path, capsys):
    other = changed(run, tmp_path, lambda records: records[0].update(audit="sha256"))
    assert main(["audit", "compare", str(run), str(other)]) == 65
    assert "cannot be compared: one has digests of kind digests, the other of kind sha256" in capsys.readouterr().err


def test_a_broken_chain_is_a_mismatch_in_one_line(run, tmp_path, capsys):
    other = shutil.copytree(run, tmp_path / "broken")
    data = (other / "ledger.jsonl").read_bytes()
    (other / "ledger.jsonl").write_bytes(data.replace(b'"step":9,', b'"step":8,', 1))
    assert main(["audit", "compare", str(run), str(other)]) == 76
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "does not follow line" in err


def test_a_folder_without_a_ledger_is_bad_input(run, tmp_path, capsys):
    assert main(["audit", "compare", str(run), str(tmp_path)]) == 65
    assert "no ledger.jsonl here" in capsys.readouterr().err


def test_records_of_other_kinds_part_the_runs(run, tmp_path):
    def change(records):
        records.remove(of_step(records, 7))
        del records[records.index(of_step(records, 8)) - 1]

    found = compare(run, changed(run, tmp_path, change))
    assert found.where.startswith("step 6") or found.where.startswith("step 7")
    assert differences_of({"record": "step"}, {"record": "epoch"}, [], []) == [
        "a record of kind step in A, of kind epoch in B"]


@pytest.mark.parametrize("letters, says", [
    (4, "number 1 of 2"), (128, "number 1 of 64, or 3 of 128"), (129, "number 3 of 129"), (300, "number 3 of 300")])
def test_an_operation_is_numbered_as_far_as_its_letters_tell(letters, says):
    a, b = ({"record": "step", "ops": name, "ops_of": "AAA" + name + "A" * (letters - 4)} for name in "BC")
    assert differences_of(a, b, [], []) == [f"output of operation {says}"]


@pytest.mark.parametrize("letters, says", [("AA", "the digest of all differs"), ("AAAA", "another number of them")])
def test_operations_that_letters_do_not_tell_apart_are_said_so(letters, says):
    a = {"record": "step", "ops": "x", "ops_of": "AA"}
    [found] = differences_of(a, {**a, "ops": "y", "ops_of": letters}, [], [])
    assert found.startswith("output of operations: ") and says in found


@pytest.mark.parametrize("value, text", [
    ("0x1.8p+0", "1.5"), ("0xyz", "0xyz"), ("0x1p+9999", "0x1p+9999"), ("a" * 64, "a" * 12 + "..."), (None, "null"),
    (["0x1p-1", 2], "[0.5, 2]"), (list(range(99)), "99 entries"), ({"a": "b" * 90}, '{"a": "bbbbb...')])
def test_a_value_of_a_ledger_is_short_text(value, text):
    assert shown_value(value) == text


def test_a_long_pair_is_read_as_a_stream(run, tmp_path, monkeypatch):
    """No record is kept: the generators are at the line after the one at which the runs part."""
    other = changed(run, tmp_path, lambda records: of_step(records, 5).update(x="0" * 64))
    from tinyq.audit.compare import side_by_side

    taken = []
    records_of = side_by_side.records_of
    monkeypatch.setattr(side_by_side, "records_of", lambda run: map(lambda line: taken.append(line) or line,
                                                                    records_of(run)))
    compare(run, other)
    assert len(taken) == 2 + 2 * next(line.number for line in read(run / "ledger.jsonl")
                                  if line.kind == "step" and line.record["step"] == 5)
