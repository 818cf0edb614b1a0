"""The main job: `python -m tinyq.train` with no arguments trains the embedded digits and constrains them to ternary."""
import json
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_it_reaches_what_the_readme_says(tmp_path):
    result = subprocess.run([sys.executable, "-m", "tinyq.train"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    [shown] = re.findall(r"```text\n(.*?)```", README.read_text(), re.S)
    assert shown in result.stdout
    assert "100.00% of 23,040 constrained weights are exactly on their levels" in result.stdout
    [written] = tmp_path.glob("runs/*/result.json")
    reached = json.loads(written.read_text())
    assert reached["levels"] == "ternary" and reached["on_levels"] == 1
    assert reached["test_accuracy_float"] >= 0.975
    assert reached["test_accuracy"] >= reached["test_accuracy_float"] - 0.015
    assert reached["bytes_packed"] < reached["bytes_float"] / 5
