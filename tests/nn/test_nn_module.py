import ast
from pathlib import Path

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError
from tinyq.nn import BatchNorm1d, Conv2d, Dropout, Linear, Module, Parameter, ReLU, Sequential, evaluating, hooked
from tinyq.streams import Streams


class Branch(Module):
    def __init__(self):
        self.second = Linear(3, 4)
        self.first = Sequential(BatchNorm1d(4), Dropout(0.3), Linear(4, 2, bias=False))
        self.gain = Parameter(np.ones(2, np.float32))
        self.table = np.arange(3.0, dtype=np.float32)
        self.label, self.nothing = "not a parameter", None


def names(pairs):
    return [name for name, _ in pairs]


def test_modules_are_found_in_order_of_assignment_parents_first():
    assert names(Branch().named_modules()) == ["", "second", "first", "first.0", "first.1", "first.2"]


def test_parameters_buffers_and_state_have_dotted_names():
    model = Branch()
    assert names(model.named_parameters()) == [
        "gain", "second.weight", "second.bias", "first.0.weight", "first.0.bias", "first.2.weight"]
    assert names(model.named_buffers()) == [
        "table", "first.0.running_mean", "first.0.running_var", "first.0.num_batches_tracked"]
    assert list(model.state_dict()) == [
        "gain", "table", "second.weight", "second.bias", "first.0.weight", "first.0.bias",
        "first.0.running_mean", "first.0.running_var", "first.0.num_batches_tracked", "first.2.weight"]
    assert len(model.parameters()) == 6


def test_a_shared_layer_counts_once():
    model = Branch()
    model.again = model.second
    model.second.alias = model.gain
    assert len(model.parameters()) == 6 and len(model.named_modules()) == 6


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    first, second = (Branch().initialise(Streams(3)).state_dict() for _ in range(2))
    other = Branch().initialise(Streams(4)).state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["second.weight"], other["second.weight"])
    assert not np.array_equal(first["second.weight"].ravel()[:4], first["second.bias"])


def test_the_order_of_construction_does_not_matter():
    class Reversed(Branch):
        def __init__(self):
            self.third = Conv2d(2, 2, 3)
            super().__init__()
            vars(self).update(dict(reversed(vars(self).items())))

    assert names(Reversed().named_modules()) != names(Branch().named_modules())
    straight, turned = (kind().initialise(Streams(3)).state_dict() for kind in (Branch, Reversed))
    assert all(np.array_equal(straight[name], turned[name]) for name in straight)


def test_initialising_again_starts_afresh():
    model = Branch().initialise(Streams(3))
    before = model.state_dict()
    for array in model._arrays().values():
        if array is not model.table and array is not model.gain.data:
            array += 1
    after = model.initialise(Streams(3)).state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_train_and_eval_reach_every_module():
    model = Branch()
    assert all(module.training for _, module in model.named_modules())
    assert not any(module.training for _, module in model.eval().named_modules())
    assert all(module.training for _, module in model.train().named_modules())


def test_astype_converts_floats_and_leaves_counters():
    model = Branch().initialise(Streams(0))
    before = model.state_dict()
    after = model.astype(np.float64).state_dict()
    assert {name: array.dtype for name, array in after.items() if array.dtype != np.float64} == {
        "first.0.num_batches_tracked": np.dtype(np.int64)}
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_step_keys_each_dropout_by_its_name_epoch_and_step():
    model = Sequential(Dropout(0.5), Dropout(0.5))

    def draws(epoch, step):
        model.key_step(Streams(0), epoch, step)
        return [tuple(layer.stream.words(2)) for layer in model]

    assert draws(0, 0) == draws(0, 0)
    assert len({*draws(0, 0), *draws(0, 1), *draws(1, 0)}) == 6


def test_a_state_dict_is_a_copy_and_loads_back_in_place():
    model, other = Branch().initialise(Streams(1)), Branch()
    state = model.state_dict()
    model.second.weight.data += 1
    weight = other.second.weight.data
    assert other.load_state_dict(state) == []
    assert other.second.weight.data is weight
    assert all(np.array_equal(state[name], array) for name, array in other.state_dict().items())


def test_every_difference_is_listed_at_once_and_nothing_is_changed():
    model = Branch().initialise(Streams(1))
    before, state = model.state_dict(), Branch().state_dict()
    del state["gain"]
    state["extra.weight"] = np.zeros(3, np.float32)
    state["second.weight"] = np.zeros((3, 4), np.float32)
    state["second.bias"] = np.zeros(4)
    with pytest.raises(BadInput) as refusal:
        model.load_state_dict(state, source="model.h5")
    message = str(refusal.value)
    assert message.startswith("model.h5 does not fit this Branch: ") and "\n" not in message
    for part in ("missing gain", "extra extra.weight", "second.weight is float32 (3, 4), the model's float32 (4, 3)",
                 "second.bias is float64 (4,), the model's float32 (4,)"):
        assert part in message
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())


def test_without_strict_missing_and_extra_names_are_returned_but_wrong_shapes_are_not_forgiven():
    model, state = Branch(), Branch().initialise(Streams(1)).state_dict()
    del state["gain"]
    state["extra"] = np.zeros(3, np.float32)
    assert model.load_state_dict(state, strict=False) == ["missing gain", "extra extra"]
    assert np.array_equal(model.second.weight.data, state["second.weight"])
    with pytest.raises(BadInput, match=r"second.bias is float32 \(5,\)"):
        model.load_state_dict({"second.bias": np.zeros(5, np.float32)}, strict=False)


def test_the_effective_weight_is_the_parameter_itself_or_what_its_parametrization_makes():
    p = Parameter(np.ones((2, 3), np.float32))
    assert p.effective() == (p, None) and p.requires_grad and not p.constrained
    p.parametrization = lambda latent: (latent * 2.0, np.array([3.0, 4.0], np.float32))
    w, scale = p.effective()
    assert np.array_equal(w.data, np.full((2, 3), 2.0)) and list(scale) == [3.0, 4.0]


def test_the_tree_is_shown_a_module_a_line():
    assert repr(Sequential(Linear(3, 4), ReLU())) == (
        "Sequential()\n  0: Linear(3, 4, bias=True, constrained=True)\n  1: ReLU()")


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Branch defines no forward"):
        Branch()(np.zeros(3))


def test_weights_are_zeros_until_they_are_initialised():
    model = Sequential(Linear(3, 4), Conv2d(2, 2, 3))
    assert not any(p.data.any() for p in model.parameters())
    assert all(p.data.any() for p in model.initialise(Streams(0)).parameters())


def test_evaluating_puts_each_modules_own_mode_back_after_an_error_too():
    model = Branch()
    model.first.eval()
    before = [module.training for _, module in model.named_modules()]
    with pytest.raises(RuntimeError), evaluating(model) as inside:
        assert inside is model
        assert not any(module.training for _, module in model.named_modules())
        raise RuntimeError
    assert [module.training for _, module in model.named_modules()] == before
    assert len(set(before)) == 2


def test_a_hook_stands_in_for_each_call_inside_and_leaves_afterwards_even_by_an_error():
    model, met = Sequential(ReLU(), ReLU(), ReLU()), []
    x = Tensor(np.array([-1.0, 2.0], np.float32))

    def hook(module, call, *inputs):
        met.append(module)
        return call(*inputs) if module is model[0] else Tensor(inputs[0].data + 1)

    with pytest.raises(RuntimeError), hooked(list(model)[:2], hook):
        assert model(x).data.tolist() == [1.0, 3.0] and met == list(model)[:2]
        raise RuntimeError
    assert model(x).data.tolist() == [0.0, 2.0] and len(met) == 2


def test_hooks_nest_and_the_latest_is_the_outermost():
    layer, order = ReLU(), []

    def hook(name):
        def around(module, call, x):
            order.append(name)
            return call(x)
        return around

    with hooked([layer], hook("first")), hooked([layer], hook("second")):
        layer(Tensor(np.ones(1)))
    assert order == ["second", "first"]


def swapped(text):
    """Lines that assign `forward` or `effective` of another object."""
    return sorted(node.lineno for node in ast.walk(ast.parse(text))
                  if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del)
                  and node.attr in ("forward", "effective") and ast.unparse(node.value) != "self")


def test_nobody_swaps_a_layers_function_by_hand():
    root = Path(__file__).resolve().parents[2]
    found = {str(path): swapped(path.read_text()) for folder in ("tinyq", "models", "data")
             for path in (root / folder).rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert swapped("layer.forward = f\na, weight.effective = b\ndel layer.forward\nself.forward = f") == [1, 2, 3]


class Pair(Module):
    def __init__(self):
        self.act, self.conv = ReLU(), Conv2d(4, 4, 3)

    def forward(self, x):
        return self.act(self.conv(x))


def test_an_error_names_the_layer_by_its_path_its_class_and_the_users_line():
    model, x = Sequential(Conv2d(1, 4, 3), Sequential(Pair(), Pair())), Tensor(np.zeros((1, 3, 9, 9), np.float32))
    own = Path(__file__).name
    with pytest.raises(UsageError, match=rf"^0 \(Conv2d, {own}:\d+\): conv2d: input .*"):
        model(x)
    with pytest.raises(UsageError, match=rf"^1.0.conv \(Conv2d, {own}:\d+\): conv2d: input .1, 1, 7, 7. does") as found:
        Sequential(Conv2d(3, 1, 3), Sequential(Pair(), Pair()))(x)
    assert str(found.value).count("Conv2d") == 1, "the name is that from the outermost network on"
    with pytest.raises(UsageError, match=r"^conv2d: input"):
        Conv2d(1, 4, 3)(x)


def test_a_layers_parameter_under_another_name_is_answered_with_the_right_one():
    for make, says in (
            (lambda: Conv2d(in_channels=1, c_out=2, kernel_size=3), "Conv2d: no parameter in_channels; write c_in"),
            (lambda: nn.Softmax(dim=1), "Softmax: no parameter dim; write axis"),
            (lambda: nn.LeakyReLU(negative_slope=0.2), "LeakyReLU: no parameter negative_slope; write slope"),
            (lambda: Linear(3, 4, biass=True), "Linear: no parameter biass; did you mean 'bias'")):
        with pytest.raises(UsageError, match=says):
            make()


def test_forward_and_backward_hooks_see_and_replace_and_are_removed_in_any_order():
    layer, seen = Linear(2, 2).initialise(Streams(0)), []
    x = Tensor(np.ones((3, 2), np.float32), requires_grad=True)
    first = layer.register_forward_hook(lambda module, inputs, y: seen.append((module, inputs[0].shape, y.shape)))
    double = layer.register_forward_hook(lambda module, inputs, y: y * 2)
    back = layer.register_backward_hook(lambda module, g: g * 0)
    y = layer(x)
    assert seen == [(layer, (3, 2), (3, 2))]
    y.sum().backward()
    assert not x.grad.any()
    first.remove()
    plain = y.data / 2
    back.remove(), back.remove(), double.remove()
    assert np.array_equal(layer(x).data, plain) and len(seen) == 1 and layer.hooks == ()


def test_a_module_list_holds_layers_by_number_and_nothing_else():
    model = Sequential(Linear(2, 2))
    model.blocks = nn.ModuleList([Linear(2, 2), ReLU()])
    assert [name for name, _ in model.named_parameters()][2:] == ["blocks.0.weight", "blocks.0.bias"]
    with pytest.raises(UsageError, match="ModuleList: its layer 0 is a function"):
        nn.ModuleList([lambda x: x])


def test_a_network_is_saved_loaded_summarised_and_packed(tmp_path):
    from tinyq.levels import parse
    from tinyq.methods.straight_through import LevelQuantizer
    from tinyq.packed.network import PackedNetwork

    def small():
        return Sequential(Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), Linear(36, 3))

    model = small().initialise(Streams(0))
    model[0].weight.parametrization = LevelQuantizer(parse("ternary"), np.full(4, 0.25, np.float32))
    model[0].weight.data = np.sign(model[0].weight.data) * np.float32(0.25)
    model.save(tmp_path / "small.h5")
    other = small().load(tmp_path / "small.h5").eval()
    x = np.random.default_rng(0).standard_normal((2, 1, 5, 5)).astype(np.float32)
    assert np.array_equal(model.eval()(Tensor(x)).data, other(Tensor(x)).data)
    assert "ternary" in other.summary((1, 5, 5)) and "Linear" in other.summary((1, 5, 5))
    packed = PackedNetwork.from_model(other, (1, 5, 5))
    np.testing.assert_allclose(packed(x), other(Tensor(x)).data, rtol=1e-5, atol=1e-6)
    whole = PackedNetwork.from_model(Sequential(Conv2d(1, 4, 3), ReLU(), nn.Flatten(), Linear(36, 3)).initialise(
        Streams(0)), (1, 5, 5), "int8", [x])
    assert whole(x).shape == (2, 3)
    with pytest.raises(BadInput, match="small.h5"):
        Sequential(Conv2d(1, 4, 5)).load(tmp_path / "small.h5")
