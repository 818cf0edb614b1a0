"""Extensions and best networks that are not what the ledger says."""
import dataclasses
import shutil

import pytest
from audit_runs import resume, rewrite, train
from forgeries import reseal

from tinyq.audit.ledger.hash_chain import chain
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay_all import replay_all
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, InputOutputError, UsageError
from tinyq.files import weights as weight_files
from tinyq.files.weights import weights_sha256
from tinyq.run import checkpoint


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended") / "run"
    train(folder)
    resume(folder, epochs=4)
    return folder


@pytest.fixture
def run(extended, tmp_path):
    return shutil.copytree(extended, tmp_path / "run")


def of_kind(records, kind):
    return next(record for record in records if record["record"] == kind)


def moved_to_the_end(records):
    record = of_kind(records, "extension")
    records.remove(record)
    records.append(record)


CHANGES = {
    "fewer epochs": (lambda r: of_kind(r, "extension").update(epochs=3), "extends the run from 3 epochs to 3"),
    "other epochs": (lambda r: of_kind(r, "extension").update(epochs=9), "says other extensions of the run"),
    "another step": (lambda r: of_kind(r, "extension").update(step=28), "is at step 28, after step 35"),
    "elsewhere": (moved_to_the_end, "does not follow a resume"),
    "none": (lambda r: r.remove(of_kind(r, "extension")), "says other extensions of the run"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_extension_that_was_changed_is_found(name, run):
    change, says = CHANGES[name]
    rewrite(run, change)
    with pytest.raises(AuditMismatch, match=says):
        verify(run)


def test_an_extension_that_was_killed_is_superseded(run, monkeypatch):
    def die(*arguments):
        raise InputOutputError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", die)
        with pytest.raises(InputOutputError):
            resume(run, epochs=9)
    resume(run, epochs=5)
    assert "extended at step 42 to 5 epochs of cbp" in verify(run)
    assert replay_all(Source(run, {})).compared == 49


def test_steps_behind_the_checkpoint_forbid_an_extension(run):
    max((run / "checkpoints").iterdir()).unlink()
    with pytest.raises(UsageError, match="steps after the newest checkpoint"):
        resume(run, epochs=9)


def test_a_checkpoint_of_another_input_is_found(run):
    path = max((run / "checkpoints").iterdir())
    position, states = checkpoint.load(path)
    network = {**position.network, "input_shape": "5"}
    checkpoint.write(path, dataclasses.replace(position, network=network), states)
    reseal(run, [line.record for line in chain(run / "ledger.jsonl")])
    with pytest.raises(AuditMismatch, match="says another input_shape than the data"):
        replay_final(Source(run, {}))


@pytest.mark.parametrize("change, says", [
    (lambda held: held.attributes.update(epoch=1), "names another best epoch"),
    (lambda held: held.attributes.update(ledger_head="0" * 64), "does not name this ledger's end"),
    (lambda held: held.state["fc1.bias"].__iadd__(1), "best.h5 has other weights than the checkpoint of epoch"),
    (lambda held: (held.scales["fc2.weight"].__imul__(2), held.state["fc2.weight"].__imul__(2)), "best.h5 has other")])
def test_a_best_network_of_another_epoch_or_content_is_found(change, says, run):
    held = weight_files.read(run / "best.h5")
    change(held)
    held.attributes["weights_sha256"] = weights_sha256(held.state)
    weight_files.write(run / "best.h5", held)
    if "does not name" not in says:
        reseal(run, [line.record for line in chain(run / "ledger.jsonl")])
    with pytest.raises(AuditMismatch, match=says):
        verify(run)


def test_a_best_network_whose_checkpoint_is_gone_is_not_derived(run):
    best = weight_files.read_attributes(run / "best.h5")["epoch"]
    steps = checkpoint.path_of(run / "checkpoints", 7 * best)
    steps.unlink()
    assert f"best: of epoch {best}; replay --final derives it, if its checkpoint is there" in verify(run)
