"""Networks that PyTorch's two exporters wrote as ONNX: recognised, and with the logits that torch computes."""
import warnings

import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.saved.measure import logits_of
from tinyq.saved.model_file import load_model

torch = pytest.importorskip("torch")
pytest.importorskip("onnx", reason="onnx is not installed: torch cannot export")
F = torch.nn.functional


class LeNet(torch.nn.Module):
    """With layers under names of its own, and a view for a flatten."""

    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(1, 6, 5, padding=2), torch.nn.Conv2d(6, 16, 5)
        self.c, self.d, self.e = torch.nn.Linear(400, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.b(F.max_pool2d(F.relu(self.a(x)), 2))), 2)
        return self.e(F.relu(self.d(F.relu(self.c(x.view(x.size(0), -1))))))


class Block(torch.nn.Module):
    """A residual block whose shortcut takes every second pixel and adds channels of zeros."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.stride, self.more = (1 if c_in == c_out else 2), (c_out - c_in) // 2
        self.first = torch.nn.Conv2d(c_in, c_out, 3, self.stride, 1, bias=False)
        self.norm, self.other = torch.nn.BatchNorm2d(c_out), torch.nn.BatchNorm2d(c_out)
        self.second = torch.nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)

    def forward(self, x):
        shortcut = x if self.stride == 1 else F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
        return F.relu(self.other(self.second(F.relu(self.norm(self.first(x))))) + shortcut)


class ResNet20(torch.nn.Module):
    """He et al. 2016, section 4.2."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16)
        widths = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
        self.blocks = torch.nn.Sequential(*(Block(*pair) for pair in zip(widths[:-1], widths[1:], strict=True)))
        self.last = torch.nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.last(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


SHAPES = {"lenet": (LeNet, (1, 28, 28)), "resnet20": (ResNet20, (3, 12, 12))}


def trained(kind, shape):
    """A network whose batch norms have seen samples."""
    torch.manual_seed(0)
    net = kind()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    with torch.no_grad():
        net(torch.randn(8, *shape))
    return net.eval()


def export(net, shape, path, style):
    """style: folded and unfolded batch norms by the older exporter, and the newer exporter."""
    x = torch.randn(1, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if style == "newer":
            pytest.importorskip("onnxscript", reason="onnxscript is not installed: the newer exporter needs it")
            torch.onnx.export(net, x, path, dynamo=True, external_data=False, verbose=False)
        elif style == "older":
            torch.onnx.export(net, x, path, dynamo=False, dynamic_axes={"x": {0: "n"}}, input_names=["x"])
        else:
            torch.onnx.export(net, x, path, dynamo=False, opset_version=12, do_constant_folding=False,
                              training=torch.onnx.TrainingMode.PRESERVE)


@pytest.mark.parametrize("style", ["older", "unfolded", pytest.param("newer", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SHAPES)
def test_an_exported_network_has_the_logits_of_torch(tmp_path, capfd, name, style):
    kind, shape = SHAPES[name]
    net = trained(kind, shape)
    export(net, shape, str(tmp_path / "a.onnx"), style)
    capfd.readouterr()
    assert main(["convert", str(tmp_path / "a.onnx"), str(tmp_path / "b.h5")]) == 0
    out = capfd.readouterr().out
    assert f"b.h5: {name}, 10 classes" in out and "of noise" in out
    x = torch.randn(4, *shape)
    with torch.no_grad():
        theirs = net(x).numpy()
    ours = logits_of(load_model(tmp_path / "b.h5")[0], x.numpy())
    assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()
    if style == "unfolded" and name == "resnet20":
        state = load_model(tmp_path / "b.h5")[0].state_dict()
        np.testing.assert_array_equal(state["bn1.running_var"], net.norm.running_var.numpy())


def test_a_file_for_two_samples_at_once_is_compared_too(tmp_path, capfd):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    kind, shape = SHAPES["lenet"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(trained(kind, shape), torch.randn(2, *shape), str(tmp_path / "a.onnx"), dynamo=False)
    assert main(["convert", str(tmp_path / "a.onnx"), str(tmp_path / "b.h5")]) == 0
    assert "the same class for 4 of 4" in capfd.readouterr().out
