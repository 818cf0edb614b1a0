"""A cheating owner: whatever one thing is changed, and the rest made consistent, verify or replay finds it."""
import random
import shutil

import pytest
from audit_runs import METHODS, resume, train
from forgeries import Forger, is_found, reseal

SETTINGS = {"audit_every": 10, "max_steps": 17}


@pytest.fixture(scope="module", params=["cbp", "rpr"])
def original(request, tmp_path_factory):
    """A run with checks on record that was stopped and resumed; that of CBP was extended within an epoch, too."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    train(folder, request.param, **SETTINGS)
    if request.param == "cbp":
        resume(folder, epochs=2 + METHODS["cbp"]["epochs"], max_steps=1000)
    resume(folder, max_steps=1000)
    return folder


def passed(original, folder, count, seed):
    """What was changed in the forgeries that nothing found."""
    forger, draw, silent = Forger(original, folder), random.Random(seed), []
    for _ in range(count):
        run, what = forger.forge(draw)
        if not is_found(run) and what is not None:
            silent.append(what)
    return silent


def test_an_honest_run_sealed_anew_passes(original, tmp_path):
    run = shutil.copytree(original, tmp_path / "run")
    reseal(run, Forger(run, tmp_path).records)
    assert not is_found(run)


def test_forgeries_are_found(original, tmp_path):
    assert passed(original, tmp_path, 15, seed=0) == []


@pytest.mark.slow
def test_a_thousand_forgeries_are_found(original, tmp_path):
    assert passed(original, tmp_path, 500, seed=1) == []
