"""The README is a landing page; the Python, links and file names of every page hold."""
import re
from pathlib import Path

import pytest
from page_examples import steps, write_files

from tinyq.__main__ import main
from tinyq.autodiff import PRIMITIVES
from tinyq.run.settings import plugins

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted(page.relative_to(ROOT) for folder in ("", "tinyq", "models", "data", "bench")
               for page in (ROOT / folder).glob("**/*.md" if folder else "*.md"))


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("page", [page for page in PAGES if list(steps(ROOT / page))], ids=str)
def test_the_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_files(ROOT / page, tmp_path)
    names, primitives = {"__name__": "example"}, dict(PRIMITIVES)
    for step in steps(ROOT / page):
        if isinstance(step, str):
            exec(compile(step, str(page), "exec"), names)
        else:
            assert main(step) == 0, capsys.readouterr().err
    plugins.use(None)
    PRIMITIVES.clear()
    PRIMITIVES.update(primitives)


def test_the_set_up_is_two_commands():
    assert blocks("sh")[0].splitlines() == ["pip install -e . && python -m tinyq.train",
                                            'pip install -e ".[test]" && python -m pytest']


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_files_that_a_page_names_exist(page):
    for name in re.findall(r"(?:bench|tests|tinyq)/[a-z0-9_/]+\.py", (ROOT / page).read_text()):
        assert (ROOT / name).is_file(), name


def test_the_readme_is_a_landing_page():
    lines = README.splitlines()
    assert len(lines) <= 130
    assert "```text" in lines[:40], "the first screen shows the output of the first command"


def test_the_readme_example_constrains_replays_and_packs():
    [code] = blocks("python")
    for call in ('method="cbp"', "verify_run(", "replay_run(", "PackedNetwork.load("):
        assert call in code


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+)\)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_picture_is_what_its_script_draws():
    import runpy

    drawn = runpy.run_path(str(ROOT / "bench" / "overview.py"))["overview"]()
    assert drawn == (ROOT / "bench" / "overview.svg").read_text()
