"""Links in a run folder that somebody else prepared: nothing is written through them."""
import os
import shutil

import pytest

from tinyq.__main__ import main

TRAIN = ("train --model mlp:8,16 --data iris --method cbp --recipe none --epochs 2 --pretrain-epochs 1 --max-steps 9 "
         "--threads 1 -j 0 --output").split()
VICTIM = b"export PATH=/home/me/bin:$PATH\n"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that --resume goes on with."""
    run = tmp_path_factory.mktemp("links") / "run"
    assert main([*TRAIN, str(run)]) == 0
    return run


@pytest.fixture
def foreign(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "foreign")


def refused(capsys, argv):
    capsys.readouterr()
    code, said = main(list(map(str, argv))), capsys.readouterr().err
    assert code == 73 and len(said.splitlines()) == 1 and "is a link" in said, said


FILES = ["model.h5", "model.tq.h5", "float.h5", "result.json", "metrics.jsonl", "ledger.jsonl", "plots/curves.svg",
         "plots/levels.svg", "checkpoints/step-000000012.h5", "diverged.h5", ".lock", "config.toml"]


@pytest.mark.parametrize("name, exists", [(name, exists) for name in FILES for exists in (True, False)
                                          if exists or name != "config.toml"])       # without which it is no run
def test_a_resume_writes_through_no_link(capsys, foreign, tmp_path, name, exists):
    victim = tmp_path / "victim"
    (foreign / name).unlink(missing_ok=True)
    if exists:
        victim.write_bytes(VICTIM)
    (foreign / name).symlink_to(victim)
    refused(capsys, ["train", "--resume", foreign, "--max-steps", 12])
    assert victim.read_bytes() == VICTIM if exists else not victim.exists()


@pytest.mark.parametrize("name", ["checkpoints", "plots", "audit", "new"])
def test_a_resume_enters_no_folder_by_a_link(capsys, foreign, stopped, name, tmp_path):
    if (foreign / name).is_dir():
        shutil.rmtree(foreign / name)
    mine = shutil.copytree(stopped, tmp_path / "mine")
    (mine / name).mkdir(exist_ok=True)
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    (foreign / name).symlink_to(mine / name)
    refused(capsys, ["train", "--resume", foreign, "--max-steps", 12])
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["config.toml", "ledger.jsonl", "checkpoints", ".lock", "x"])
@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "dangling"])
def test_a_prepared_output_folder_is_refused(capsys, tmp_path, name, exists):
    trap, victim = tmp_path / "trap", tmp_path / "victim"
    trap.mkdir()
    if exists:
        victim.write_bytes(VICTIM)
    (trap / name).symlink_to(victim)
    refused(capsys, [*TRAIN, trap])
    assert victim.read_bytes() == VICTIM if exists else not victim.exists()
    assert os.listdir(trap) == [name]


def test_an_output_folder_that_every_user_may_change_is_refused(capsys, tmp_path):
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap").chmod(0o777)
    assert main([*TRAIN, str(tmp_path / "trap")]) == 73
    assert "every user may change" in capsys.readouterr().err and not os.listdir(tmp_path / "trap")


def test_hard_links_in_a_resumed_folder_keep_their_contents(capsys, foreign, tmp_path):
    kept = {}
    for number, name in enumerate(FILES[:-1]):
        path = foreign / name
        if not path.exists():
            path.touch()
        os.link(path, tmp_path / f"victim{number}")
        kept[tmp_path / f"victim{number}"] = path.read_bytes()
    main(["train", "--resume", str(foreign), "--max-steps", "12"])
    assert {path: path.read_bytes() for path in kept} == kept
