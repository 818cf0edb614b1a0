"""What would end a run after its first epoch, or leave it unpacked, is known and said before it begins."""
import shlex

import numpy as np
import pytest

from tinyq import pack, train
from tinyq.data import load
from tinyq.errors import UsageError
from tinyq.packed.network import PackedNetwork
from tinyq.run import finish, session
from tinyq.run.settings.resolve import resolve

NETS = """\
from tinyq.nn import BatchNorm1d, BatchNorm2d, Conv2d, Flatten, Linear, Module, ReLU, Sequential, Sigmoid
from tinyq.functional import clip, exp, where

def normed(n, shape):
    return Sequential(Linear(shape[0], 8), BatchNorm1d(8), ReLU(), Linear(8, 8), Linear(8, n))

def planes(n, shape):
    return Sequential(BatchNorm2d(shape[0]), Flatten(), Linear(64, 8), Linear(8, 8), Linear(8, n))

class Small(Module):
    def __init__(self, n, shape, features=64):
        self.a, self.bn = Conv2d(shape[0], 4, 3, padding=1, bias=False), BatchNorm2d(4)
        self.b, self.c = Conv2d(4, 4, 3, stride=2, padding=1), Linear(features, n)
        self.relu, self.flat, self.sigmoid = ReLU(), Flatten(), Sigmoid()
    def body(self, x):
        return self.relu(self.b(self.relu(self.bn(self.a(x)))))

class View(Small):
    def forward(self, x):
        x = self.body(x)
        return self.c(x.reshape(x.shape[0], -1))

class Mean(Small):
    def __init__(self, n, shape):
        super().__init__(n, shape, 4)
    def forward(self, x):
        return self.c(self.body(x).mean((2, 3)))

class Relu6(Small):
    def forward(self, x):
        x = clip(self.bn(self.a(x)), low=0.0, high=6.0)
        return self.c(self.flat(clip(self.b(x), low=0.0, high=6.0)))

class Softmax(Small):
    def forward(self, x):
        z = exp(self.c(self.flat(self.body(x))))
        return z / z.sum(1, keepdims=True)

class SigmoidLast(Small):
    def forward(self, x):
        return self.sigmoid(self.c(self.flat(self.body(x))))

class Scaled(Small):
    def forward(self, x):
        return self.c(self.flat(self.body(x * 2 - 1) * 0.5)) / 0.7

class Odd(Module):
    def __init__(self, n, shape):
        self.a, self.b, self.c = Linear(shape[0], 8), Linear(8, 8), Linear(8, n)
    def forward(self, x):
        x = self.b(self.a(x))
        return self.c(where(x.data > 0, x, x * 0.1))
"""
SETTINGS = {"data": "iris", "method": "cbp", "recipe": "none", "pretrain_epochs": 1, "epochs": 1, "threads": 1,
            "workers": 0}


@pytest.fixture
def nets(tmp_path):
    folder = tmp_path / "my nets"
    folder.mkdir()
    (folder / "nets.py").write_text(NETS)
    return folder / "nets.py"


def start(nets, name, **changes):
    own = {"model": f"{nets}:{name}", "output": str(nets.parent / "run")}
    return session.start(resolve({**SETTINGS, **own, **changes}))


@pytest.mark.parametrize("batch_size", [104, 13])           # 105 samples: one is left over
def test_a_lone_last_sample_joins_the_batch_before_it_and_a_resume_continues_within(nets, batch_size):
    whole, _ = start(nets, "normed", batch_size=batch_size)
    steps = 105 // batch_size
    assert whole["steps"] == 2 * steps
    folder = nets.parent / "stopped"
    start(nets, "normed", batch_size=batch_size, output=str(folder), max_steps=2 * steps - 1)
    resumed, _ = session.resume(folder, {"max_steps": 99}, trust=True)
    assert resumed["weights_sha256"] == whole["weights_sha256"]


def test_batches_of_one_are_refused_before_training_where_batch_norm_cannot_take_them(nets, capsys):
    with pytest.raises(UsageError, match="batch_size 1: the batch norm 1 has one value per channel and sample"):
        start(nets, "normed", batch_size=1)
    assert not (nets.parent / "run").exists()
    flags = f"--model '{nets}:normed' --data iris --method cbp --recipe none --pretrain-epochs 0 --epochs 0 --threads 1"
    assert train.main([*shlex.split(flags), "-b", "1", "--dry-run"]) == 2
    assert "tinyq: --batch-size 1: the batch norm 1 has" in capsys.readouterr().err
    assert train.main([*shlex.split(flags), "-b", "2", "--dry-run"]) == 0
    huge = "-b 2147483647 --accumulate 2147483647"                      # no more than there are samples and batches
    assert train.main([*shlex.split(flags), *huge.split(), "--dry-run"]) == 0
    with pytest.raises(UsageError, match="--lr-min 5.0: must be at most the learning rate, 0.01"):
        start(nets, "normed", schedule="cosine", lr_min=5.0)
    start(nets, "planes", batch_size=1, data="digits", epochs=0, pretrain_epochs=0)       # 64 values per channel


def test_a_network_that_cannot_be_packed_is_named_before_training_and_trains(nets, capsys):
    says = "the network computes where, which a packed file cannot hold; the run trains"
    flags = f"--model '{nets}:Odd' --data iris --method cbp --recipe none --pretrain-epochs 0 --epochs 0 --threads 1"
    assert train.main([*shlex.split(flags), "--dry-run"]) == 0
    assert f"packed file  {says}" in capsys.readouterr().out
    outcome, folder = start(nets, "Odd")
    lines = capsys.readouterr().out.splitlines()
    assert outcome["bytes_packed_file"] is None and (folder / "model.h5").exists()
    assert f"tinyq: {says}" in lines[1]
    assert "tinyq: no model.tq.h5: the network computes where, which a packed file cannot hold" in lines


@pytest.mark.parametrize("name", ["View", "Mean", "Relu6", "Softmax", "SigmoidLast", "Scaled"])
def test_the_idioms_of_peoples_own_networks_are_packed_and_exported(nets, tmp_path, name):
    settings = {"data": "digits", "pretrain_epochs": 0, "max_steps": 1, "batch_size": 32, "audit": "off"}
    outcome, folder = start(nets, name, **settings)
    assert outcome["bytes_packed_file"]
    packed = tmp_path / f"{name}.tq.h5"
    own = ["--model", f"{nets}:{name}", "--float-layer-bits", "8", "--calibrate"]
    assert pack.main([str(folder), str(packed), *own]) == 0
    assert pack.main([str(packed), "--c", str(tmp_path / "c")]) == 0
    x = load("digits").arrays("test")[0][:50]
    floats, codes = (PackedNetwork.load(packed, kind)(x) for kind in ("float32", "int16"))
    assert np.abs(floats - codes).max() <= 0.01 * np.abs(floats).max()


def test_the_command_that_packs_after_a_full_disk_works(nets, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(28, "No space left on device", "model.tq.h5")

    monkeypatch.setattr(finish.packed_files, "write", full)
    _, folder = start(nets, "normed")
    monkeypatch.undo()
    command = capsys.readouterr().out.rpartition("then make one with: ")[2].splitlines()[0]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "tinyq.pack"] and pack.main(words[3:]) == 0
    assert PackedNetwork.load(folder / "model.tq.h5")(np.zeros((2, 4), np.float32)).shape == (2, 3)
