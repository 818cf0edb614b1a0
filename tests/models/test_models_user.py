import pytest

from tinyq import models, nn
from tinyq.errors import UsageError

USER_FILE = """\
from __future__ import annotations
import sys
from dataclasses import dataclass
from tinyq.nn import BatchNorm1d, Dropout, Linear, Module, Sequential

@dataclass
class Sizes:
    hidden: int = 7

def three_layers(num_classes, input_shape):
    return Sequential(Linear(input_shape[0], Sizes().hidden), Linear(7, 5), Linear(5, num_classes))

class HeadFirst(Module):
    def __init__(self, num_classes, input_shape, **options):
        self.head, self.unused = Linear(4, num_classes), Linear(9, 9)
        self.stem, self.norm, self.drop = Linear(input_shape[0], 4), BatchNorm1d(4), Dropout(0.5)
        self.a, self.b = Linear(4, 4, **options), Linear(4, 4)
        self.drop.eval()
        self.spare = Linear(2, 2)

    def forward(self, x):
        x = self.drop(self.norm(self.stem(x)))
        return self.head(self.b(self.a(self.b(x))))

def a_float(num_classes, input_shape):
    return HeadFirst(num_classes, input_shape, constrained=False)

def text(num_classes, input_shape):
    return "a model"

def broken(num_classes, input_shape):
    return 1 / 0

def leaves(num_classes, input_shape):
    sys.exit("no more")

def no_arguments():
    return None

class Clumsy(HeadFirst):
    def forward(self, x):
        return self.head(self.unused(x))

class Wordy(HeadFirst):
    def forward(self, x):
        return "logits"

class Headless(HeadFirst):
    def forward(self, x):
        return self.stem(x)
"""


def line(text):
    """What a message says of the line that is this text."""
    return f"nets.py:{[row.strip() for row in USER_FILE.splitlines()].index(text) + 1} failed: "


@pytest.fixture
def build(tmp_path):
    (tmp_path / "nets.py").write_text(USER_FILE)
    return lambda factory, *constrain: models.build(f"{tmp_path}/nets.py:{factory}", 3, (4,), *constrain)


def marked(model):
    return [name for name, _ in model.constrained_parameters()]


def test_a_users_file_builds_a_model(build):
    model = build("three_layers")
    assert isinstance(model, nn.Module) and marked(model) == ["1.weight"]


def test_first_and_last_are_by_the_order_in_which_a_sample_meets_them(build):
    assert marked(build("HeadFirst")) == ["a.weight", "b.weight"]
    assert marked(build("HeadFirst", "all")) == ["head.weight", "stem.weight", "a.weight", "b.weight"]
    assert marked(build("HeadFirst", "none")) == []


def test_a_layer_that_its_file_leaves_float_stays_float(build):
    assert marked(build("a_float")) == ["b.weight"]
    assert "a.weight" not in marked(build("a_float", "all"))


def test_the_traced_sample_leaves_nothing_behind(build):
    model = build("HeadFirst")
    assert [name for name, module in model.named_modules() if not module.training] == ["drop"]
    assert model.norm.num_batches_tracked == 0 and not any("effective" in vars(p) for p in model.parameters())


@pytest.mark.parametrize(("factory", "says"), [
    ("four_layers", "defines no four_layers"),
    ("text", "text returned a str"),
    ("broken", line("return 1 / 0") + "ZeroDivisionError: division by zero"),
    ("leaves", line('sys.exit("no more")') + "SystemExit: no more"),
    ("no_arguments", "nets.py failed: TypeError: no_arguments() takes 0 positional arguments"),
    ("Clumsy", line("return self.head(self.unused(x))") + "unused (Linear): linear: "),
    ("Wordy", "one sample of (4,) gives a str, not logits of (1, 3)"),
    ("Headless", "one sample of (4,) gives a Tensor of (1, 4), not logits of (1, 3)"),
])
def test_what_is_wrong_with_a_users_file_is_said_in_one_line(build, factory, says):
    with pytest.raises(UsageError) as refusal:
        build(factory)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(("text", "says"), [
    ("x = 1\ndef f(:\n", "nets.py:2 failed: SyntaxError"),
    ("import no_such_module\n", "nets.py:1 failed: ModuleNotFoundError"),
])
def test_a_users_file_that_cannot_be_imported_is_named(tmp_path, text, says):
    (tmp_path / "nets.py").write_text(text)
    with pytest.raises(UsageError, match=says):
        models.build(f"{tmp_path}/nets.py:f", 3, (4,))


@pytest.mark.parametrize(("text", "name", "line"), [
    ("\nfrom layers import block\n", "layers", 2), ("from .layers import block\n", "layers", 1),
    ("from . import layers\n", "layers", 1), ("def f(n, s):\n    import parts.one\n", "parts", 2)])
def test_a_module_beside_a_users_file_is_refused_wherever_it_is_found_from(tmp_path, monkeypatch, text, name, line):
    (tmp_path / "nets.py").write_text(text)
    (tmp_path / "layers.py").write_text("raise RuntimeError('was run')\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").touch()
    for folders in ([], [str(tmp_path)]):
        for folder in folders:
            monkeypatch.syspath_prepend(folder)             # as python -m does for the working folder
        with pytest.raises(UsageError, match=rf"nets.py:{line} imports {name}, which lies beside it, .* put the code"):
            models.build(f"{tmp_path}/nets.py:f", 3, (4,))


def test_a_file_beside_does_not_hide_an_installed_module(tmp_path):
    (tmp_path / "numpy.py").touch()
    (tmp_path / "nets.py").write_text("import numpy, json\nfrom tinyq import nn\n"
                                      "def f(n, shape): return nn.Linear(*shape, n)\n")
    assert isinstance(models.build(f"{tmp_path}/nets.py:f", 3, (4,)), nn.Linear)
