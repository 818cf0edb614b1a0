"""The file: a chain of lines that stands or falls as a whole."""
import hashlib
import json
import subprocess

import pytest
from audit_runs import read

from tinyq.audit import head_of
from tinyq.audit.ledger.hash_chain import FORMAT, NOTHING_BEFORE, Ledger, encode
from tinyq.errors import AuditMismatch

BEGIN = {"record": "begin", "format": FORMAT}
STEPS = [{"record": "step", "step": t, "w": f"{t:032x}"} for t in range(1, 6)]


def written(path, records, head=None):
    ledger = Ledger(path, head)
    for record in records:
        ledger.add(record)
    ledger.close()
    return ledger


@pytest.fixture
def path(tmp_path):
    written(tmp_path / "ledger.jsonl", [BEGIN, *STEPS])
    return tmp_path / "ledger.jsonl"


def test_each_line_holds_the_sha256_of_the_one_before(path):
    lines = path.read_bytes().splitlines(keepends=True)
    prevs = [json.loads(line)["prev"] for line in lines]
    assert prevs == [NOTHING_BEFORE, *(hashlib.sha256(line).hexdigest() for line in lines[:-1])]
    assert head_of(path.parent) == hashlib.sha256(lines[-1]).hexdigest() == read(path)[-1].head


def test_it_can_be_checked_by_hand(path):
    found = subprocess.run(f"sed -n 3p {path} | sha256sum", shell=True, capture_output=True, text=True).stdout
    assert found.split()[0] == json.loads(path.read_text().splitlines()[3])["prev"]


@pytest.mark.parametrize("change", [
    lambda lines: [*lines[:2], *lines[3:]], lambda lines: [lines[1], lines[0], *lines[2:]], lambda lines: lines[1:],
    lambda lines: [*lines[:2], lines[1], *lines[2:]],
    lambda lines: [lines[0].replace(b"begin", b"began"), *lines[1:]]])
def test_a_changed_order_or_line_is_found(path, change):
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(AuditMismatch, match="line [123]"):
        read(path)


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"{}\n", b'{"prev": 1, "record": "step"}\n', b"\xff\n"])
def test_what_is_no_record_is_named_by_its_line(path, line):
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(AuditMismatch, match="line 7 is not a record"):
        read(path)


def test_a_last_line_cut_short_by_a_kill_is_left_out(path):
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert len(read(path)) == 5
    written(path, STEPS[4:], head=read(path)[4].head)
    assert path.read_bytes() == whole


def test_steps_done_again_must_be_what_they_were(path):
    head = read(path)[2].head                                           # a checkpoint after step 2
    ledger = written(path, STEPS[2:4], head)
    assert [record["step"] for record in ledger.expected] == [5]
    assert [line.record.get("step") for line in read(path)] == [None, 1, 2, 3, 4]


def test_a_step_that_comes_out_otherwise_is_named(path):
    ledger = Ledger(path, read(path)[2].head)
    with pytest.raises(AuditMismatch, match="step 3, repeated, differs from its record in w"):
        ledger.add({**STEPS[2], "w": "0" * 32})
    ledger.close()


def test_a_ledger_that_the_checkpoint_does_not_know_is_refused(path):
    with pytest.raises(AuditMismatch, match="contains no line with SHA-256 abc"):
        Ledger(path, "abc")


def test_a_ledger_of_an_older_format_is_not_continued(tmp_path):
    path = tmp_path / "ledger.jsonl"
    data = encode({"record": "begin", "format": "tinyq ledger/2"}, NOTHING_BEFORE)
    path.write_bytes(data)
    with pytest.raises(AuditMismatch, match="in the format tinyq ledger/2, but this version of tinyq reads"):
        Ledger(path, hashlib.sha256(data).hexdigest())
    assert path.read_bytes() == data


def test_what_was_noted_after_the_last_step_is_kept(path):
    written(path, [{"record": "end"}, *STEPS[:0]], read(path)[5].head)
    ledger = written(path, [{"record": "step", "step": 6}], read(path)[5].head)
    assert ledger.expected == [] and [line.kind for line in read(path)][-3:] == ["step", "end", "step"]
