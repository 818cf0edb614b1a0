"""The package: what it says of itself, and the same sources in a checkout and installed."""
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tinyq.audit.ledger.environment import source_sha256

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("field", ["authors", "classifiers", "description", "keywords", "license", "readme",
                                   "requires-python", "urls"])
def test_the_metadata_are_complete(field):
    assert PROJECT[field]


def test_every_extra_names_packages_that_something_here_uses():
    files = [path for folder in ("bench", "tests") for path in (ROOT / folder).rglob("*.py")] + [
        path for path in (ROOT / ".ci").iterdir()]
    texts = "".join(path.read_text() for path in files)
    for extra, requirements in PROJECT["optional-dependencies"].items():
        for requirement in requirements:
            name = re.match("[A-Za-z0-9_-]+", requirement).group()
            used = rf"(import|from) {name}\b|importorskip\(.{name}\b|\b(-m )?{name} (check|run)|-m {name}\b"
            assert re.search(used, texts), f"{extra}: nothing uses {name}"


def test_the_sources_of_a_checkout_and_of_a_wheel_have_one_digest(tmp_path):
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "tinyq", tmp_path / "tinyq", ignore=without)
    for name in ("models", "data"):                                         # inside the package, as installed
        shutil.copytree(ROOT / name, tmp_path / "tinyq" / name, ignore=without)
    code = ("import tinyq, sys; sys.stdout.write(tinyq.__file__ + ' '); "
            "from tinyq.audit.ledger.environment import source_sha256; print(source_sha256())")
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path,
                            env={**os.environ, "PYTHONPATH": str(tmp_path)})
    where, digest = result.stdout.split()
    assert where.startswith(str(tmp_path)) and digest == source_sha256(), result.stderr


def test_the_digest_sees_the_bytes_of_a_model(monkeypatch):
    before, read = source_sha256(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + b"#" * (path.name == "lenet.py"))
    assert source_sha256() != before
