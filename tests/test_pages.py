"""The pages show commands that exist, with flags that exist; training commands are accepted."""
import importlib
import re
import shlex
from pathlib import Path

import pytest
from page_examples import blocks, write_files

from tinyq import train
from tinyq.__main__ import COMMANDS
from tinyq.run.settings import plugins

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md",
         *sorted(path for folder in ("tinyq", "models", "data") for path in (ROOT / folder).rglob("README.md"))]


def commands():
    """(page, command, its arguments) of each line of a shell block that runs tinyq."""
    for page in PAGES:
        for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
            if found := re.search(r"python -m tinyq\.(\w+)(.*)", line.partition("#")[0]):
                yield pytest.param(page, found[1], shlex.split(found[2]), id=f"{page.parent.name}: {line.strip()[:60]}")


@pytest.fixture
def shown(request, tmp_path, monkeypatch):
    """Work in a folder with the files that the page shows, with the plug-ins that the command names."""
    page, arguments = request.getfixturevalue("page"), request.getfixturevalue("arguments")
    write_files(page, tmp_path)
    monkeypatch.chdir(tmp_path)
    yield ["--plugin", arguments[arguments.index("--plugin") + 1]] if "--plugin" in arguments else []
    plugins.use(None)


@pytest.mark.parametrize("page, command, arguments", list(commands()))
def test_every_flag_of_a_shown_command_exists(page, command, arguments, shown, capsys):
    module = importlib.import_module(COMMANDS[command][0])
    subcommand = [arguments[0]] if command in ("audit", "data") else []
    with pytest.raises(SystemExit):
        module.main([*subcommand, *shown, "--help"])
    text = capsys.readouterr().out
    for argument in arguments:
        if argument.startswith("-"):
            assert argument.partition("=")[0] in text


OTHER_ACTIONS = ("--dry-run", "--lr-find", "--seeds")


@pytest.mark.parametrize("page, command, arguments", [p for p in commands() if p.values[1] == "train"])
def test_the_shown_training_commands_are_accepted(page, command, arguments, shown, capsys):
    if "--resume" in arguments:
        pytest.skip("needs a run to resume")
    kept = [argument for before, argument in zip(["", *arguments], arguments, strict=False)
            if argument not in OTHER_ACTIONS and before != "--seeds"]
    assert train.main([*kept, *([] if "--print-config" in kept else ["--print-config"])]) == 0
    assert "method = " in capsys.readouterr().out


def test_the_page_of_the_command_line_names_every_command_and_every_exit_code():
    text = (ROOT / "tinyq" / "run" / "README.md").read_text()
    assert all(f"`python -m tinyq.{name}" in text for name in COMMANDS)
    assert all(f"\n| {code}" in text for code in (0, 2, 65, 70, 73, 74, 75, 76, 130, 141))


def test_the_pages_of_models_and_data_name_all_of_them():
    from tinyq.data import READERS
    from tinyq.models import REGISTRY

    for page, names in (("models", REGISTRY), ("data", READERS)):
        text = (ROOT / page / "README.md").read_text()
        assert [name for name in names if f"`{name}" not in text] == []
