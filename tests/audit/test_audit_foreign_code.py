"""A run folder, a configuration and a ledger are data: none of them chooses code that runs here."""
import hashlib
import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
import tomllib

import audit_runs
import pytest

from tinyq.__main__ import main
from tinyq.audit import replay_run
from tinyq.errors import BadInput
from tinyq.output import terminal
from tinyq.run import session
from tinyq.train import train

NET = '''
import os
from tinyq.models.mlp import mlp
os.environ["NET_RAN"] = str(int(os.environ.get("NET_RAN", 0)) + 1)
def net(classes, shape):
    return mlp(classes, shape, "8,16")
'''
SMALL = {"data": "iris", "method": "cbp", "recipe": "none", "epochs": 2, "pretrain_epochs": 1, "max_steps": 9,
         "threads": 1, "workers": 0}


def times_run():
    return int(os.environ["NET_RAN"])


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A stopped run of a user's own network, in RUN, whose file is gone since."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    train(model=f"{folder}/net.py:net", output=str(folder / "run"), **SMALL)
    (folder / "net.py").unlink()
    return folder / "run"


@pytest.fixture
def run(own, tmp_path):
    return shutil.copytree(own, tmp_path / "run")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "run"
    train(model="mlp:8,16", output=str(folder), **SMALL)
    return folder


@pytest.fixture(autouse=True)
def nothing_ran(monkeypatch, own, plain):
    monkeypatch.setenv("NET_RAN", "0")


@pytest.fixture
def evil(plain, tmp_path):
    """A run whose config.toml, and with it the ledger, was made to name a file in the folder."""
    run = shutil.copytree(plain, tmp_path / "run")
    (run / "net.py").write_text(NET)
    text = (run / "config.toml").read_text().splitlines()
    text = [f'model = "{run}/net.py:net"' if row.startswith("model =") else row for row in text]
    (run / "config.toml").write_text("\n".join(text) + "\n")

    def rename(records):
        records[0]["config_sha256"] = hashlib.sha256((run / "config.toml").read_bytes()).hexdigest()
        records[0]["settings"]["model"] = "net.py:net"

    audit_runs.rewrite(run, rename)
    return run


def ended(capsys, *argv):
    capsys.readouterr()
    code = main(list(map(str, argv)))
    return code, capsys.readouterr()


READERS = ["audit verify RUN", "audit replay RUN --step 3", "audit replay RUN --random 2", "audit check RUN --step 3",
           "audit report RUN -o RUN.html", "audit head RUN", "audit show RUN", "evaluate RUN", "summary RUN",
           "pack RUN RUN.tq.h5", "convert RUN RUN.safetensors", "infer RUN/model.tq.h5 --data",
           "train --resume RUN", "train --resume RUN --max-steps 12"]


@pytest.mark.parametrize("command", READERS)
def test_no_command_runs_code_that_only_a_run_folder_names(capsys, evil, command):
    code, _ = ended(capsys, *command.replace("RUN", str(evil)).split())
    assert times_run() == 0
    if "audit verify" in command:
        assert code == 76


@pytest.mark.parametrize("command", ["audit replay RUN --step 3", "audit check RUN --step 3",
                                     "audit report RUN -o RUN.html", "train --resume RUN"])
@pytest.mark.parametrize("folder", ["run", "evil"])
def test_a_refusal_names_the_flag_that_allows_it(capsys, request, command, folder):
    folder = request.getfixturevalue(folder)
    code, said = ended(capsys, *command.replace("RUN", str(folder)).split())
    assert code == 65 and "--trust" in said.err and len(said.err.splitlines()) == 1 and times_run() == 0


@pytest.mark.parametrize("action, times", [("--dry-run", 1), ("--print-config", 0), ("--output OUT", 1)])
def test_a_configuration_alone_runs_no_code(capsys, tmp_path, action, times):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "evil.toml").write_text(f'model = "{tmp_path}/net.py:net"\ndata = "iris"\nmethod = "backprop"\n'
                                        'recipe = "none"\nepochs = 1\nthreads = 1\nworkers = 0\n')
    line = f"train --config {tmp_path}/evil.toml {action.replace('OUT', str(tmp_path / 'out'))}".split()
    code, said = ended(capsys, *line)
    assert code == 65 and f"add --model {tmp_path}/net.py:net" in said.err and times_run() == 0
    assert not (tmp_path / "out").exists()
    code, _ = ended(capsys, *line, "--model", f"{tmp_path}/net.py:net")
    assert code == 0 and times_run() == times


def test_a_run_keeps_a_copy_of_its_network_and_its_sha256(own):
    sha256 = hashlib.sha256(NET.encode()).hexdigest()
    assert (own / "net.py").read_text() == NET
    begin = json.loads((own / "ledger.jsonl").read_text().splitlines()[0])
    assert begin["settings"]["code"] == {"net.py": sha256} and begin["settings"]["model"] == "net.py:net"
    assert tomllib.loads((own / "config.toml").read_text())["model"] == f"{own.parent}/net.py:net"


def test_a_run_of_its_own_network_verifies_without_running_it(capsys, run):
    code, _ = ended(capsys, "audit", "verify", run)
    assert code == 0 and times_run() == 0


@pytest.mark.parametrize("change", [lambda path: path.write_text(NET + "\n# changed"), lambda path: path.unlink()],
                         ids=["changed", "removed"])
def test_a_changed_copy_is_found_and_never_run(capsys, run, change):
    change(run / "net.py")
    code, said = ended(capsys, "audit", "verify", run)
    assert code == 76 and "net.py" in said.err
    for command in ("audit replay RUN --step 3 --trust", "train --resume RUN --trust --max-steps 12"):
        code, said = ended(capsys, *command.replace("RUN", str(run)).split())
        assert code == 65 and "net.py" in said.err
    assert times_run() == 0


def test_trust_runs_the_copy_and_says_so(capsys, run):
    for command in ("audit replay RUN --from 1", "audit check RUN --step 3",
                    "audit report RUN -o RUN.html --checks 0 --points 2", "audit verify RUN",
                    "train --resume RUN --max-steps 12"):
        before = times_run()
        terminal._told.clear()
        code, said = ended(capsys, *command.replace("RUN", str(run)).split(), "--trust")
        assert code == 0 and times_run() > before, said
        assert f"--trust runs {run}/net.py, SHA-256" in said.err
    code, _ = ended(capsys, "audit", "verify", run)
    assert code == 0 and replay_run(run, 3, trust=True) >= 3


def test_a_resumed_run_of_ones_own_network_has_the_bits_of_a_whole_one(own, tmp_path):
    run = shutil.copytree(own, tmp_path / "run")
    resumed = session.resume(run, {"max_steps": 99}, trust=True)[0]
    (tmp_path / "net.py").write_text(NET)
    whole = json.loads((train(model=f"{tmp_path}/net.py:net", output=str(tmp_path / "whole"),
                              **{**SMALL, "max_steps": 99}) / "result.json").read_text())
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_another_file_runs_where_the_command_line_names_it_and_is_said_to_differ(capsys, run, tmp_path):
    (tmp_path / "other.py").write_text(NET + "\n# another comment")
    code, said = ended(capsys, "audit", "replay", run, "--step", 3, "--model", f"{tmp_path}/other.py:net")
    assert code == 0 and "another than on record" in said.err and times_run() == 1


def test_a_cache_of_bytecode_beside_the_network_is_not_run(capsys, run):
    """Python's own loader runs __pycache__/net.pyc in the place of a net.py of the same size and time."""
    cached = importlib.util.cache_from_source(str(run / "net.py"))
    evil = NET.replace('"NET_RAN"] = str(', '"OTHER_RAN"] = str(')
    source = run / "other" / "net.py"
    source.parent.mkdir()
    source.write_text(evil)
    code = importlib.util.spec_from_file_location("net", source).loader.get_code("net")
    os.makedirs(os.path.dirname(cached))
    flags = (1).to_bytes(4, "little")               # unchecked: by its own word right for any source
    with open(cached, "wb") as file:
        file.write(importlib.util.MAGIC_NUMBER + flags + bytes(8) + marshal.dumps(code))
    shutil.rmtree(source.parent)
    os.environ.pop("OTHER_RAN", None)
    code, _ = ended(capsys, "audit", "replay", run, "--step", 3, "--trust")
    assert code == 0 and times_run() == 1 and "OTHER_RAN" not in os.environ


def test_running_a_network_writes_nothing_beside_it(capsys, run, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = sorted(run.rglob("*"))
    ended(capsys, "audit", "replay", run, "--step", 3, "--trust")
    assert sorted(run.rglob("*")) == before


def test_a_resume_before_the_first_checkpoint_trusts_nothing(capsys, run):
    shutil.rmtree(run / "checkpoints")
    code, said = ended(capsys, "train", "--resume", run, "--trust")
    assert code == 65 and "no SHA-256 of it is on record" in said.err and times_run() == 0


def test_trust_is_for_a_run_folder_alone(capsys):
    code, said = ended(capsys, "train", "--trust", "--model", "mlp:8", "--data", "iris")
    assert code == 2 and "--trust" in said.err


def test_the_command_that_resumes_a_run_of_ones_own_network_has_the_flag(own, plain):
    from tinyq.saved.run_folder import resume_command

    assert resume_command(own) == f"python -m tinyq.train --resume {own} --trust"
    assert resume_command(plain) == f"python -m tinyq.train --resume {plain}"
    assert resume_command("$(touch x)") == "python -m tinyq.train --resume '$(touch x)'"


@pytest.mark.parametrize("recorded", [3, ["x"], None, "", {"net.py": ""}, {"net.py": 3}, {}])
def test_a_record_of_another_type_trusts_nothing(capsys, run, recorded):
    audit_runs.rewrite(run, lambda records: records[0]["settings"].update(code=recorded))
    code, said = ended(capsys, "audit", "replay", run, "--step", 3, "--trust")
    assert code == 65 and "net.py" in said.err and times_run() == 0
    code, said = ended(capsys, "audit", "verify", run)
    assert code == 76 and times_run() == 0


def test_a_numpy_in_the_working_directory_does_not_run_where_python_is_told_so(tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit('a foreign numpy ran')")
    command = [sys.executable, "-P", "-m", "tinyq", "summary", "--model", "mlp:8", "--data", "iris"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr


def test_from_python_a_foreign_network_is_refused_too(run):
    with pytest.raises(BadInput, match="--trust"):
        replay_run(run, 1)
    with pytest.raises(BadInput, match="--trust"):
        session.resume(run, {})
    assert times_run() == 0
