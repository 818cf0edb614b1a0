"""An array that changes between forward and backward is an error: the gradient would be wrong."""
import numpy as np
import pytest

from tinyq import Streams, nn, optim
from tinyq.autodiff import Tensor, elementwise
from tinyq.errors import UsageError


def leaf(*values, requires_grad=True):
    return Tensor(np.array(values, np.float32), requires_grad)


def add_one(t):
    t.data += 1


def assign_another(t):
    t.data = t.data * 2


def write_into(t):
    t.data[...] = 7


def write_one(t):
    t.data[-1] = 7


def write_through_another_name(t):
    np.negative(t.data, out=t.data)


WAYS = [add_one, assign_another, write_into, write_one, write_through_another_name]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", ["leaf", "constant"])
def test_what_a_primitive_read_must_not_change_before_backward(way, which):
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0, requires_grad=which == "leaf")
    y = (x * w).sum()
    way(w)
    with pytest.raises(UsageError, match=r"backward: an input of mul, float32 \(2,\), was changed since"):
        y.backward()


def test_an_array_given_to_a_primitive_must_not_change_either():
    x, w = leaf(1.0, 2.0), np.array([3.0, 4.0], np.float32)
    y = (x * w).sum()
    w += 1
    with pytest.raises(UsageError, match="an input of mul"):
        y.backward()


@pytest.mark.parametrize("way", [add_one, assign_another])
def test_data_assigned_to_an_output_is_an_error(way):
    y = elementwise.exp(leaf(1.0, 2.0))
    way(y)
    with pytest.raises(UsageError, match="the output of exp, float32 .2,., was changed since; compute it again"):
        y.sum().backward()


@pytest.mark.parametrize("change", [
    lambda model, optimizer: optimizer.step(),
    lambda model, optimizer: model.load_state_dict({name: a + 1 for name, a in model.state_dict().items()}),
    lambda model, optimizer: model.initialise(Streams(1)), lambda model, optimizer: model.astype(np.float64)],
    ids=["step", "load_state_dict", "initialise", "astype"])
def test_a_model_must_not_change_before_backward(change):
    model = nn.Linear(100, 50).initialise(Streams(0))       # more elements than are compared one by one
    optimizer = optim.SGD(model.parameters(), lr=1e-9)
    x = Tensor(np.ones((2, 100), np.float32))
    model(x).sum().backward()
    loss = model(x).sum()
    change(model, optimizer)
    with pytest.raises(UsageError, match="an input of linear"):
        loss.backward()


def test_a_change_after_backward_and_one_that_nothing_recorded_are_free():
    w = leaf(1.0, 2.0)
    (w * w).sum().backward()
    for way in WAYS:
        way(w)
        w.grad = None
        (w * w).sum().backward()
        np.testing.assert_array_equal(w.grad, 2 * w.data)
