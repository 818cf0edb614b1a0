"""Checkpoints as training scripts leave them, made by torch itself: converted to the bit, or refused in true words."""
import argparse
import collections
import dataclasses
import datetime
import enum
import pathlib
import pickle
import warnings

import numpy as np
import pytest

from tinyq import models
from tinyq.convert import main
from tinyq.errors import BadInput, TinyqError
from tinyq.saved.foreign.choice import open_foreign, weights_for
from tinyq.saved.measure import logits_of
from tinyq.saved.model_file import load_model
from tinyq.streams import Streams

torch = pytest.importorskip("torch")
SHAPE = (3, 8, 8)
OURS = models.build("resnet20", 4, SHAPE).initialise(Streams(0))
STATE = OURS.state_dict()


class Block(torch.nn.Module):
    """A residual block under our names; its shortcut has no weights."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(c_in, c_out, 3, bias=False), torch.nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = torch.nn.Conv2d(c_out, c_out, 3, bias=False), torch.nn.BatchNorm2d(c_out)


class Net(torch.nn.Module):
    """ResNet-20's weights."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 16, 3, bias=False), torch.nn.BatchNorm2d(16)
        widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
        blocks = [Block(c_in, c_out) for c_in, c_out in zip(widths[:-1], widths[1:], strict=True)]
        self.layer1, self.layer2, self.layer3 = (torch.nn.Sequential(*blocks[k:k + 3]) for k in (0, 3, 6))
        self.fc = torch.nn.Linear(64, 4)

    def forward(self, x):
        return self.fc(x)


class Own(dict):
    """A dict of a user's class."""


@dataclasses.dataclass
class Settings:
    """Settings of a user's class."""

    rate: float = 0.1


class Colour(enum.Enum):
    """A choice of a user's."""

    RED = 1


NET = Net()
NET.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in STATE.items()})
SD = NET.state_dict()


def each(change):
    return collections.OrderedDict((name, change(value)) for name, value in SD.items())


def prefixed(prefix):
    return collections.OrderedDict((prefix + name, value) for name, value in SD.items())


def floats(change):
    return each(lambda value: change(value) if value.is_floating_point() else value)


def averaged():
    model = torch.optim.swa_utils.AveragedModel(NET)
    model.update_parameters(NET)
    return model.state_dict()


def optimiser(make):
    parameters = list(NET.parameters())
    used = make(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    before = {name: value.clone() for name, value in SD.items()}
    used.step()
    NET.load_state_dict(before)
    return used


def scheduler():
    return torch.optim.lr_scheduler.MultiStepLR(optimiser(lambda p: torch.optim.SGD(p, 0.1)), [30, 60]).state_dict()


def shared_storage():
    flat = torch.cat([value.reshape(-1).float() for value in SD.values()])
    ends = np.cumsum([value.numel() for value in SD.values()]).tolist()
    return {name: flat[end - value.numel():end].reshape(value.shape).to(value.dtype)
            for (name, value), end in zip(SD.items(), ends, strict=True)}


def with_attribute(value):
    value = torch.nn.Parameter(value.clone(), requires_grad=False)
    value.note = "mine"
    return value


def quantised():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # deprecated, but in many files
        return torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)


QUANTISED = quantised()
SGD = optimiser(lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)).state_dict()
ADAM = optimiser(lambda p: torch.optim.AdamW(p, 0.001)).state_dict()
OLD = dict(_use_new_zipfile_serialization=False)
CONVERTED = {                                           # name of the file: (what is saved, options of torch.save)
    "plain.pth": SD, "plain.bin": SD, "plain": SD, "plain.th": dict(SD), "best.pth.tar": SD,
    "imagenet, on one GPU.pth.tar": {"epoch": 1, "arch": "resnet18", "state_dict": SD, "best_acc1": torch.tensor(12.5),
                                     "optimizer": SGD, "scheduler": scheduler()},
    "imagenet, on several.pth.tar": {"epoch": 1, "state_dict": prefixed("module."), "best_acc1": 12.5,
                                     "optimizer": SGD},
    "torchvision.pth": {"model": SD, "optimizer": SGD, "lr_scheduler": scheduler(), "epoch": 1,
                        "args": argparse.Namespace(lr=0.1, model="resnet18", device=torch.device("cpu"))},
    "torchvision with an average.pth": {"model": SD, "model_ema": averaged(), "optimizer": ADAM, "epoch": 1},
    "counter.pth": {"model": SD, "milestones": collections.Counter([30, 60])},
    "numpy scalar.pth": {"state_dict": SD, "best_acc": np.float64(93.1), "seen": np.int64(3)},
    "numpy arrays beside.pth": {"state_dict": SD, "confusion": np.eye(4), "names": np.array(["cat", "dog"])},
    "numpy arrays.pth": {"model": {name: value.numpy() for name, value in SD.items()}},
    "pytorch-cifar.pth": {"net": prefixed("module."), "acc": 95.2, "epoch": 9},
    "compiled.pth": prefixed("_orig_mod."), "compiled, then parallel.pth": prefixed("module._orig_mod."),
    "parallel, then compiled.pth": prefixed("_orig_mod.module."),
    "timm.pth.tar": {"epoch": 1, "arch": "resnet18", "state_dict": SD, "state_dict_ema": floats(lambda v: v + 1),
                     "version": 2, "metric": 77.1, "args": argparse.Namespace(a=1), "amp_scaler": {"scale": 2.0}},
    "averaged.pth": averaged(),
    "an average alone.pt": {"ema": averaged(), "updates": 7},
    "lightning.ckpt": {"epoch": 1, "pytorch-lightning_version": "2.1", "state_dict": prefixed("model."),
                       "callbacks": {"ModelCheckpoint": {"best": torch.tensor(1.0)}}, "optimizer_states": [ADAM],
                       "hyper_parameters": Own(rate=0.1), "loops": {"fit": {"state_dict": {}}}},
    "half.pth": floats(torch.Tensor.half), "bfloat16.pth": floats(torch.Tensor.bfloat16),
    "double.pth": floats(torch.Tensor.double),
    "parameters.pth": each(lambda value: torch.nn.Parameter(value, requires_grad=False)),
    "parameters with attributes.pth": each(with_attribute),
    "parallel.pth": torch.nn.DataParallel(NET).state_dict(),
    "size, device, dtype.pth": {"model": SD, "shape": torch.Size([1, 2]), "device": torch.device("cpu"),
                                "dtype": torch.float32, "layout": torch.strided},
    "random states.pth": {"state_dict": SD, "rng_state": torch.get_rng_state(), "numpy": np.random.default_rng(0)},
    "own classes.pth": {"model": SD, "settings": Settings(), "colour": Colour.RED, "when": datetime.date(2020, 1, 1),
                        "path": pathlib.Path("x"), "fn": np.sum, "kind": Settings},
    "own dict.pth": {"model": Own(SD)},
    "default dict.pth": {"model": collections.defaultdict(dict, SD), "seen": collections.deque([1]), "set": {1}},
    "quantised beside.pth": {"model": SD, "q": QUANTISED,
                             "c": torch.zeros(2, dtype=torch.complex64), "sparse": torch.eye(3).to_sparse(),
                             "f8": torch.zeros(2, dtype=torch.float8_e4m3fn)},
    "one storage.pth": shared_storage(),
    "turned.pth": each(lambda value: value.transpose(0, -1).contiguous().transpose(0, -1) if value.ndim else value),
    "channels last.pth": each(lambda v: v.to(memory_format=torch.channels_last) if v.ndim == 4 else v),
    "three dicts deep.pth": {"train": {"state": {"model": SD}}, "epoch": 1},
    "another key.pth": {"weights": SD, "log": [{"loss": torch.tensor(1.0)}]},
    "a module beside.pth": {"state_dict": SD, "criterion": torch.nn.CrossEntropyLoss(), "model": NET},
    "old, plain.pth": (SD, OLD),
    "old, whole.pth": ({"state_dict": prefixed("module."), "optimizer": SGD, "args": argparse.Namespace(lr=0.1)}, OLD),
    "old, one storage.pth": (shared_storage(), OLD), "old, half.pth": (floats(torch.Tensor.half), OLD),
    "old, quantised beside.pth": ({"model": SD, "q": torch.zeros(2, dtype=torch.complex64)}, OLD),
    "protocol 4.pth": (SD, dict(pickle_protocol=4)), "protocol 5.pth": (SD, dict(pickle_protocol=5)),
}
REFUSED = {
    "a whole model.pth": (NET, "it is a whole model .*Net., which only its own code can load"),
    "a whole model in a dict.pt": ({"epoch": 1, "model": NET}, "it is a whole model"),
    "an old whole model.pth": ((NET, OLD), "it is a whole model"),
    "no weights.pth": ({"epoch": 3, "args": argparse.Namespace()}, "no state_dict, but 'epoch' .a number., 'args' .an"),
    "a list.pth": ([torch.ones(2)], "holds no state_dict, but a list"),
    "a tensor.pth": (torch.ones(3), "but a tensor"),
    "an optimiser.pth": (SGD, "holds no state_dict"),
    "settings inside.pth": ({**SD, "args": argparse.Namespace()}, "'args' is an object of argparse.Namespace, not a"),
    "quantised.pth": ({**SD, "q": QUANTISED}, "'q' is an object of torch._utils._rebuild_qtensor, not a tensor"),
    "complex.pth": (floats(lambda v: v.to(torch.complex64)), "of a ComplexFloatStorage, which is not supported"),
    "another network.pth": ({f"conv{k}.w": torch.ones(2) for k in range(9)}, "has 0 of the network's [0-9]+ names"),
    "two networks.pth": ({"a": SD, "b": floats(lambda v: v / 2)}, "key: .* several sets of weights; choose from: a, b"),
}


def saved(path, content):
    what, options = content if type(content) is tuple else (content, {})
    torch.save(what, path, **options)
    return path


def rounded_as(name, value):
    """A tensor's values in a file whose name says that it holds half or bfloat16."""
    kind = name.removeprefix("old, ").partition(".")[0]
    rounded = {"half": torch.Tensor.half, "bfloat16": torch.Tensor.bfloat16}.get(kind)
    return rounded(value).float().numpy() if rounded and value.is_floating_point() else value.numpy()


def test_there_are_forty_forms():
    assert len(CONVERTED) + len(REFUSED) >= 40


@pytest.mark.parametrize("name", CONVERTED)
def test_a_checkpoint_becomes_the_weights_that_torch_saved(tmp_path, name):
    state, remarks = weights_for(open_foreign(saved(tmp_path / name, CONVERTED[name])), STATE, None, 3)
    for key, value in SD.items():
        np.testing.assert_array_equal(state[key], rounded_as(name, value), key)
    assert state.keys() == SD.keys() and bool(remarks) == ("average.pth" in name or name.startswith("timm"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_converted_is_said_to_be_what_it_is(tmp_path, name):
    content, reason = REFUSED[name]
    with pytest.raises(TinyqError, match=reason):
        weights_for(open_foreign(saved(tmp_path / name, content)), STATE, None, 3)


@pytest.mark.parametrize("key, change", [("state_dict", 0.0), ("state_dict_ema", 1.0)])
def test_a_key_chooses_among_several(tmp_path, key, change):
    path = saved(tmp_path / "a", CONVERTED["timm.pth.tar"])
    state, remarks = weights_for(open_foreign(path), STATE, key, 3)
    np.testing.assert_array_equal(state["fc.bias"], SD["fc.bias"].numpy() + np.float32(change))
    other = {"state_dict": "state_dict_ema", "state_dict_ema": "state_dict"}[key]
    assert remarks == [f"the weights under {key!r}, not '{other}'"]


def test_a_script_is_refused_and_its_remedy_works(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                 # deprecated, but in many files
        torch.jit.save(torch.jit.script(torch.nn.Linear(4, 3)), tmp_path / "script.pt")
    with pytest.raises(BadInput, match=r"TorchScript archive.*torch.save.torch.jit.load.FILE..state_dict.., ...."):
        weights_for(open_foreign(tmp_path / "script.pt"), STATE, None, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(torch.jit.load(tmp_path / "script.pt").state_dict(), tmp_path / "weights.pt")
    own = {"weight": np.zeros((3, 4), np.float32), "bias": np.zeros(3, np.float32)}
    assert weights_for(open_foreign(tmp_path / "weights.pt"), own, None, 4)[0].keys() == own.keys()


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("change", [torch.Tensor.numpy, torch.Tensor.clone], ids=["arrays", "tensors"])
def test_a_plain_pickle_is_read(tmp_path, change, protocol):
    held = {"model": {name: change(value) for name, value in SD.items()}, "__author__": "someone"}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(held, protocol))
    state, _ = weights_for(open_foreign(tmp_path / "a.pkl"), STATE, None, 3)
    for name, value in SD.items():
        np.testing.assert_array_equal(state[name], value.numpy())


@pytest.mark.parametrize("name", ["imagenet, on several.pth.tar", "half.pth", "bfloat16.pth"])
def test_the_command_writes_a_network_with_the_same_logits(tmp_path, capsys, name):
    saved(tmp_path / name, CONVERTED[name])
    flags = "--model", "resnet20", "--input-shape", "3,8,8"
    assert main([str(tmp_path / name), str(tmp_path / "out.h5"), *flags]) == 0, capsys.readouterr().err
    model, _ = load_model(tmp_path / "out.h5")
    x = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    theirs = models.build("resnet20", 4, SHAPE)
    theirs.load_state_dict({key: rounded_as(name, value) for key, value in SD.items()}, source="torch")
    np.testing.assert_array_equal(logits_of(model, x), logits_of(theirs.eval(), x))


def test_the_command_names_its_flag(tmp_path, capsys):
    path = saved(tmp_path / "a.pth", REFUSED["two networks.pth"][0])
    flags = [str(path), str(tmp_path / "out.h5"), "--model", "resnet20", "--input-shape", "3,8,8"]
    assert main(flags) == 2
    assert "--key: " in capsys.readouterr().err
    assert main([*flags, "--key", "c"]) == 2 and "--key 'c': no weights under it" in capsys.readouterr().err
    assert main([*flags, "--key", "b"]) == 0 and "the weights under 'b', not 'a'" in capsys.readouterr().out
