import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tinyq import infer
from tinyq import train as tinyq_train
from tinyq.__main__ import COMMANDS
from tinyq.__main__ import main as tinyq
from tinyq.data.sources.mnist import FILES
from tinyq.methods import METHODS, CoNNTrA
from tinyq.methods.base import COMMON_COLUMNS
from tinyq.run.observers import progress as progress_module
from tinyq.run.observers.progress import Progress
from tinyq.run.result import has_converged

QUICK = "--model mlp:8,16 --data iris --method cbp --pretrain-epochs 2 --epochs 2 -b 32 --threads 1 -j 0"


def run(capsys, line):
    """Exit code, stdout and stderr of `tinyq ...`."""
    capsys.readouterr()
    code = tinyq(line.split())
    return code, *capsys.readouterr()


def spawn(line):
    command = [sys.executable, "-m", *line.split()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def write_mnist(folder, seed=0):
    """Eight images of MNIST's form for each part."""
    rng = np.random.Generator(np.random.Philox(seed))
    for images, labels in FILES.values():
        for name, array in ((images, rng.integers(0, 256, (8, 28, 28))), (labels, np.arange(8))):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / name).write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert tinyq(f"train {QUICK} --levels shift2 --output {folder}".split()) == 0
    return folder


def test_training_prints_plain_lines_and_a_table(capsys, tmp_path):
    code, out, err = run(capsys, f"train {QUICK} --output {tmp_path / 'r'}")
    assert code == 0 and "\r" not in out and err == ""
    lines = out.splitlines()
    assert lines[0] == "recipe none: mlp:8,16 on iris, cbp to ternary, seed 0"
    assert lines[1] == "data: train 105, validation 15, test 30"
    assert sum(bool(re.match(r"(float|cbp) +epoch +\d/4  loss ", line)) for line in lines) == 4
    assert any(line.startswith("float network: test error") for line in lines)
    assert any(re.match(r"ternary \(cbp\) +\d+\.\d\d% +[\d,]+$", line) for line in lines)
    assert any(line.startswith("100.00% of 128 constrained weights are exactly on their levels") for line in lines)


@pytest.mark.parametrize("settings", [QUICK, QUICK.replace("cbp", "backprop") + " --audit off --iris.validation 0"])
def test_the_commands_that_a_run_ends_with_work_as_they_are(settings, capsys, tmp_path):
    folder = tmp_path / "my run's"
    capsys.readouterr()
    assert tinyq(["train", *settings.split(), "--output", str(folder)]) == 0
    said = capsys.readouterr().out.partition("; next:\n")[2].splitlines()
    programs = [shlex.split(line)[2:] for line in said]
    assert [name for name, *_ in programs] == (
        ["tinyq.evaluate"] if "off" in settings else ["tinyq.evaluate", "tinyq.infer", "tinyq.audit"])
    for name, *arguments in programs:
        assert tinyq([name.removeprefix("tinyq."), *arguments]) == 0


def test_weights_that_end_far_from_their_levels_are_told_with_a_remedy(capsys, tmp_path):
    code, out, _ = run(capsys, f"train {QUICK} --output {tmp_path / 'r'}")
    moved = json.loads((tmp_path / "r" / "result.json").read_text())["moved_by_finish"]
    assert code == 0 and moved > 0.1 and f"finish moved them by {moved:.2%} of their scale on average\n" in out
    advice = next(line for line in out.splitlines() if line.startswith("cbp has not converged"))
    assert f"--resume {tmp_path / 'r'} --epochs N" in advice and "--cbp.lambda-lr" in advice
    _, out, _ = run(capsys, f"train {QUICK} --epochs 30 --pretrain-epochs 20 --lr 0.1 --cbp.period 1 --cbp.lambda-lr 1 "
                    f"--output {tmp_path / 'far'}")
    assert "has not converged" not in out
    result = json.loads((tmp_path / "far" / "result.json").read_text())
    assert result["moved_by_finish"] <= 0.1


def test_what_is_not_pulled_to_its_levels_gets_no_such_advice():
    sets = {name: {"conv2.weight": {"levels": name, "weights": 5}} for name in ("shift2", "ternary")}
    found = {"method": "cbp", "sets": sets["shift2"], "moved_by_finish": 0.03}
    assert not has_converged(found) and has_converged({**found, "sets": sets["ternary"]})
    assert has_converged({**found, "method": "rpr"}) and has_converged({**found, "moved_by_finish": None})


def test_runs_are_numbered_when_no_output_is_given(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        _, out, _ = run(capsys, f"train {QUICK} --max-steps 1")
        assert f"\nwritten to runs/mlp-iris-cbp-00{number}; next:\n" in out


def test_a_dry_run_and_a_printed_configuration_train_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "train --dry-run --threads 1")
    assert code == 0 and "train 1,257, validation 180, test 360" in out
    assert "25,978, 23,040 of them constrained to ternary (2 bits)" in out
    code, out, _ = run(capsys, "train --print-config --lr 0.5")
    (tmp_path / "c.toml").write_text(out)
    assert code == 0 and "lr = 0.5  # flag" in out
    again = run(capsys, "train --config c.toml --print-config")[1]
    assert re.sub(" *#.*", "", again) == re.sub(" *#.*", "", out)
    assert os.listdir(tmp_path) == ["c.toml"]


def test_plain_backprop_claims_no_constrained_weights(capsys, tmp_path):
    line = f"{QUICK.replace('cbp', 'backprop')} --output {tmp_path / 'r'}"
    out = run(capsys, f"train {line} --dry-run")[1]
    assert "parameters   235, all of them float" in out and "constrained" not in out
    assert run(capsys, f"train {line}")[0] == 0
    assert json.loads((tmp_path / "r" / "result.json").read_text())["levels"] is None
    assert json.loads(run(capsys, f"evaluate {tmp_path / 'r'} --json --threads 1")[1])["levels"] is None


def test_evaluation_agrees_with_the_run(capsys, trained):
    result = json.loads((trained / "result.json").read_text())
    code, out, _ = run(capsys, f"evaluate {trained} --json --threads 1")
    report = json.loads(out)
    assert code == 0 and report["top1"] == result["test_accuracy"] and report["n"] == 30
    assert report["weights_sha256"] == result["weights_sha256"] and report["top5"] is None
    assert set(report["per_class"]) == {"setosa", "versicolor", "virginica"}
    report = json.loads(run(capsys, f"evaluate {trained / 'float.h5'} --json --threads 1")[1])
    assert report["top1"] == result["test_accuracy_float"]
    out = run(capsys, f"evaluate {trained / 'model.h5'} --split validation --threads 1")[1]
    assert "n = 15" in out and "worst  " in out and "top-5" not in out


def test_the_summary_of_a_file_is_that_of_the_run(capsys, trained):
    result = json.loads((trained / "result.json").read_text())
    totals = json.loads(run(capsys, f"summary {trained / 'model.h5'} --json")[1])["totals"]
    assert (totals["bytes_packed"], totals["bytes_float"]) == (result["bytes_packed"], result["bytes_float"])
    assert totals["constrained"] == 128 and totals["bytes_codes"] == 128 * 3 // 8
    assert "shift2" in run(capsys, f"summary {trained / 'model.h5'}")[1]
    assert "61,706" in run(capsys, "summary --model lenet")[1]


def test_a_network_of_ones_own_is_trained_evaluated_and_summed_up(capsys, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from tinyq import nn\n\n\ndef net(num_classes, input_shape):\n"
        "    return nn.Sequential(nn.Linear(input_shape[0], 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(),"
        " nn.Linear(9, num_classes))\n")
    model, folder = f"{tmp_path / 'mine.py'}:net", tmp_path / "r"
    line = QUICK.replace("mlp:8,16", model)
    assert run(capsys, f"train {line} --output {folder}")[0] == 0
    assert run(capsys, f"evaluate {folder} --model {model} --threads 1")[0] == 0
    assert "ternary" in run(capsys, f"summary --model {model} --data iris")[1]
    (tmp_path / "mine.py").rename(tmp_path / "moved.py")
    code, _, err = run(capsys, f"evaluate {folder} --threads 1")
    assert code == 65 and "does not come with tinyq; if it is your own, name it with --model" in err
    moved = f"{folder} --model {tmp_path / 'moved.py'}:net"
    assert run(capsys, f"evaluate {moved} --threads 1")[0] == 0 and run(capsys, f"summary {moved}")[0] == 0


def test_a_run_is_understood_from_another_working_directory(capsys, tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    write_mnist(tmp_path / "pictures")
    line = ("train --recipe none --model mlp:4 --data mnist --data-path pictures --mnist.validation 0 "
            "--method backprop --epochs 1 -b 4 --threads 1 -j 0 --output r")
    assert run(capsys, line)[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(capsys, "evaluate ../r --threads 1")[0] == 0
    (tmp_path / "pictures").rename(tmp_path / "moved")
    assert run(capsys, "evaluate ../r --threads 1")[0] == 65
    assert run(capsys, "evaluate ../r --threads 1 --data-path ../moved")[0] == 0
    assert run(capsys, "train --resume ../r --max-steps 99 --data-path ../moved")[0] == 0
    write_mnist(tmp_path / "moved", seed=1)
    code, _, err = run(capsys, "train --resume ../r --data-path ../moved")
    assert code == 65 and "data_sha256 was" in err


def test_a_folder_of_a_run_serves_as_its_network(capsys, tmp_path, trained):
    assert run(capsys, f"summary {trained}")[1] == run(capsys, f"summary {trained / 'model.h5'}")[1]
    assert run(capsys, f"train {QUICK} --weights {trained} --output {tmp_path / 'r'}")[0] == 0
    (tmp_path / "r" / "model.h5").unlink()
    code, _, err = run(capsys, f"evaluate {tmp_path / 'r'}")
    assert code == 65 and f"this run is not finished; name a file of {tmp_path / 'r' / 'checkpoints'}, or " in err
    assert f"go on with: python -m tinyq.train --resume {tmp_path / 'r'}" in err


@pytest.mark.parametrize("line, code, message", [
    ("trian", 2, "no such command; did you mean 'train'?"),
    ("train --levels tenary", 2, "did you mean 'ternary'"),
    ("train --config none.toml", 65, "none.toml: cannot be read"),
    ("train --resume nowhere", 65, "nowhere: no config.toml here; --resume takes the folder of a run"),
    ("train --resume a --dry-run", 2, "--resume cannot be combined with"),
    ("train --data mnist --data-path nowhere", 65, "python -m tinyq.data fetch mnist"),
    ("train --weights none.h5 --threads 1", 65, "none.h5: cannot be read"),
    ("train --output /proc/nothing --threads 1", 73, "/proc/nothing: cannot create this folder"),
    ("train --schedule step --lr-steps 0 --threads 1", 2, "--lr-steps 0"),
    ("train --model logistic --data iris --method cbp --recipe none --epochs 1 --threads 1 --output {tmp}/r", 2,
     "--constrain all"),
    ("evaluate none.h5", 65, "none.h5: cannot be read"),
    ("evaluate none.h5 --split tset", 2, "did you mean 'test'"),
    ("evaluate none.h5 --threads many", 2, "--threads many"),
    ("evaluate", 2, "required: RUN_OR_MODEL.h5"),
    ("summary", 2, "give a run, a model.h5 file or --model NAME"),
    ("summary --model lenett", 2, "no such model; did you mean 'lenet'?"),
    ("summary --model mine.py:net", 2, "give --data NAME, such as imagenet, or --input-shape, such as 3,32,32"),
    ("train extra", 2, "extra: unexpected argument"),
    ("summary --model lenet --data mnits", 2, "choose from"),
    ("summary --model lenet --input-shape 1,x", 2, "take whole numbers"),
])
def test_a_mistake_is_one_line_and_its_code(capsys, tmp_path, line, code, message):
    got, out, err = run(capsys, line.format(tmp=tmp_path))
    assert got == code and message in err
    assert err.count("\n") == 1 and err.startswith("tinyq: ") and "Traceback" not in err


def test_data_that_do_not_fit_the_network_are_refused(capsys, trained):
    code, _, err = run(capsys, f"evaluate {trained} --data digits --threads 1")
    assert code == 65 and "made for (4,) and 3 classes, but digits has (1, 8, 8) and 10" in err


def test_every_command_has_help_with_an_example(capsys):
    assert run(capsys, "--debug summary --model lenet")[0] == 0
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(name in out for name in COMMANDS)
    assert run(capsys, "--version")[1].startswith("tinyq ")
    for name in ("train", "evaluate", "summary"):
        with pytest.raises(SystemExit) as stop:
            tinyq([name, "--help"])
        assert stop.value.code == 0 and f"python -m tinyq.{name} " in capsys.readouterr().out


def test_interrupted_it_exits_with_130_and_goes_on(tmp_path):
    line = f"tinyq.train {QUICK} --epochs 2000 --output {tmp_path / 'r'}"
    process = spawn(line)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "r" / "checkpoints").glob("step-*.h5")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert re.search(r"^tinyq: stopped after step \d+; go on with: python -m tinyq.train --resume ", err, re.M)
    assert "Traceback" not in err
    steps = int(re.search(r"step (\d+)", err)[1])
    resumed = spawn(f"tinyq.train --resume {tmp_path / 'r'} --max-steps {steps + 3}")
    out, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, err
    assert json.loads((tmp_path / "r" / "result.json").read_text())["steps"] == steps + 3


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines(capsys):
    record = {"record": "epoch", "phase": "conntra", "epoch": 2, "step": 8, "loss": 0.5, "error": 0.25, "lr": 0.1,
              "seconds": 3.0}
    for terminal in (True, False):
        progress = Progress(2, 8, terminal=terminal)
        progress.columns += CoNNTrA.columns
        progress.start()
        progress.refresh("conntra", 2, {"error": 0.5, "moves": 1234, "other": 7})
        assert progress.work.what == "conntra 2/2  error 50.00%  moves 1,234"
        progress.show(record)
        progress.log("a line")
        progress.close()
        out, err = capsys.readouterr()
        assert out == "conntra  epoch   2/2  loss 0.5000  error 25.00%  lr 0.1  3 s\na line\n"
        assert ("\r" in err and "conntra 2/2" in err) if terminal else err == ""


@pytest.mark.parametrize("columns", [30, 40, 80, 120])
def test_a_bar_fits_every_terminal_and_cuts_no_figure(columns, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "width_of", lambda stream: columns)
    progress = Progress(40, 1600, terminal=True)
    progress.start()
    progress.bar.dynamic_ncols, progress.bar.ncols = None, columns
    progress.refresh("cbp", 21, {"objective": 3.6367, "error": 0.125})
    progress.bar.n = 848
    drawn = str(progress.bar)
    figures = [figure for figure in ("objective 3.6367", "error 12.50%") if figure in drawn]
    assert len(drawn) < columns and drawn.startswith("cbp 21/40  53%") and " left" in drawn
    assert drawn.endswith((" left", *figures)) and (columns < 80 or figures) and (columns < 40 or "|" in drawn)
    progress.show({"record": "epoch", "phase": "cbp", "epoch": 21, "step": 840, "loss": 1.1518, "error": 0.7429,
                   "validation_error": 0.4, "lr": 0.01, "seconds": 13.0})
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= columns for line in lines)
    assert " ".join(" ".join(lines).split()) == (
        "cbp epoch 21/40 loss 1.1518 error 74.29% validation 40.00% lr 0.01 13 s")


def test_on_a_terminal_a_line_per_epoch_stays_above_the_bar(tmp_path):
    """A terminal of 40 columns, as a user's program sees it."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 40))
    command = [sys.executable, "-m", "tinyq.train", *QUICK.split(), "--output", str(tmp_path / "r")]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    seen = b""
    with suppress(OSError):                                 # the end of what a terminal receives
        while part := os.read(ours, 65536):
            seen += part
    os.close(ours)
    assert process.wait() == 0
    lines = [line.rpartition("\r")[2].rstrip() for line in seen.decode().replace("\r\n", "\n").split("\n")]
    kept = [number for number, line in enumerate(lines) if re.match(r"(float|cbp) +epoch +\d/4", line)]
    assert len(kept) == 4 and " left" in seen.decode()
    for number in kept:
        figures = " ".join(lines[number:number + 3])
        assert all(len(line) <= 40 for line in lines[number:number + 3])
        assert re.search(r"loss \d\.\d{4} .*error \d+\.\d\d% .*validation \d+\.\d\d% ", figures)


def test_every_figure_is_explained(capsys, trained):
    """In the page those of the screen and of metrics.jsonl, in --help those of the screen."""
    page = (Path(tinyq_train.__file__).parent / "run" / "README.md").read_text()
    columns = [*COMMON_COLUMNS, *(column for method in METHODS.values() for column in method.columns)]
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    keys = {key for record in records for key in record if record["record"] == "epoch"}
    for name in {column.label for column in columns} | keys - {"record", "phase", "epoch", "step", "seconds"}:
        assert f"`{name}`" in page, name
    with pytest.raises(SystemExit):
        tinyq_train.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())            # folded to the width of the terminal
    assert all(f" {column.label} {' '.join(column.meaning.split())}" in text for column in columns)


def test_more_threads_than_cores_change_no_bit(tmp_path, trained):
    process = spawn(f"tinyq.train {QUICK} --levels shift2 --threads 5 --output {tmp_path / 'r'}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    results = [json.loads((folder / "result.json").read_text()) for folder in (trained, tmp_path / "r")]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]


def test_help_needs_no_compiler():
    code = ("import sys\nfrom tinyq.train import main\n"
            "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
            "sys.exit('numba' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_flags_may_stand_between_the_files_of_a_command():
    found = infer._parser().parse(["net.tq.h5", "--activations", "int8", "a.png", "--json", "b.png"])
    assert (found.network, found.images) == ("net.tq.h5", ["a.png", "b.png"])
    assert found.activations == "int8" and found.json
