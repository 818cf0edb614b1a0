"""One command trains a run for each seed, goes on with what is missing, and says mean and range."""
import json
import os
import re
import shlex
import shutil
import signal

import pytest

from tinyq.__main__ import main
from tinyq.errors import UsageError
from tinyq.run import loop
from tinyq.tuning.seeds import parse_seeds

IRIS = ("--model mlp:8,16 --data iris --method cbp --recipe none --batch-size 16 --lr 0.05 --pretrain-epochs 1 "
        "--epochs 2 --cbp.lambda-lr 0.05 --threads 1 --workers 0").split()


def train(*flags):
    return main(["train", *IRIS, *map(str, flags)])


def results(folder):
    return {path.parent.name: json.loads(path.read_text())["weights_sha256"] for path in folder.glob("*/result.json")}


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "of iris"
    assert train("--seeds", "0,1,2", "--output", folder) == 0
    return folder


def test_each_seed_has_a_run_of_its_own_that_verifies(three):
    assert sorted(results(three)) == ["seed-0", "seed-1", "seed-2"] and len(set(results(three).values())) == 3
    assert main(["audit", "verify", str(three / "seed-1")]) == 0


def test_the_summary_says_mean_and_range(three, capsys):
    found = json.loads((three / "seeds.json").read_text())
    tests = [1 - json.loads((three / f"seed-{n}" / "result.json").read_text())["test_accuracy"] for n in range(3)]
    assert found["seeds"] == [0, 1, 2] and [run["run"] for run in found["runs"]] == ["seed-0", "seed-1", "seed-2"]
    error = found["figures"]["test_error"]
    assert error == {"mean": pytest.approx(sum(tests) / 3), "lowest": min(tests), "highest": max(tests), "runs": 3}
    assert "![curves](seeds.svg)" in (three / "seeds.md").read_text() and (three / "seeds.svg").is_file()
    assert main(["compare", str(three)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"test error +\d+\.\d\d% +\d+\.\d\d% +\d+\.\d\d% +3\n", out) and "3 runs of " in out


def test_called_again_it_trains_nothing_twice(three, tmp_path, capsys):
    folder = shutil.copytree(three, tmp_path / "r")
    before = {path: path.read_bytes() for path in folder.glob("*/*") if path.is_file()}
    assert train("--seeds", "0,1,2", "--output", folder) == 0
    assert capsys.readouterr().out.count("already finished") == 3
    assert {path: path.read_bytes() for path in folder.glob("*/*") if path.is_file()} == before


def test_further_seeds_join_the_others(three, tmp_path):
    folder = shutil.copytree(three, tmp_path / "r")
    shutil.rmtree(folder / "seed-1")
    assert train("--seeds", "1,7", "--output", folder) == 0
    assert results(folder)["seed-1"] == results(three)["seed-1"]
    assert json.loads((folder / "seeds.json").read_text())["seeds"] == [0, 1, 2, 7]


def test_an_interrupted_command_says_how_to_go_on_and_goes_on_bit_for_bit(three, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measure, calls = loop.measure, []

    def measure_and_signal(*arguments, **options):
        calls.append(1)
        if len(calls) == 5:                                     # in the second run
            os.kill(os.getpid(), signal.SIGINT)
        return measure(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "measure", measure_and_signal)
        assert train("--seeds", "0,1,2") == 130
    command = shlex.split(re.search(r"seed 1 stopped; go on with: (.+)\n", capsys.readouterr().err)[1])
    assert command[:3] == ["python", "-m", "tinyq.train"] and main(["train", *command[3:]]) == 0
    assert results(tmp_path / "runs" / "mlp-iris-cbp-seeds-001") == results(three)


def test_a_run_with_other_settings_is_not_continued(three, tmp_path, capsys):
    folder = shutil.copytree(three, tmp_path / "r")
    assert train("--seeds", "0,1", "--output", folder, "--momentum", "0.5", "--workers", "1") == 2
    err = capsys.readouterr().err
    assert "seed-0 has other settings (momentum is 0.9 there, 0.5 here); give those" in err and "workers" not in err


def test_settings_that_change_no_bit_may_change(tmp_path):
    assert train("--seeds", "0,1", "--output", tmp_path / "r", "--max-steps", "10") == 0
    assert train("--seeds", "0,1", "--output", tmp_path / "r", "--max-steps", "100", "--print-freq", "5") == 0
    assert {run["figures"]["steps"] for run in json.loads((tmp_path / "r" / "seeds.json").read_text())["runs"]} == {21}


def test_a_network_of_one_s_own_is_continued_if_it_is_the_same(tmp_path, capsys):
    network = tmp_path / "net.py"
    network.write_text("from tinyq import nn\n\n\ndef net(num_classes, input_shape):\n"
                       "    return nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(),\n"
                       "                         nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, num_classes))\n")
    flags = ["--model", f"{network}:net", "--seeds", "0,1", "--output", tmp_path / "r"]
    assert train(*flags, "--max-steps", "9") == 0 and train(*flags, "--max-steps", "99") == 0
    network.write_text(network.read_text() + "# changed\n")
    assert train(*flags, "--max-steps", "199") == 65
    assert f"differs from {network}, which the command line names" in capsys.readouterr().err


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, capsys):
    assert train("--seeds", "0,1", "--output", tmp_path / "r", "--pretrain-lr", "1e30") == 70
    out, err = capsys.readouterr()
    assert out.count("the other seeds go on") == 2 and "the runs of seed 0, 1 diverged" in err


@pytest.mark.parametrize("flags, code, says", [
    ("--seeds 0,0", 2, "--seeds 0,0: give each seed once"), ("--seeds 0,x", 2, "--seeds x: must be a whole number"),
    ("--seeds=", 2, "--seeds: is empty"), ("--seeds 0,", 2, "--seeds: is empty"), ("--seeds -1,2", 2, "at least 0"),
    ("--seeds 0,1 --seed 3", 2, "--seeds cannot be combined with --seed"),
    ("--seeds 0,1 --dry-run", 2, "--seeds cannot be combined with --dry-run"),
    ("--resume r --seeds 0,1", 2, "--resume cannot be combined with --seeds"),
    ("--resume r --config c.toml", 2, "--resume cannot be combined with --config"),
    ("--seeds 0,1 --iris.validation 150 --output r", 65, "cannot hold out 150")])
def test_what_cannot_be_is_refused_and_leaves_nothing(flags, code, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train(*flags.split()) == code
    assert says in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_left_alone(three, tmp_path, capsys):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "config.toml").write_text("")
    assert train("--seeds", "0,1", "--output", tmp_path / "r") == 73
    assert "holds something else than the runs of --seeds" in capsys.readouterr().err


def test_seeds_are_read_with_spaces():
    assert parse_seeds("3, 1") == [3, 1]
    with pytest.raises(UsageError, match="at most 1000"):
        parse_seeds(",".join(map(str, range(1001))))
