"""One weight at one step: its gradient is the sum of its terms, and its update comes out to the bit."""
from types import SimpleNamespace

import numpy as np
import pytest
from audit_runs import METHODS, of_step, read, rewrite, train

from tinyq import nn, optim
from tinyq.__main__ import main
from tinyq.audit.capture.capture import Capture
from tinyq.audit.explain.explanation import explain
from tinyq.audit.explain.gradient_terms import layer_gradients
from tinyq.audit.explain.one_weight import OneWeight, weight_of
from tinyq.audit.explain.update_lines import update_of
from tinyq.audit.methods.method_audit import no_lines
from tinyq.autodiff import tape
from tinyq.data import Batch, Table
from tinyq.errors import AuditMismatch, UsageError
from tinyq.methods import CBP, RPR, Backprop
from tinyq.run.checkpoint import Position
from tinyq.streams import Streams

STREAMS = Streams(7)


class Net(nn.Module):
    """Every kind of layer: strides, padding and groups, batch norm with and without ReLU, and a broadcast sum."""

    def __init__(self):
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, (2, 3), stride=(2, 1), padding=(0, 1), groups=2), nn.BatchNorm2d(4)
        self.pool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.shift = nn.Parameter(np.full(6, 0.3, np.float32))
        self.idle = nn.Parameter(np.ones(2, np.float32))

    def forward(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x), relu=True)))
        return self.fc2(self.fc1(self.flatten(self.pool(x))) + self.shift)


def batch(number, n=6):
    stream = STREAMS.key("batch", number)
    y = stream.integers(0, 3, n)
    x = stream.normal((n, 1, 7, 7)) + y[:, None, None, None] * 0.5
    return Batch(x.astype(np.float32), y, np.arange(n) + 100 * number)


METHOD = {"backprop": Backprop, "cbp": lambda: CBP(lambda_lr=0.05, period=1), "rpr": lambda: RPR(epochs=5)}
OPTIMIZER = {
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "plain": lambda p: optim.SGD(p, lr=0.05),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01), "adamw": lambda p: optim.AdamW(p, lr=0.01)}


def captured_step(method, optimizer, steps=2):
    """Two micro-batches per step; the last step is captured."""
    model = nn.constrain(Net().initialise(STREAMS), "inner")
    optimizer, method = OPTIMIZER[optimizer](model.parameters()), METHOD[method]()
    method.begin(model.train(), optimizer, Table(*batch(0)[:2]), STREAMS)
    if isinstance(method, CBP):
        method.step([batch(0)])
        method.end_epoch()                                              # multipliers above 0
    for step in range(steps):
        batches, capture = [batch(2 * step), batch(2 * step + 1)], Capture(model, optimizer)
        with tape.traced(capture.note), tape.traced_vjps(capture.note_vjp):
            method.step(batches)
    phase = SimpleNamespace(name="phase", method=method, optimizer=optimizer, first_epoch=0)
    return capture.finished(phase, Position(steps=steps - 1), batches)


def some_weights(captured):
    stream = STREAMS.key("weights")
    for name in captured.handed:
        shape = captured.before[name].shape
        for _ in range(3):
            yield OneWeight(name, tuple(int(stream.integers(0, n, 1)[0]) for n in shape), shape)


PAIRS = [*(("backprop", name) for name in OPTIMIZER), *((m, o) for m in ("cbp", "rpr") for o in ("momentum", "adam"))]


@pytest.mark.parametrize("method, optimizer", PAIRS)
def test_every_gradient_is_the_sum_of_its_terms_and_every_update_recombines(method, optimizer):
    captured, kinds = captured_step(method, optimizer), set()
    for weight in some_weights(captured):
        found = layer_gradients(captured, weight)
        assert len(found) == 2, weight                                  # micro-batches
        assert [one.samples[0] for one in found] == [200, 300]
        for one in found:
            assert abs(float(one.float32) - one.float64) <= one.bound, (weight, one)
            kinds.add((one.layer.partition(" ")[0], one.terms is None, one.quantiser))
        update = update_of(captured, weight)
        assert update.exact and update.lines[-1][1] == captured.after[weight.name][weight.index], weight
    quantiser = {"backprop": "", "cbp": "straight_through", "rpr": "part_frozen"}[method]
    assert {("conv2d", False, quantiser), ("linear", False, ""), ("batch_norm", False, ""), ("add", True, ""),
            ("batch_norm_relu", False, "")} <= kinds


def test_a_wrong_update_and_a_wrong_gradient_are_said_so():
    captured = captured_step("cbp", "momentum")
    weight = OneWeight("conv2.weight", (0, 0, 0, 0), (4, 2, 2, 3))
    assert "  recombined: equal to the weight after the step, bit for bit" in explain(captured, weight)
    captured.after["conv2.weight"][weight.index] += np.float32(1e-3)
    for application in captured.applications:
        if application.name == "conv2d of conv2.weight":
            g, gx = application.vjps[1]
            application.vjps[1] = g, gx + np.float32(1)
    text = "\n".join(explain(captured, weight))
    assert "  recombined: NOT the weight after it, " in text and "BEYOND the bound of rounding errors" in text


def test_the_largest_terms_have_their_sample_and_place():
    captured = captured_step("cbp", "momentum")
    weight = OneWeight("conv2.weight", (3, 1, 1, 2), (4, 2, 2, 3))
    [first, _] = layer_gradients(captured, weight)
    at = np.unravel_index(np.abs(first.terms).argmax(), first.terms.shape)
    lines = explain(captured, weight)
    listed = lines[next(i for i, line in enumerate(lines) if "---" in line) + 1].split("  ")
    assert [text.strip() for text in listed if text.strip()] == [
        str(first.samples[at[0]]), str(tuple(map(int, at[1:]))), f"{first.terms[at]:.9g}"]
    assert any("sum over places" in line for line in lines)


def test_few_terms_are_all_listed_and_a_sum_that_is_not_taken_apart_says_so():
    captured = captured_step("backprop", "plain")
    text = "\n".join(explain(captured, OneWeight("shift", (1,), (6,))))
    assert "this primitive is not taken apart into terms" in text
    small = [line for line in explain(captured, OneWeight("fc2.bias", (1,), (3,))) if "smaller term" in line]
    assert small == ["  and 1 smaller term"] * 2
    captured.batches[:] = [Batch(b.x[:3], b.y[:3], b.indices[:3]) for b in captured.batches]
    for a in captured.applications:
        a.vjps.update({p: (g[:3], gx) for p, (g, gx) in a.vjps.items() if a.name == "linear of fc2.weight"})
        if a.name == "linear of fc2.weight":
            object.__setattr__(a, "inputs", (a.inputs[0][:3], *a.inputs[1:]))
    assert not any("smaller" in line for line in explain(captured, OneWeight("fc2.bias", (1,), (3,))))


@pytest.mark.parametrize("weight", [OneWeight("none", (1,), (2,)), OneWeight("idle", (2,), (3,))])
def test_a_ledger_of_another_network_is_a_mismatch(weight):
    with pytest.raises(AuditMismatch, match="the network of the run has not"):
        explain(captured_step("backprop", "plain"), weight)


def test_a_weight_without_a_gradient_is_not_updated():
    lines = explain(captured_step("backprop", "plain"), OneWeight("idle", (1,), (2,)))
    assert lines[-1] == "  no gradient reaches it in this step: it is not updated"


PHASES = [{"tensors": {"conv2.weight": [4, 2, 3, 3], "fc.bias": [3]}}]


@pytest.mark.parametrize("text, says", [
    ("conv2.wieght[0,0,0,0]", "did you mean 'conv2.weight'?"), ("", "no such tensor"),
    ("conv2.weight", "has shape (4, 2, 3, 3); give one index per axis from 0, as in conv2.weight[0,0,0,0]"),
    ("conv2.weight[0,0,0]", "one index per axis"), ("conv2.weight[0,0,0,3]", "one index per axis"),
    ("fc.bias[-1]", "one index per axis"), ("fc.bias[0", "one index per axis"),
    ("fc.bias[\u0661]", "one index per axis"),
    ("fc.bias[99999999999]", "one index per axis"), ("fc.bias[]", "one index per axis")])
def test_a_wrong_name_or_index_is_refused(text, says):
    with pytest.raises(UsageError) as refusal:
        weight_of(text, PHASES)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [5, ["a"], [0], [True]])
def test_a_shape_that_is_none_is_a_mismatch(shape):
    with pytest.raises(AuditMismatch, match="a shape that is none"):
        weight_of("a[0]", [{"tensors": {"a": shape}}])


def test_a_name_is_read():
    weight = weight_of("conv2.weight[3, 1,2,0]", PHASES)
    assert weight.index == (3, 1, 2, 0) and str(weight) == "conv2.weight[3,1,2,0]"


@pytest.mark.parametrize("method, step", [("cbp", 30), ("conntra", 30)])
def test_the_command_explains_a_step_of_a_run(method, step, tmp_path, capsys):
    run = tmp_path / "run"
    train(run, method)
    arguments = ["audit", "explain", str(run), "--step", str(step), "--weight"]
    assert main([*arguments, "fc2.weight[3,2]"]) == 0
    out = capsys.readouterr().out
    assert f"fc2.weight[3,2] of shape (16, 8), step {step} (phase {method}, " in out and "nearest level: " in out
    if method == "conntra":
        visited, moves = set(), of_step([line.record for line in read(run / "ledger.jsonl")], step)["metrics"]["moves"]
        for _, number, code, error in moves[:1]:
            assert number < 32 + 8 + 128 + 16 + 48 + 3
            starts = {"fc1.weight": (0, (8, 4)), "fc1.bias": (32, (8,)), "fc2.weight": (40, (16, 8)),
                      "fc2.bias": (168, (16,)), "fc3.weight": (184, (3, 16)), "fc3.bias": (232, (3,))}
            name = [key for key, (start, _) in starts.items() if start <= number][-1]
            index = np.unravel_index(number - starts[name][0], starts[name][1])
            assert main([*arguments, f"{name}[{','.join(map(str, index))}]"]) == 0
            out = capsys.readouterr().out
            assert f"level number {code} is kept, with error {error} (moved)" in out and "it flips" in out
            visited.add(name)
        assert visited
    assert main([*arguments, "fc9.weight[3,2]"]) == 2 and "did you mean" in capsys.readouterr().err
    assert main(["audit", "explain", str(run), "--step", "999", "--weight", "fc1.bias[0]"]) == 2
    rewrite(run, lambda records: of_step(records, step).update(x="0" * 64))
    assert main([*arguments, "fc2.weight[3,2]"]) == 76


def test_a_method_without_gradients_has_no_lines_of_its_own():
    assert no_lines(None, "w", (0,)) == [] and "conntra" in METHODS
