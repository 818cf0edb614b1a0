"""Names that are hard to print, and a standard output that is closed, full, or knows no UTF-8."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinyq.__main__ import main

NAMES = {"newline": b"a\nb", "escape": b"\x1b[31mred", "dash": b"-rf", "latin": b"\xe9\xff", "long": b"x" * 240}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on photographs in d/, packed."""
    root = tmp_path_factory.mktemp("names")
    rng = np.random.Generator(np.random.Philox(0))
    for k in range(12):
        path = root / "d" / ("train", "val")[k % 3 == 2] / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    assert main(f"{line(root)} --output {root}/run --method cbp --constrain all --pretrain-epochs 0".split()) == 0
    return root / "run"


def line(root):
    return (f"train --model mlp:4 --data imagefolder --data-path {root}/d --recipe none --epochs 1 -j 0 --threads 1 "
            "--imagefolder.size 8 --imagefolder.resize 8 --imagefolder.validation 0 -b 4")


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_of_any_name_is_read_and_shown_in_one_line(capsys, tmp_path, run, name):
    path = os.path.join(os.fsencode(tmp_path), NAMES[name] + b".jpg")
    shutil.copy(run.parent / "d/train/a/0.jpg", path)
    network = f"{run}/model.tq.h5"
    assert main(["infer", network, os.fsdecode(path)]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and out.strip().isprintable() and "%" in out
    Path(os.fsdecode(path)).write_bytes(b"bad")
    assert main(["infer", network, os.fsdecode(path)]) == 65
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.strip().isprintable() and "neither a JPEG nor a PNG" in err


@pytest.mark.parametrize("make, says", [(os.mkfifo, "x.jpg: is not a plain file"),
                                        (os.mkdir, "x.jpg': no pictures in this folder")])
def test_what_is_no_photograph_is_not_waited_for(capsys, tmp_path, run, make, says):
    make(tmp_path / "x.jpg")
    assert main(["infer", f"{run}/model.tq.h5", f"{tmp_path}/x.jpg"]) == 65
    assert says in capsys.readouterr().err


def test_a_run_folder_that_is_no_utf8(capsys, tmp_path, run):
    moved = os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")
    shutil.copytree(run, moved)
    for command in (["evaluate", moved], ["train", "--resume", moved], ["audit", "verify", moved],
                    ["audit", "report", moved, "--checks", "0", "--points", "2", "-o", f"{moved}/a.html"]):
        assert main(command) == 0, capsys.readouterr().err
    assert Path(moved, "a.html").read_bytes().decode()


def test_names_in_settings_and_of_classes_are_utf8(capsys, tmp_path, run):
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    before = os.listdir(tmp_path)
    assert main([*line(run.parent).split(), "--method", "backprop", "--output", bad]) == 2
    assert "the name of a file or folder must be UTF-8; rename it" in capsys.readouterr().err
    assert os.listdir(tmp_path) == before
    shutil.copytree(run.parent / "d", tmp_path / "d")
    for part in ("train", "val"):
        (tmp_path / "d" / part / "b").rename(os.fsdecode(os.fsencode(tmp_path / "d" / part) + b"/\xff"))
    assert main([*line(tmp_path).split(), "--method", "backprop", "--output", f"{tmp_path}/r"]) == 65
    assert "folders whose names are not UTF-8" in capsys.readouterr().err


def test_predictions_for_names_that_are_no_utf8(tmp_path, run):
    shutil.copytree(run.parent / "d", tmp_path / "d")
    photograph = next((tmp_path / "d/val/a").iterdir())
    photograph.rename(os.fsdecode(os.fsencode(photograph.parent) + b"/\xff.jpg"))
    assert main(["evaluate", str(run), "--data-path", f"{tmp_path}/d", "--predictions", f"{tmp_path}/p.csv"]) == 0
    assert "\\udcff.jpg" in (tmp_path / "p.csv").read_text()


def test_a_closed_standard_output(run):
    for streams, code, command in ((">&-", 0, f"evaluate {run}"), (">&- 2>&- <&-", 65, f"evaluate {run}/nowhere")):
        shell = f"exec {sys.executable} -m tinyq {command} {streams}"
        process = subprocess.run(["bash", "-c", shell], stderr=subprocess.PIPE, text=True)
        assert process.returncode == code and process.stderr == "", process.stderr


def test_a_log_on_a_full_disk_stops_no_training(tmp_path, run):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    training = ("train --model mlp:4 --data iris --method backprop --recipe none --epochs 2 --threads 1 -j 0 "
                f"--output {tmp_path}/r")
    for command in (training, f"evaluate {run}"):
        process = subprocess.run(["bash", "-c", f"exec {sys.executable} -m tinyq {command} > /dev/full"],
                                 stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": ""})
        said = process.stderr.splitlines()
        assert process.returncode == 74 and said[-1].endswith("some of what was printed is lost"), process.stderr
        assert all(x.startswith("tinyq: standard output: No space left on device; ") for x in said), process.stderr
        assert len(said) == 1 or said[0].endswith("lines are lost, training continues") and len(said) == 2
    assert json.loads((tmp_path / "r" / "result.json").read_text())["steps"] > 0


def test_a_reader_that_has_seen_enough(tmp_path):
    command = (f"{sys.executable} -m tinyq.train --model mlp:4 --data iris --method backprop --recipe none --threads 1 "
               f"--epochs 300 -j 0 --output {tmp_path}/r")
    process = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | head -1"], capture_output=True, text=True)
    assert process.returncode == 141 and process.stderr == ""
    assert process.stdout.count("\n") == 1 and main(f"train --resume {tmp_path}/r --max-steps 3".split()) == 0
