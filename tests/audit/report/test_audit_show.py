"""Print the records of a ledger, filtered."""
import json

import pytest
from audit_runs import read, train

from tinyq.__main__ import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show") / "run"
    train(folder, "backprop", max_steps=9)
    return folder


def test_the_records_before_a_break_are_shown_and_the_break_is_named(run, capsys):
    lines = read(run / "ledger.jsonl")
    data = (run / "ledger.jsonl").read_bytes()
    try:
        (run / "ledger.jsonl").write_bytes(data.replace(b'"step":5,', b'"step":4,', 1))
        assert main(["audit", "show", str(run), "--record", "step"]) == 76
        out, err = capsys.readouterr()
        assert out.count("\n") == 7 and lines[4].head[:12] in out and "does not follow line" in err
        assert main(["audit", "show", str(run), "--record", "step", "--json"]) == 76
        assert [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()] == [1, 2, 3, 4, 4]
    finally:
        (run / "ledger.jsonl").write_bytes(data)


@pytest.mark.parametrize("flags, asked", [
    ("--phase foo", "phase foo"), ("--from 10 --to 12", "steps from 10, steps up to 12"),
    ("--record epoch --epoch 7", "kind epoch, epoch 7")])
def test_a_filter_that_nothing_passes_is_an_error(run, flags, asked, capsys):
    assert main(["audit", "show", str(run), *flags.split()]) == 2
    assert f"no record is of {asked}; show without these flags" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report {run} -o {file}", "replay {run} --step 2 --dump {file}"])
def test_a_file_that_cannot_be_written_is_found_before_the_work(run, command, tmp_path, capsys):
    for file in (tmp_path, tmp_path / "missing" / "x"):
        assert main(["audit", *command.format(run=run, file=file).split()]) == 73
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and str(file) in err


def test_a_folder_that_does_not_exist_is_called_so(tmp_path, capsys):
    assert main(["audit", "verify", str(tmp_path / "r")]) == 65
    assert "r: no such folder; give the folder of a run" in capsys.readouterr().err
