"""Every page that code or another page cites is in the repository, with the section it names."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXTS = (".py", ".md", ".toml", ".c", ".h", ".yml", ".html")
CITATION = re.compile(r"(?<![\w*])([\w./-]*[A-Z]+\.md)\b(?:[,:]? sections? (\d))?")          # pages have capital names
NO_PAGES = {"results/NAME.md", "FILE.md"}               # written by a script or a command


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if name.endswith(TEXTS)]


def page_of(name, where):
    """The page that a text in `where` means by this name: beside it, above it, or below tinyq/ or data/."""
    folders = [*where.parents[:len(where.relative_to(ROOT).parents)], ROOT / "tinyq", ROOT / "data"]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def unresolved(text, where):
    for name, section in CITATION.findall(text):
        page = page_of(name, where)
        if page is None and name not in NO_PAGES:
            yield f"{where.name}: {name} is not there"
        elif page and section and not re.search(rf"^##+ {section}\. ", page.read_text(), re.M):
            yield f"{where.name}: {name} has no section {section}"


def test_every_citation_resolves():
    assert [fault for path in tracked() if path != Path(__file__) for fault in unresolved(path.read_text(), path)] == []


def test_the_search_finds_a_page_and_a_section_that_are_not_there():
    where = ROOT / "tinyq" / "levels.py"
    assert list(unresolved("(methods/README.md, section 0) and README.md", where)) == []
    assert list(unresolved("(GONE.md, section 1)", where)) == ["levels.py: GONE.md is not there"]
    assert list(unresolved("methods/README.md, section 9", where)) == ["levels.py: methods/README.md has no section 9"]
