"""The walk back: order, what is called, what is freed, depth, and the errors a user can make."""
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

from tinyq import nn
from tinyq.autodiff import Primitive, Tensor, detach, elementwise, no_record, primitives, tape
from tinyq.errors import TinyqError, UsageError


def leaf(*values, dtype=np.float64):
    return Tensor(np.array(values, dtype), requires_grad=True)


def identity(note=lambda g: None, name="identity"):
    """A primitive that hands g on and tells `note` about it."""
    def rule(x):
        def vjp(g):
            note(g)
            return g

        return x + 0, (vjp,)

    rule.__name__ = name
    return Primitive(rule)


def test_a_small_expression():
    x, w = leaf(2.0, 3.0), leaf(5.0, 7.0)
    (x * w + x).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [6, 80]
    assert w.grad.tolist() == [2, 30]


def test_several_backward_calls_add_up_in_the_leaves():
    x = leaf(3.0)
    for _ in range(3):
        (x * x).backward()
    assert x.grad.tolist() == [18]


def test_a_leaf_that_is_its_own_output_gets_the_incoming_gradient():
    x, g = leaf(1.0, 2.0), np.array([3.0, 4.0])
    x.backward(g)
    assert x.grad.tolist() == [3, 4] and x.grad is not g


def test_contributions_are_added_from_the_latest_use_to_the_earliest():
    """1e16 + 1 + 1 + ... loses every 1 unless the ones come first."""
    x = leaf(1.0)
    early = x * 1e16
    late = [x * 1.0 for _ in range(4)]
    total = early
    for y in late:
        total = total + y
    total.backward()
    assert x.grad[0] == 4 + 1e16


def test_the_order_is_that_of_creation_not_of_the_graph():
    seen = []
    a = identity(lambda g: seen.append("a"))
    b = identity(lambda g: seen.append("b"))
    x = leaf(1.0)
    first, second = a(x), b(x)
    (second + first).backward()
    assert seen == ["b", "a"]


def test_a_node_is_passed_once_however_often_it_is_used():
    calls = []
    h = identity(calls.append)(leaf(1.0))
    (h + h * h).backward()
    assert len(calls) == 1 and calls[0].tolist() == [3]


def test_vjps_are_called_only_for_inputs_that_want_a_gradient():
    def rule(x, y):
        return x + y, (lambda g: g, lambda g: pytest.fail("nobody asked"))

    x = leaf(1.0)
    Primitive(rule)(x, Tensor(np.ones(1))).backward()
    Primitive(rule)(x, np.ones(1)).backward()
    assert x.grad.tolist() == [2]


def test_what_only_an_unwanted_vjp_reads_is_not_kept():
    big = np.ones(1000)
    alive = weakref.ref(big)
    w = Tensor(np.ones(1000))
    y = elementwise.mul(Tensor(big), leaf(*w.data)) + 0.0
    del big
    assert alive() is not None, "the second vjp reads the first input"
    y = elementwise.mul(leaf(*w.data), y.data)
    gc.collect()
    assert alive() is None and y.requires_grad


def test_none_passes_and_gets_no_gradient():
    def rule(x, shift=None):
        return x if shift is None else x + shift, (lambda g: g, lambda g: g)

    x, shift = leaf(1.0), leaf(2.0)
    op = Primitive(rule)
    op(x, None).backward()
    op(x).backward()
    op(x, shift=shift).backward()
    assert x.grad.tolist() == [3] and shift.grad.tolist() == [1]


def test_no_gradient_flows_where_the_vjp_is_none():
    op = Primitive(lambda x, scale: (x * scale, (lambda g: g * scale, None)))
    x, scale = leaf(1.0), leaf(2.0)
    op(x, scale).backward()
    assert scale.grad is None and x.grad.tolist() == [2]
    assert not op(Tensor(np.ones(1)), scale).requires_grad


def test_auxiliary_outputs_are_declared_and_follow_the_tensor():
    def forward(x):
        return x * 2, (lambda g: g * 2,), ("more",)

    with pytest.raises(TinyqError, match="forward: the forward function returns 3 values; 2 are declared"):
        Primitive(forward)(leaf(1.0))
    op = Primitive(forward, auxiliary=True)
    y, more = op(leaf(1.0))
    assert isinstance(y, Tensor) and more == "more"


def test_no_record_and_detach_make_constants():
    x = leaf(1.0)
    with no_record():
        y = x * x
        with no_record():
            pass
        assert not (x * x).requires_grad
    assert not y.requires_grad and not detach(x * x).requires_grad
    assert (x * x).requires_grad, "recording is back"
    with pytest.raises(KeyError), no_record():
        raise KeyError
    assert (x * x).requires_grad, "after an error too"


def test_a_node_can_be_run_again():
    x = leaf(2.0)
    y = elementwise.power(x, exponent=3)
    again, _ = y.node.primitive.forward(x.data, **y.node.params)
    assert again == y.data and y.node.edges[0][:2] == (0, x)


def test_nothing_is_recorded_without_a_leaf():
    assert (Tensor(np.ones(2)) * 2.0).node is None


# Memory and depth

@pytest.mark.parametrize("depth", [5_000, 50_000])
def test_deep_graphs_do_not_recurse(depth):
    x = leaf(1.0)
    y = x
    for _ in range(depth):
        y = -y
    y.backward()
    assert x.grad.tolist() == [1 - 2 * (depth % 2)]


def test_deep_graphs_are_dropped_without_recursion():
    y = leaf(1.0)
    for _ in range(50_000):
        y = y * y
    first = weakref.ref(y.node.edges[0][1])
    del y
    assert first() is None


def test_what_a_rule_kept_is_freed_as_backward_passes_it():
    kept, alive_at_vjp = [], []

    def rule(x):
        saved = x.copy()
        kept.append(weakref.ref(saved))

        def vjp(g):
            alive_at_vjp.append(sum(ref() is not None for ref in kept))
            return g * saved

        return x * 1.0, (vjp,)

    op, y = Primitive(rule), leaf(*np.ones(10))
    for _ in range(6):
        y = op(y)
    y.backward(np.ones(10))
    assert alive_at_vjp == [6, 5, 4, 3, 2, 1]
    assert not any(ref() is not None for ref in kept), "though the output is still here"


def test_backward_needs_a_few_arrays_beyond_what_forward_kept():
    x = Tensor(np.ones(100_000), requires_grad=True)
    tracemalloc.start()
    try:
        y = x
        for _ in range(20):
            y = elementwise.tanh(y)
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.backward(np.ones(100_000))
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept > 20 * x.data.nbytes
    assert peak < kept + 6 * x.data.nbytes
    assert left < 4 * x.data.nbytes


def test_no_reference_cycles():
    """What is dropped goes at once, not when the collector comes."""
    gc.collect()
    gc.disable()
    try:
        y = leaf(1.0) * 2.0 + 1.0
        node = weakref.ref(y.node)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_a_leaf_owns_its_gradient():
    x, y, g = leaf(1.0, 2.0), leaf(3.0, 4.0), np.ones(2)
    (x + y).backward(g)
    x.grad[:] = 7
    assert y.grad.tolist() == [1, 1] and g.tolist() == [1, 1]
    z = leaf(*range(6))
    z.reshape(2, 3).backward(np.ones((2, 3)))
    assert z.grad.base is None


# Assertions on rules

def test_a_gradient_of_the_wrong_dtype_is_caught():
    op = Primitive(lambda x: (x * 2, (lambda g: g.astype(np.float64),)))
    with pytest.raises(TinyqError, match=r": the gradient of input 0 is float64 \(1,\), the input float32 \(1,\)"):
        op(leaf(1.0, dtype=np.float32)).backward()


@pytest.mark.parametrize("broadcasts", [False, True])
@pytest.mark.parametrize("shape", [(2,), (3, 1), (3, 2), (4,), ()])
def test_a_gradient_of_the_wrong_shape_is_caught(shape, broadcasts):
    op = Primitive(lambda x: (x * 2, (lambda g: np.ones(shape),)), broadcasts)
    with pytest.raises(TinyqError, match="the gradient of input 0 is float64"):
        op(Tensor(np.ones((2, 3)), requires_grad=True)).backward(np.ones((2, 3)))


def test_a_sum_over_a_stretched_axis_is_only_made_for_primitives_that_broadcast():
    def rule(x, y):
        return x + y, (lambda g: g, lambda g: g)

    x, y = leaf(1.0), leaf(1.0, 2.0, 3.0)
    Primitive(rule, broadcasts=True)(x, y).backward(np.ones(3))
    assert x.grad.tolist() == [3]
    with pytest.raises(TinyqError, match="rule: the gradient of input 0"):
        Primitive(rule)(x, y).backward(np.ones(3))


@pytest.mark.parametrize("shape, stretched", [
    ((), (2, 3)), ((3,), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (2, 3)), ((1,), (4, 1)),
    ((2, 1, 1), (5, 2, 3, 1)),
])
def test_unbroadcast_sums_what_was_stretched(shape, stretched):
    g = np.arange(np.prod(stretched), dtype=np.float64).reshape(stretched)
    copies = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), stretched)
    expected = np.bincount(copies.ravel(), g.ravel()).reshape(shape)
    assert np.array_equal(primitives.unbroadcast(g, shape), expected)


def test_a_float64_output_of_float32_inputs_is_caught():
    op = Primitive(lambda x: (x * np.ones(1), (None,)))
    with pytest.raises(TinyqError, match="the forward function made float64 of float32 inputs"):
        op(leaf(1.0, dtype=np.float32))


def test_too_few_vjps_are_caught():
    op = Primitive(lambda x, y: (x * y, (lambda g: g,)))
    with pytest.raises(TinyqError, match="1 vjps for 2 inputs"):
        op(leaf(1.0), leaf(1.0))


def test_two_modules_cannot_declare_one_name(monkeypatch):
    monkeypatch.setattr(primitives, "PRIMITIVES", {"relu": elementwise.relu})

    def relu(x):
        return x, (None,)

    with pytest.raises(TinyqError, match="primitive 'relu' is declared in tinyq.autodiff.elementwise and"):
        primitives.primitive(relu)


def test_shared_work_is_done_once_for_each_gradient():
    calls = []
    shared = primitives.once(lambda g: calls.append(1) or g * 2)
    g = np.ones(2)
    assert shared(g) is shared(g) and len(calls) == 1
    shared(np.ones(2))
    assert len(calls) == 2


def test_a_tracer_receives_a_parameter_and_its_effective_weight_as_themselves():
    met = []
    layer = nn.Linear(2, 3).astype(np.float64)
    with tape.traced(lambda primitive, inputs, params, output: met.append(inputs)):
        layer(leaf(1.0, 2.0).reshape(1, 2))
        layer.weight.parametrization = lambda latent: (latent * 2.0, None)
        layer(leaf(1.0, 2.0).reshape(1, 2))
    plain, parametrized = met[1], met[-1]
    assert plain[1] is layer.weight and plain[3] is layer.bias and plain[2] is None
    assert parametrized[1] is not layer.weight and parametrized[1].parameter is layer.weight
    assert detach(layer.weight).parameter is layer.weight


def test_every_thread_has_a_tape_of_its_own():
    met, results = [], []

    def work():
        x = leaf(3.0)
        y = x * x
        y.backward()
        results.append((tape.state.tracer, x.grad.tolist()))

    with no_record(), tape.traced(lambda *call: met.append(call)):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not (leaf(3.0) * leaf(3.0)).requires_grad
    assert results == [(None, [6.0])] and len(met) == 1


# Errors a user can make: one line that names the operation and the shapes

def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize("call, words", [
    (lambda: leaf(1.0, 2.0).backward(), r"backward: the tensor is \(2,\); give its gradient"),
    (lambda: leaf(1.0).backward(np.ones(2)), r"backward: the gradient is float64 \(2,\), the tensor float64 \(1,\)"),
    (lambda: leaf(1.0).backward(np.ones(1, np.float32)), "backward: the gradient is float32"),
    (lambda: Tensor(np.ones(1)).backward(), "backward: no leaf behind this tensor requires a gradient"),
    (lambda: Tensor(np.arange(3)), "Tensor: the data is int64; give float32 or float64"),
    (lambda: Tensor(["a"]), "Tensor: the data is <U1"),
    (lambda: leaf(1.0, 2.0) + leaf(1.0, 2.0, 3.0), r"add: .*inputs: float64 \(2,\), float64 \(3,\)"),
    (lambda: leaf(1.0) * leaf(1.0, dtype=np.float32),
     r"mul: float32 and float64 do not mix; inputs: float64 \(1,\), float32 \(1,\)"),
    (lambda: leaf(1.0) * np.ones(1, np.float32), "mul: float32 and float64 do not mix"),
    (lambda: elementwise.mul(leaf(1.0), "2"), "mul: an input is a str; give a Tensor, an array, a number or None"),
    (lambda: leaf(1.0) * [2.0], "mul: an input is a list"),
    (lambda: elementwise.sqrt(np.arange(3)), r"sqrt: no input is float32 or float64; inputs: int64 \(3,\)"),
    (lambda: leaf(1.0, 2.0)[5], r"getitem: index 5 is out of bounds.*inputs: float64 \(2,\)"),
    (lambda: leaf(1.0, 2.0).reshape(3), r"reshape: cannot reshape .*inputs: float64 \(2,\)"),
    (lambda: leaf(1.0, 2.0) @ leaf(1.0), r"matmul: .*inputs: float64 \(2,\), float64 \(1,\)"),
])
def test_user_errors_are_one_clear_line(call, words):
    with pytest.raises(UsageError, match=words) as error:
        call()
    assert one_line(error)


def test_a_graph_cannot_be_walked_twice():
    x = leaf(2.0)
    h = x * x
    y, z = h * 3.0, h * 4.0
    y.backward()
    for again in (y, z):
        with pytest.raises(UsageError, match="backward: the graph behind mul is freed by an earlier backward"):
            again.backward()


# Operators

def test_operators_take_numbers_and_arrays_on_both_sides_in_the_tensors_dtype():
    x = leaf(2.0, 4.0, dtype=np.float32)
    a = np.array([1, 2], np.float32)
    for y, expected in [(x + 1, [3, 5]), (1 + x, [3, 5]), (x - 1, [1, 3]), (1 - x, [-1, -3]), (x * 0.5, [1, 2]),
                        (3 * x, [6, 12]), (x / 4, [0.5, 1]), (8 / x, [4, 2]), (-x, [-2, -4]), (x ** 2, [4, 16]),
                        (x ** -1, [0.5, 0.25]), (x[1:], [4]), (a * x, [2, 8]), (a - x, [-1, -2]),
                        (x * np.float64(2), [4, 8]),
                        (x.sum(), 6), (x.mean(), 3), (x.reshape(2, 1), [[2], [4]]), (x.reshape((1, -1)), [[2, 4]]),
                        (x.reshape(-1), [2, 4]), (x.reshape(1, 2).transpose(), [[2], [4]]),
                        (x.reshape(1, 2, 1).transpose(1, 0, 2), [[[2]], [[4]]]), (x.sum(0, keepdims=True), [6])]:
        assert isinstance(y, Tensor) and y.dtype == np.float32 and y.requires_grad
        assert y.data.tolist() == expected


def test_a_tensor_says_what_it_is():
    x = leaf(1.5)
    assert (x.shape, x.dtype, x.ndim, x.size, x.item()) == ((1,), np.float64, 1, 1, 1.5)
    assert repr(x) == "Tensor(float64 (1,), requires_grad: [1.5])"
    assert repr(-x) == "Tensor(float64 (1,), from neg: [-1.5])"
    assert repr(detach(x)) == "Tensor(float64 (1,): [1.5])"
    assert repr(elementwise.neg) == "<primitive neg>"


def test_vjps_are_told_with_what_they_were_given_and_made():
    x, w = Tensor(np.array([1.0, 2.0]), requires_grad=True), Tensor(np.array([3.0, 4.0]), requires_grad=True)
    told = []
    with tape.traced_vjps(lambda node, position, parent, g, gx: told.append(
            (node.primitive.name, position, parent, g.tolist(), gx.tolist()))):
        elementwise.mul(x, w).backward(np.array([1.0, 10.0]))
    assert told == [("mul", 0, x, [1.0, 10.0], [3.0, 40.0]), ("mul", 1, w, [1.0, 10.0], [1.0, 20.0])]
    elementwise.mul(x, w).backward(np.array([1.0, 10.0]))
    assert len(told) == 2


def test_a_traced_primitive_comes_with_its_node():
    told = []
    with tape.traced(lambda primitive, arrays, params, output: told.append(output.node)):
        y = elementwise.neg(Tensor(np.ones(2), requires_grad=True))
    assert told == [y.node] and y.node is not None
