"""The commands that a page shows with a file of the user's own do what the page says, one after the other."""
import re
import shlex
from pathlib import Path

import pytest
from page_examples import blocks, write_files

from tinyq.__main__ import main
from tinyq.run.settings import plugins

ROOT = Path(__file__).resolve().parent.parent
FLAGS = re.compile(r"\w+\.py")          # a command with the name of such a file, and those after it in its block
PAGES = ["tinyq/methods/README.md"]


def commands(page):
    """The lines of the shell blocks in which a file that the page shows is named."""
    for block in blocks(page, "sh"):
        if FLAGS.search(block):
            yield from (shlex.split(line.removeprefix("python -m tinyq.")) for line in block.splitlines())


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_an_example_run_one_after_the_other(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_files(ROOT / page, tmp_path)
    ran = [main(command) for command in commands(ROOT / page)]
    plugins.use(None)
    assert ran and set(ran) == {0}, capsys.readouterr().err
