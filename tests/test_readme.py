"""What the README and the other pages show runs."""
import re
import shlex
from pathlib import Path

import pytest

from tinyq import convert, doctor, evaluate, infer, pack, summary, train
from tinyq.audit import __main__ as audit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted(page.relative_to(ROOT) for folder in ("", "tinyq", "models", "data", "bench")
               for page in (ROOT / folder).glob("**/*.md" if folder else "*.md"))
COMMANDS = {"train": train.main, "evaluate": evaluate.main, "summary": summary.main, "convert": convert.main,
            "doctor": doctor.main, "audit": audit.main, "pack": pack.main, "infer": infer.main}


def blocks(language, text=README):
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("python", (ROOT / page).read_text())], ids=str)
def test_the_python_examples_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "example"}
    for code in blocks("python", (ROOT / page).read_text()):
        exec(compile(code, str(page), "exec"), names)


def training_commands():
    lines = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines()]
    return [line.split("python -m tinyq.train")[1] for line in lines if "python -m tinyq.train" in line]


@pytest.mark.parametrize("flags", [flags for flags in training_commands() if "--weights" not in flags])
def test_the_training_commands_are_accepted(flags, shared_data, capsys):
    arguments = shlex.split(flags)
    if "DIR" in arguments:
        arguments[arguments.index("DIR")] = str(shared_data("mnist"))
    assert not train.main([*arguments, "--dry-run"])
    assert "steps" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [flags for flags in training_commands() if "--weights" in flags])
def test_the_flags_of_commands_that_need_weights_are_accepted(flags, capsys):
    assert not train.main([*shlex.split(flags), "--print-config"])
    assert 'data = "imagenet"' in capsys.readouterr().out


def test_every_module_of_the_command_table_exists():
    named = set(re.findall(r"`python -m tinyq\.(\w+)", README))
    assert named - {"data"} <= set(COMMANDS)


def test_the_set_up_is_two_commands():
    assert blocks("sh")[0].splitlines() == ["pip install -e . && python -m tinyq.train",
                                            'pip install -e ".[test]" && python -m pytest']


def test_the_benchmarks_it_names_exist():
    for script in re.findall(r"bench/[\w/]+\.py", README):
        assert (Path(__file__).resolve().parent.parent / script).is_file(), script


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
