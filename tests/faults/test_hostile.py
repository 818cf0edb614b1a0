"""Hostile files and mutants of valid ones against every reader; bench/soak/soak.py gives them more of the same."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = Path(__file__).with_name("hostile.py")


@pytest.mark.parametrize("kind, cases, most_memory", [("hdf5", 600, 200), ("pth", 600, 200), ("safetensors", 600, 200),
                                                      ("packed", 300, 300),
                                                      ("images", 300, 300)])
def test_hostile_files_are_read_or_refused_and_nothing_else_happens(kind, cases, most_memory):
    process = subprocess.run([sys.executable, HOSTILE, kind, str(cases), "1"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    found = json.loads(process.stdout)
    assert found["failures"] == [] and found["opened"] == [] and found["seconds"] < 10
    assert found["cases"] > cases and found["refused"] > 0 and found["read"] > 0
    assert found["growth MiB"] < 64 or kind == "images"
    assert found["MiB at most"] < most_memory
