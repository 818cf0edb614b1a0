"""The reproduction scripts, end to end on the embedded flowers, and the tables made of their results."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = ROOT / "bench" / "papers"
RESULTS = PAPERS / "results"
README = (ROOT / "README.md").read_text()


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


@pytest.fixture
def scripts(monkeypatch):
    """The modules card, experiments and figure of bench/papers."""
    monkeypatch.syspath_prepend(str(PAPERS))
    import card
    import experiments
    import figure

    return card, experiments.EXPERIMENTS, figure


@pytest.mark.parametrize("name", ["iris", "lenet", "logistic"])
def test_cards_and_figures_are_made_of_the_results_and_call_the_test_images_so(scripts, name):
    card, experiments, figure = scripts
    results = json.loads((RESULTS / f"{name}.json").read_text())
    made = {f"{name}.md": card.card(name, experiments[name], results),
            f"{name}.svg": figure.figure(experiments[name], results)}
    if name == "lenet":
        made["lenet-comparison.svg"] = figure.comparison_figure(results)
        assert card.comparison(results) in README, "put the table of results/lenet.json into README.md"
    for file, text in made.items():
        assert (RESULTS / file).read_text() == text, f"make results/{file} again"
        told = text.replace("(the paper calls it validation error)", "")
        assert "test" in told and "validation" not in told.lower(), file


def test_the_error_of_the_readme_is_measured_on_the_test_split():
    sys.path.insert(0, str(PAPERS))
    try:
        from run import SHARES
    finally:
        sys.path.remove(str(PAPERS))
    assert "LeNet on MNIST, test error in %" in README and SHARES["validation_error"] == "test"
