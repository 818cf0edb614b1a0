"""A run with plug-ins through every command: code runs where a flag names it, or with --trust as the recorded copy."""
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import audit_runs
import numpy as np
import pytest

from tinyq import methods
from tinyq.__main__ import main
from tinyq.audit.ledger.hash_chain import chain
from tinyq.output import terminal
from tinyq.packed.file import format as packed_file
from tinyq.run.settings import plugins
from tinyq.train import train

PAGE = Path(methods.__file__).with_name("README.md").read_text()
[STE] = re.findall(r"^```python\n# fix.py\n(.*?)^```", PAGE, re.S | re.M)
PARTS = '''
import os
import numpy as np
from tinyq import functional, nn
from tinyq.data import READERS, Table
from tinyq.data.bundle import make_bundle
from tinyq.models import REGISTRY
from tinyq.nn import LAYERS

os.environ["PARTS_RAN"] = str(int(os.environ.get("PARTS_RAN", 0)) + 1)


class Gate(nn.Module):
    def forward(self, x):
        return functional.relu(x) * x


LAYERS["Gate"] = Gate


def tiny(num_classes, input_shape):
    return nn.Sequential(nn.Linear(input_shape[0], 8), Gate(), nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, num_classes))


REGISTRY["tiny"] = tiny


def spirals(*, note: str | None = None, turns: float = 1.0):
    def part(n):
        y = np.arange(n) % 2
        t = np.arange(1, n + 1) / n * turns * 6.28
        x = np.stack([t * np.cos(t + 3.14 * y), t * np.sin(t + 3.14 * y)], 1)
        return Table(x.astype(np.float32), y)
    return make_bundle("spirals", {"train": part(60), "validation": part(10), "test": part(20)}, (2,), ("a", "b"))


READERS["spirals"] = spirals
'''
SMALL = {"method": "fix", "recipe": "none", "pretrain_epochs": 1, "epochs": 2, "batch_size": 16, "threads": 1,
         "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs, whose plug-ins are gone since: run of fix.py, all with a network, a layer and data of parts.py too."""
    folder = tmp_path_factory.mktemp("plugins")
    for name, text in (("fix", STE), ("parts", PARTS)):
        (folder / f"{name}.py").write_text(text)
    train(plugin=f"{folder}/fix.py", model="mlp:8,16", data="iris", output=str(folder / "run"), **SMALL,
          **{"fix.factor": 0.7}, levels="fc2=ternary")
    train(plugin=[f"{folder}/parts.py", f"{folder}/fix.py"], model="tiny", data="spirals", output=str(folder / "all"),
          **SMALL, **{"spirals.turns": 1.5})
    for name in ("fix", "parts"):
        (folder / f"{name}.py").rename(folder / f"{name}-was.py")
    return folder


@pytest.fixture(autouse=True)
def nothing_ran(monkeypatch, folder):
    monkeypatch.setenv("PARTS_RAN", "0")
    plugins.use(None)
    terminal._told.clear()
    yield
    plugins.use(None)


@pytest.fixture
def run(folder, tmp_path):
    return shutil.copytree(folder / "run", tmp_path / "run")


def ended(capsys, *argv):
    capsys.readouterr()
    code = main([word for text in argv for word in str(text).split()])
    return code, capsys.readouterr()


def times_run():
    return int(os.environ["PARTS_RAN"])


def begin_of(run):
    return json.loads((run / "ledger.jsonl").read_text().splitlines()[0])


def test_the_plugin_its_sha256_and_its_settings_are_on_record(folder):
    settings = begin_of(folder / "all")["settings"]
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in (("parts.py", PARTS), ("fix.py", STE))}
    assert settings["code"] == digests and settings["plugin"] == "parts.py,fix.py" and settings["spirals.turns"] == 1.5
    assert (folder / "all" / "parts.py").read_text() == PARTS
    phase = [line.record for line in chain(folder / "run" / "ledger.jsonl") if line.kind == "phase"][-1]
    assert phase["method"] == "StraightThrough" and phase["constrained"] == ["fc2.weight"]


@pytest.mark.parametrize("name", ["run", "all"])
def test_verify_needs_no_code_and_says_whose_rules_it_does_not_know(capsys, folder, name):
    code, said = ended(capsys, "audit verify", folder / name)
    assert code == 0 and times_run() == 0 and plugins.active() == ()
    assert ("rules: the rules of Backprop hold at every step; no rules known for StraightThrough: the plug-in of the "
            "run has them: --trust") in said.out
    assert "not on record and not verified" not in said.out
    code, said = ended(capsys, "audit verify --trust", folder / name)
    assert code == 0 and "the rules of Backprop, StraightThrough hold at every step" in said.out
    assert "it is what the method makes of the last checkpoint" in said.out


COMMANDS = ["audit replay RUN --step 3", "audit check RUN --step 3",
            "audit explain RUN --step 3 --weight 2.weight[0,0]", "train --resume RUN --max-steps 99",
            "audit report RUN -o RUN.html --points 2 --checks 0"]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_trains_again_asks_for_trust(capsys, folder, tmp_path, command):
    run = shutil.copytree(folder / "all", tmp_path / "all")
    code, said = ended(capsys, command.replace("RUN", str(run)))
    assert code == 65 and f"{run}/fix.py, read it and add --trust" in said.err and len(said.err.splitlines()) <= 2
    terminal._told.clear()
    code, said = ended(capsys, command.replace("RUN", str(run)), "--trust")
    assert code == 0 and f"--trust runs {run}/parts.py, SHA-256" in said.err, said


def test_a_whole_run_is_replayed_to_its_end(capsys, folder):
    code, said = ended(capsys, "audit replay --all --final --trust", folder / "all")
    assert code == 0 and "packed: model.tq.h5 was packed again" in said.out
    assert ended(capsys, "audit compare", folder / "all", folder / "all")[0] == 0
    assert ended(capsys, "audit show --record epoch", folder / "all")[0] == 0


def test_a_run_with_a_plugin_is_resumed_bit_for_bit(capsys, folder, tmp_path):
    flags = "--model mlp:8,16 --data iris --method fix --recipe none --pretrain-epochs 1 --epochs 2 --batch-size 16 "
    flags += f"--fix.factor 0.7 --threads 1 --workers 0 --plugin {folder}/fix-was.py"
    assert ended(capsys, "train", flags, "--max-steps 10 --output", tmp_path / "parts")[0] == 0
    assert ended(capsys, "train --trust --max-steps 9999 --resume", tmp_path / "parts")[0] == 0
    results = [json.loads((run / "result.json").read_text()) for run in (tmp_path / "parts", folder / "run")]
    assert results[0]["weights_sha256"] == results[1]["weights_sha256"]


def test_an_extended_run_is_verified_without_its_code(capsys, run):
    assert ended(capsys, "train --trust --epochs 3 --resume", run)[0] == 0
    code, said = ended(capsys, "audit verify", run)
    assert code == 0 and "extended at step" in said.out


@pytest.mark.parametrize("command", ["evaluate NET", "summary NET", "pack NET OUT.tq.h5", "infer NET --data"])
@pytest.mark.parametrize("file", ["model.h5", "checkpoints/step-000000012.h5"])
def test_a_weight_file_needs_the_plugin_named_and_says_so(capsys, folder, tmp_path, command, file):
    line = command.replace("NET", f"{folder}/all/{file}").replace("OUT", str(tmp_path / "net"))
    code, said = ended(capsys, line)
    assert code == 65 and "--plugin FILE.py" in said.err and len(said.err.splitlines()) == 1
    code, _ = ended(capsys, line, f"--plugin {folder}/all/parts.py --plugin {folder}/all/fix.py")
    assert code == 0


def test_a_plugin_that_only_trains_is_not_needed_to_use_its_network(capsys, folder, tmp_path):
    for command in ("evaluate", "summary"):
        assert ended(capsys, command, folder / "run")[0] == 0
    assert ended(capsys, "pack", folder / "run", tmp_path / "net.tq.h5")[0] == 0
    weights = packed_file.read(tmp_path / "net.tq.h5").tensors["fc2"].effective()
    assert len(np.unique(np.abs(weights))) == 2                             # ternary: 0 and one scale


def test_a_packed_network_with_layers_of_a_plugin_runs_without_it(capsys, folder):
    path = folder / "all" / "model.tq.h5"
    assert ended(capsys, "summary", path)[0] == 0
    code, said = ended(capsys, "infer", path, "--data")
    assert code == 65 and "its data 'spirals' do not come with tinyq" in said.err
    code, said = ended(capsys, "infer", path, f"--data --plugin {folder}/all/parts.py")
    assert code == 0 and "spirals, test part" in said.out


def test_the_commands_that_are_shown_after_a_run_have_the_plugin(capsys, folder):
    from tinyq.run.result import next_commands

    outcome = json.loads((folder / "all" / "result.json").read_text())
    plugins.use(f"{folder}/all/parts.py,{folder}/all/fix.py")
    for command in next_commands(outcome, folder / "all"):
        assert ended(capsys, command.removeprefix("python -m tinyq.").replace("audit.", "audit "))[0] == 0


@pytest.mark.parametrize("action", ["--dry-run", "--print-config"])
def test_a_configuration_that_names_a_plugin_runs_it_only_where_a_flag_names_it_too(capsys, folder, tmp_path, action):
    plugin = folder / "parts-was.py"
    (tmp_path / "c.toml").write_text(f'plugin = "{plugin}"\nmodel = "tiny"\ndata = "spirals"\nmethod = "backprop"\n'
                                     "[spirals]\nturns = 2.0\n")
    line = f"train --config {tmp_path}/c.toml {action}"
    code, said = ended(capsys, line)
    assert code == 65 and f"add --plugin {plugin}" in said.err
    code, said = ended(capsys, line, "--plugin", plugin)
    assert code == 0, said.err


def forged(run, change):
    """Change config.toml and the first record together, and make the chain anew."""
    path = run / "config.toml"
    path.write_text(re.sub("plugin = .*", change, path.read_text()))

    def rename(records):
        records[0]["config_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    audit_runs.rewrite(run, rename)


def exchanged(run):
    (run / "fix.py").write_text(PARTS)


def linked(run):
    (run / "fix.py").rename(run.parent / "other.py")
    (run / "fix.py").symlink_to(run.parent / "other.py")


def recorded_as_another(run):
    audit_runs.rewrite(run, lambda records: records[0]["settings"]["code"].update({"fix.py": "0" * 64}))


def not_recorded(run):
    audit_runs.rewrite(run, lambda records: records[0]["settings"].pop("code"))


def named_beside(run):
    (run / "parts.py").write_text(PARTS)
    forged(run, f'plugin = "{run}/fix.py,{run}/parts.py"')


def another_named(run):
    (run / "parts.py").write_text(PARTS)
    forged(run, f'plugin = "{run}/parts.py"')


def recorded_too(run):
    """All records agree that the run had a second plug-in, which replaces the method of the first."""
    named_beside(run)
    (run / "parts.py").write_text(PARTS + STE)

    def record(records):
        digest = hashlib.sha256((run / "parts.py").read_bytes()).hexdigest()
        records[0]["settings"]["code"]["parts.py"] = digest
        records[0]["settings"]["plugin"] = "fix.py,parts.py"

    audit_runs.rewrite(run, record)


@pytest.mark.parametrize("change, says", [
    (exchanged, "fix.py differs from the file that the run began with"), (linked, "fix.py is a link"),
    (recorded_as_another, "fix.py differs from the file"), (not_recorded, "names other code than the settings"),
    (named_beside, "settings on record differ in plugin"), (another_named, "settings on record differ in plugin"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_code_of_a_forged_folder_is_found_and_never_run(capsys, run, change, says):
    change(run)
    for command in ("audit verify", "audit verify --trust"):
        code, said = ended(capsys, command, run)
        assert code == 76 and says in said.err
    code, said = ended(capsys, "audit replay --step 3 --trust", run)
    assert code == 65 and ("fix.py" in said.err or "parts.py" in said.err)
    if change not in (recorded_as_another, not_recorded):               # a resume trusts what its checkpoint records
        assert ended(capsys, "train --trust --epochs 4 --resume", run)[0] == (73 if change is linked else 65)
    assert times_run() == 0


def test_a_plugin_that_was_put_on_record_later_is_found_by_the_checkpoints(capsys, run):
    recorded_too(run)
    code, said = ended(capsys, "audit verify", run)
    assert code == 76 and "checkpoints/" in said.err and times_run() == 0
    assert ended(capsys, "train --trust --epochs 4 --resume", run)[0] == 65 and times_run() == 0
    code, said = ended(capsys, "audit replay --step 3 --trust", run)
    assert code == 2 and "there is the method fix already, plug-in" in said.err


def test_a_method_that_nothing_on_record_explains_is_refused(capsys, run, folder):
    """Without a plug-in on record an unknown method is a fault; a setting that is on record and unknown, bad input."""
    without = re.sub("plugin = .*", "# plugin is not set", (run / "config.toml").read_text())
    (run / "config.toml").write_text(without)
    assert ended(capsys, "audit verify", run)[0] == 76

    def forget(records):
        records[0]["config_sha256"] = hashlib.sha256(without.encode()).hexdigest()
        records[0]["settings"].update(plugin=None)
        del records[0]["settings"]["code"]

    audit_runs.rewrite(run, forget)
    code, said = ended(capsys, "audit verify", run)
    assert code == 65 and "no setting named 'fix.factor'" in said.err and len(said.err.splitlines()) == 1


def test_a_method_without_an_audit_has_the_rules_of_a_sum_alone(capsys, tmp_path):
    (tmp_path / "fix.py").write_text(STE.replace("    audit = ", "    another = "))
    train(plugin=tmp_path / "fix.py", model="mlp:8,16", data="iris", output=str(tmp_path / "run"), **SMALL)
    code, said = ended(capsys, "audit verify --trust", tmp_path / "run")
    assert code == 0 and "no rules known for StraightThrough: its class has no audit" in said.out

    def wrong(records):
        next(r for r in records if r["record"] == "epoch" and r["phase"] == "fix")["measured"]["loss"] = (0.5).hex()

    audit_runs.rewrite(tmp_path / "run", wrong)
    code, said = ended(capsys, "audit verify --trust", tmp_path / "run")
    assert code == 76 and "the mean over its steps" in said.err


def test_a_rule_of_a_plugin_is_held_against_the_records(capsys, run):
    def wrong(records):
        next(r for r in records if r["record"] == "epoch" and r["phase"] == "fix")["metrics"]["scales"] = "0" * 64

    audit_runs.rewrite(run, wrong)
    code, said = ended(capsys, "audit verify --trust", run)
    assert code == 76 and "scales is 000000" in said.err


def test_an_error_of_a_plugin_in_training_names_its_line(capsys, tmp_path):
    (tmp_path / "fix.py").write_text(STE.replace("    def state(self)", "    def update(self, batches):\n"
                                                 "        return 1 / 0\n\n    def state(self)", 1))
    number = (tmp_path / "fix.py").read_text().splitlines().index("        return 1 / 0") + 1
    code, said = ended(capsys, f"train --plugin {tmp_path}/fix.py --model mlp:8,16 --data iris --method fix --recipe",
                       f"none --pretrain-epochs 0 --epochs 1 --threads 1 --workers 0 --output {tmp_path}/run")
    assert code == 2 and f"{tmp_path}/fix.py:{number} failed: ZeroDivisionError: division by zero" in said.err
