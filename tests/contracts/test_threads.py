"""Trainings in several Python threads: each gives the bits that it gives alone, and a ledger that replays."""
import json
import threading

import numba
import pytest

from tinyq.audit import replay_run
from tinyq.train import train

IRIS = dict(model="mlp:8,16", data="iris", recipe="none", batch_size=16, pretrain_epochs=2, epochs=6, workers=0,
            threads=1)
JOBS = {
    "cbp": {**IRIS, "method": "cbp", "lr": 0.05, "cbp.period": 1},
    "rpr": {**IRIS, "method": "rpr", "opt": "adam", "lr": 0.01},
    "digits": dict(model="digits_cnn", data="digits", method="backprop", recipe="none", lr=0.05, epochs=1, max_steps=8,
                   threads=min(2, numba.config.NUMBA_NUM_THREADS)),
}
ROUNDS = 3


def weights_after(job, folder):
    """Run a job; return its weights' SHA-256."""
    run = train(**JOBS[job], output=str(folder))
    return json.loads((run / "result.json").read_text())["weights_sha256"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return {job: weights_after(job, folder / job) for job in JOBS}


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_three_jobs_at_once_give_the_bits_of_each_alone(round_number, alone, tmp_path):
    found, errors = {}, []

    def work(job):
        try:
            found[job] = weights_after(job, tmp_path / job)
        except BaseException as error:                 # a thread's exception is lost otherwise
            errors.append((job, error))

    threads = [threading.Thread(target=work, args=(job,)) for job in JOBS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and found == alone
    for job in JOBS:
        assert replay_run(tmp_path / job, random=3) >= 3
