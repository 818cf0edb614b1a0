"""Rules from record to record: each one notices the record that breaks it, however well the chain is made anew."""
import copy

import pytest
from audit_runs import METHODS, chained, read, resume, train

from tinyq.audit.verification.invariants import broken


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    found = {}
    for method in METHODS:
        folder = tmp_path_factory.mktemp(method)
        train(folder, method)
        found[method] = [line.record for line in read(folder / "ledger.jsonl")]
    return found


def steps(records, phase):
    return [r for r in records if r["record"] == "step" and r["phase"] == phase]


def epochs(records, phase):
    return [r for r in records if r["record"] == "epoch" and r["phase"] == phase]


def the_phase(records, phase):
    return next(r for r in records if r["record"] == "phase" and r["phase"] == phase)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_breaks_none(method, records):
    assert broken(chained(records[method])) == []


def test_a_run_resumed_within_an_epoch_breaks_none(tmp_path):
    train(tmp_path / "run", max_steps=17)
    resume(tmp_path / "run", max_steps=1000)
    assert broken(read(tmp_path / "run" / "ledger.jsonl")) == []


def unfired(records):
    measured = epochs(records, "cbp")[1]["measured"]
    measured["fired"] = not measured["fired"]


def moved_pick(records):
    next(r for r in steps(records, "conntra") if r["metrics"]["moves"])["metrics"]["moves"][0][1] += 1


def beyond(records):
    next(r for r in steps(records, "conntra") if r["metrics"]["moves"])["metrics"]["moves"][0][2] = 3


def raised(records):
    next(r for r in steps(records, "conntra") if r["metrics"]["moves"])["metrics"]["moves"][0][3] = -1


def risen(records):
    next(r for r in steps(records, "conntra") if r["metrics"]["moves"])["metrics"]["error"] += 1


ZERO = "0" * 32
BREAKS = {
    "a step left out": ("cbp", lambda r: r.remove(steps(r, "cbp")[3]), "follows step"),
    "a step twice": ("cbp", lambda r: r.insert(5, copy.deepcopy(r[4])), "follows step"),
    "no number": ("backprop", lambda r: steps(r, "backprop")[3]["metrics"].update(objective="nan"), "objective is nan"),
    "another loss": ("backprop", lambda r: steps(r, "backprop")[3]["metrics"].update(loss="0x1p-3"), "loss is"),
    "too many right": ("backprop", lambda r: steps(r, "backprop")[3]["metrics"].update(correct=99), "of 16 right"),
    "one right less": ("backprop", lambda r: steps(r, "backprop")[3]["metrics"].update(correct=0), "training accuracy"),
    "lambda between updates": ("cbp", lambda r: steps(r, "cbp")[3]["metrics"].update({"lambda": ZERO}), "lambda is"),
    "g within an epoch": ("cbp", lambda r: steps(r, "cbp")[3]["metrics"].update(g=9), "g is 9"),
    "a negative term": ("cbp", lambda r: steps(r, "cbp")[3]["metrics"].update(objective="-0x1p0"), "term is negative"),
    "more flips than weights": ("cbp", lambda r: steps(r, "cbp")[3]["metrics"].update(flips=129), "129 of 128"),
    "fired against its rule": ("cbp", unfired, "against its rule"),
    "g jumps": ("cbp", lambda r: epochs(r, "cbp")[0]["metrics"].update(g=7), "g went from 1 to 7"),
    "lambda falls": ("cbp", lambda r: epochs(r, "cbp")[1]["metrics"].update(lambda_sum="0x0p0"), "multipliers fell"),
    "another scale": ("cbp", lambda r: epochs(r, "cbp")[1]["metrics"].update(scales=ZERO), "scales is"),
    "another Lagrangian": ("cbp", lambda r: epochs(r, "cbp")[1]["measured"].update(lagrangian="0x1p9"), "Lagrangian"),
    "a negative failure": ("cbp", lambda r: epochs(r, "cbp")[0]["measured"].update(cfs="-0x1p0"), "failure is neg"),
    "a step before any phase": ("cbp", lambda r: r.remove(the_phase(r, "float")), "comes before any phase"),
    "a frozen weight moves": ("rpr", lambda r: steps(r, "rpr")[9]["metrics"].update(frozen=ZERO), "frozen is"),
    "another partition within": ("rpr", lambda r: steps(r, "rpr")[9]["metrics"].update(mask=ZERO), "mask is"),
    "another partition": ("rpr", lambda r: epochs(r, "rpr")[0]["metrics"].update(mask=ZERO), "not the one of its seed"),
    "the first partition": ("rpr", lambda r: the_phase(r, "rpr")["metrics"].update(mask=ZERO), "one of its seed"),
    "one frozen more": ("rpr", lambda r: epochs(r, "rpr")[0]["metrics"].update(frozen_counts=[1]), "entries of"),
    "the fraction falls": ("rpr", lambda r: epochs(r, "rpr")[2]["metrics"].update(fraction="1/2"), "fraction fell"),
    "an end before 1": ("rpr", lambda r: epochs(r, "rpr")[0]["metrics"].pop("fraction"), "ended at a frozen fraction"),
    "another pick": ("conntra", moved_pick, "not visited"),
    "other picks": ("conntra", lambda r: steps(r, "conntra")[1]["metrics"].update(picks=ZERO), "those of the seed"),
    "a level of no set": ("conntra", beyond, "a level that no layer has"),
    "the error rises": ("conntra", raised, "error"),
    "the error rises after the last move": ("conntra", risen, "rose after the last move"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_named(name, records):
    method, change, says = BREAKS[name]
    changed = copy.deepcopy(records[method])
    change(changed)
    found = broken(chained(changed))
    assert any(says in text for text in found), found
