"""A method added from outside, by the two files of methods/README.md: nothing in tinyq is edited for it."""
import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyq import methods, pack, train
from tinyq.__main__ import main
from tinyq.audit.ledger.hash_chain import chain
from tinyq.audit.methods import audit_of, method_table, register
from tinyq.methods import METHODS, Backprop
from tinyq.packed.file import format as packed_file

PAGE = Path(methods.__file__).with_name("README.md")
FILES = ("ste", "ste_audit")
RUN = ("--model digits_cnn --data digits --method ste --levels binary --pretrain-epochs 1 --epochs 2 --lr 0.01 "
       "--threads 1 --workers 0").split()


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The page's method and its audit, from two files in a temporary folder."""
    examples = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    for name, text in zip(FILES, examples, strict=True):
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    method = importlib.import_module("ste").StraightThrough
    register("ste", method, importlib.import_module("ste_audit").AUDIT)
    yield method
    del METHODS["ste"], method_table.AUDITS["StraightThrough"]
    for name in FILES:
        del sys.modules[name]


def test_an_added_method_trains_verifies_replays_and_packs(added, tmp_path, capsys):
    run = tmp_path / "run"
    assert train.main([*RUN, "--output", str(run)]) == 0
    phase = [line.record for line in chain(run / "ledger.jsonl") if line.kind == "phase"][-1]
    assert phase["method"] == "StraightThrough" and "conv2.weight" in phase["constrained"]
    assert main(["audit", "verify", str(run)]) == 0
    assert main(["audit", "replay", str(run), "--random", "5"]) == 0
    assert main(["audit", "check", str(run), "--step", "25"]) == 0
    assert "the rules of Backprop, StraightThrough hold at every step" in capsys.readouterr().out
    assert pack.main([str(run), str(tmp_path / "net.tq.h5")]) == 0
    tensor = packed_file.read(tmp_path / "net.tq.h5").tensors["conv2"]
    assert len(np.unique(np.abs(tensor.effective()))) == 1                      # one scale, two levels


def test_an_added_method_is_resumed_bit_for_bit(added, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train.main([*RUN, "--output", str(whole)]) == 0
    assert train.main([*RUN, "--max-steps", "25", "--output", str(parts)]) == 0
    assert train.main(["--resume", str(parts), "--max-steps", "100000"]) == 0
    hashes = [re.search(r'"weights_sha256": "(\w+)"', (run / "result.json").read_text())[1] for run in (whole, parts)]
    assert hashes[0] == hashes[1]


def test_its_rule_is_held_against_the_records(added):
    rules = audit_of("StraightThrough").rules({"settings": {}, "audit": "digests"}, {"metrics": {"scales": "a"}})
    assert list(rules.epoch({"measured": {}, "metrics": {"scales": "b"}})) == ["scales is b, was a"]


def test_a_name_that_is_taken_is_refused(added):
    with pytest.raises(ValueError, match="method cbp: the name is taken; choose another"):
        methods.register("cbp", Backprop)
    with pytest.raises(ValueError, match="method other: the class name StraightThrough is taken; choose another"):
        register("other", added)
