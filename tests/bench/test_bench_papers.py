"""The reproduction scripts, end to end on the embedded flowers, and the tables made of their results."""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "bench" / "papers"


def papers(*flags):
    return subprocess.run([sys.executable, PAPERS / "run.py", *map(str, flags)], capture_output=True, text=True)


def test_a_run_is_made_measured_and_not_repeated(tmp_path):
    flags = ["iris", "--only", "split03", "--runs", tmp_path / "runs", "--results", tmp_path, "--threads", 1]
    first = papers(*flags)
    assert first.returncode == 0, first.stderr
    run = json.loads((tmp_path / "iris.json").read_text())["split03"]
    assert run["on_levels"] == 1 and 0 <= run["discrete"]["validation_error"] <= 100
    assert [phase for phase, _, _ in run["curve"]] == ["float"] * 100 + ["conntra"] * 60
    assert "1 of 20 runs are finished" in (tmp_path / "iris.md").read_text()
    assert (tmp_path / "iris.svg").read_text().startswith("<svg")
    again = papers(*flags)
    assert again.returncode == 0 and "epoch" not in again.stdout


def test_a_dataset_that_must_be_given_is_asked_for():
    run = papers("logistic")
    assert run.returncode == 2 and "give --data-path, the folder of mnist" in run.stderr


def test_the_readme_holds_the_table_of_the_results():
    sys.path.insert(0, str(PAPERS))
    try:
        from card import comparison
    finally:
        sys.path.remove(str(PAPERS))
    results = json.loads((PAPERS / "results" / "lenet.json").read_text())
    assert comparison(results) in (ROOT / "README.md").read_text(), "put the table of results/lenet.md into README.md"
