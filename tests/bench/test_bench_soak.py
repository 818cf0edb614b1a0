"""The long campaigns' script: it goes on where it was stopped, and a campaign that dies is a failure."""
import json
import runpy
from pathlib import Path

import pytest

from tinyq.__main__ import main

SOAK = Path(__file__).resolve().parents[2] / "bench" / "soak" / "soak.py"


@pytest.fixture
def soak(tmp_path, monkeypatch):
    found = runpy.run_path(str(SOAK))
    script = tmp_path / "campaign.py"
    script.write_text("import json, sys\nname, cases, seed = sys.argv[1:]\n"
                      "sys.exit(3) if name == 'dies' else None\n"
                      "print('a line')\nprint(json.dumps({'cases': int(cases), 'failures': [], 'seconds': int(seed)}))")
    monkeypatch.setitem(found["soak"].__globals__, "FAULTS", tmp_path)
    found["TASKS"].clear()
    found["TASKS"] |= {"good": ("campaign.py", ["good"], 10, 4), "dies": ("campaign.py", ["dies"], 4, 4)}
    return found["soak"]


def test_it_goes_on_where_it_was_stopped(soak, tmp_path, capsys):
    results = tmp_path / "soak.json"
    assert soak(["good"], results)
    chunks = json.loads(results.read_text())["good"]
    assert [(c["asked"], c["seed"]) for c in chunks] == [(4, 1), (4, 2), (4, 3)]
    assert capsys.readouterr().out.splitlines()[-1].split(maxsplit=1) == ["good", "cases 12, failures 0, seconds 3"]
    results.write_text(json.dumps({"good": chunks[:1]}))
    assert soak(["good"], results) and json.loads(results.read_text())["good"][0] == chunks[0]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_campaign_that_dies_is_a_failure(soak, tmp_path):
    assert not soak(["dies"], tmp_path / "soak.json")
    assert json.loads((tmp_path / "soak.json").read_text())["dies"][0]["failures"][0].startswith("exit 3")


def test_a_training_that_ends_at_once_shows_its_own_error(capfd):
    endurance = runpy.run_path(str(SOAK))["endurance"]
    assert not endurance(1, ["--model", "nonsense"], Path("soak.json"))
    said = capfd.readouterr().err
    assert "tinyq: --model nonsense: unknown" in said and "ended with exit code 2" in said and "Traceback" not in said


def test_a_run_that_is_resumed_is_watched_and_stopped(tmp_path, monkeypatch):
    found = runpy.run_path(str(SOAK))
    monkeypatch.setitem(found["endurance"].__globals__, "SECONDS_PER_SAMPLE", 0.2)
    assert main(f"train --model mlp:8 --data iris --method backprop --recipe none --epochs 1000000 --threads 1 -j 0 "
                f"--audit off --max-steps 1 --output {tmp_path}/r".split()) == 0
    found["endurance"](0.12, ["--resume", f"{tmp_path}/r", "--max-steps", "900000000"], tmp_path / "soak.json")
    figures = json.loads((tmp_path / "endurance.json").read_text())
    assert figures["exit"] == 143 and len(figures["resident MiB"]) == len(figures["open files"]) == 10
    assert figures["resident MiB"][-1] > 20 and figures["command"] == "--resume r --max-steps 900000000"
