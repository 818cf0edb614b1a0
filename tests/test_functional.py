"""tinyq.functional: every operation by name, and what to write for another library's names."""
import numpy as np
import pytest

import tinyq.functional as F
from tinyq import Tensor, nn
from tinyq.autodiff import PRIMITIVES
from tinyq.errors import UsageError

X = np.arange(6.0).reshape(2, 3)


def leaf(x=X):
    return Tensor(x, requires_grad=True)


def test_functional_names_every_primitive_and_every_name_is_an_operation():
    own = {name: op for name, op in PRIMITIVES.items() if op.forward.__module__.startswith("tinyq.autodiff.")}
    assert own.items() <= {name: getattr(F, name) for name in F.__all__}.items()
    assert all(callable(getattr(F, name)) and getattr(F, name).__doc__ for name in F.__all__)


@pytest.mark.parametrize("ours, of_numpy", [
    (lambda x: x.sum(0), X.sum(0)), (lambda x: x.mean(axis=(0, 1)), X.mean()), (lambda x: x.std(ddof=1), X.std(ddof=1)),
    (lambda x: x.min(1, keepdims=True), X.min(1, keepdims=True)), (lambda x: x.flatten(), X.flatten()),
    (lambda x: x.T, X.T), (lambda x: x.swapaxes(0, -1), X.T), (lambda x: x.clip(1, 3), X.clip(1, 3)),
    (lambda x: x.expand_dims((0, 3)), X[None, :, :, None]), (lambda x: x[:1].squeeze(0), X[0]), (abs, X),
    (lambda x: x.flip(1), X[:, ::-1]), (lambda x: x.repeat([1, 0, 2], axis=1), X.repeat([1, 0, 2], axis=1)),
    (lambda x: x.split(3, axis=1)[2], X[:, 2:]), (lambda x: x.cumsum(1), X.cumsum(1)), (lambda x: x.prod(0), X.prod(0)),
    (lambda x: F.stack([x, x], 1), np.stack([X, X], 1)), (lambda x: F.concatenate((x, x), axis=1), np.hstack([X, X])),
    (lambda x: F.maximum(x, 2), np.maximum(X, 2)), (lambda x: F.minimum(2, x), np.minimum(X, 2)),
    (lambda x: F.pad(x, ((0, 1), (2, 0)), 7), np.pad(X, ((0, 1), (2, 0)), constant_values=7)),
    (lambda x: F.gather(x, np.array([[2], [0]]), 1), [[2], [3]]), (lambda x: 2 ** x, 2 ** X), (lambda x: x % 4, X % 4),
    (lambda x: F.einsum("ij,kj->ik", x, x), X @ X.T), (lambda x: F.einsum("...j->...", x), X.sum(1)),
    (lambda x: F.einsum("ij,kj,k", x, x, x[:, 0]), (X @ X.T) @ X[:, 0]),
    (lambda x: F.einsum("ii->i", x[:, :2]), np.diag(X[:, :2]))])
def test_operations_read_as_numpys(ours, of_numpy):
    np.testing.assert_allclose(ours(leaf()).data, of_numpy, rtol=1e-14)


@pytest.mark.parametrize("write, says", [
    (lambda: leaf().mean(dim=1), "mean: no parameter dim; write axis"),
    (lambda: leaf().sum(axis=1, keepdim=True), "sum: no parameter keepdim; write keepdims"),
    (lambda: leaf().clip(min=0), "clip: no parameter min; write low"),
    (lambda: F.softmax(leaf(), axes=1), "softmax: no parameter axes; did you mean 'axis'"),
    (lambda: F.sum(leaf(), 0, True, 1), "sum: 4 inputs; it takes x, axis, keepdims"),
    (lambda: F.pad(leaf(), (1, 2)), "pad: widths .1, 2. are not .before, after. for each of 2 axes"),
    (lambda: F.einsum("ij,jk->ik", leaf()), "einsum 'ij,jk->ik': does not fit operands with .2. axes"),
    (lambda: F.einsum("ij->ik", leaf()), "does not fit"), (lambda: F.concatenate([]), "concatenate: "),
    (lambda: leaf() + None, "add: y is None; give"), (lambda: F.pad(leaf(), 1), "widths 1 are not .* each of 2 axes"),
    (lambda: nn.cross_entropy(leaf(X[None]), np.zeros((1, 2, 3))), r"must be \(n, classes\), but are \(1, 2, 3\)"),
    (lambda: F.gelu(leaf(), approximate="erf"), "gelu: approximate is 'erf'; it must be 'none' or 'tanh'")])
def test_a_wrong_parameter_is_refused_with_the_right_one(write, says):
    with pytest.raises(UsageError, match=says):
        write()


@pytest.mark.parametrize("get, says", [
    (lambda: leaf().view, "a Tensor has no 'view'; write reshape"),
    (lambda: leaf().unsqueeze, "write expand_dims"), (lambda: leaf().clamp, "write clip"),
    (lambda: leaf().sofmax, "did you mean 'softmax'"), (lambda: F.relu6, "tinyq.functional has no 'relu6'; write clip"),
    (lambda: F.cat, "write concatenate"), (lambda: nn.ReLU6, r"tinyq.nn has no 'ReLU6'; write tinyq.functional.clip"),
    (lambda: nn.Liner, "did you mean 'Linear'"), (lambda: nn.CrossEntropyLoss, "write nn.cross_entropy"),
    (lambda: nn.Embedding, "tinyq.nn has no 'Embedding': embeddings are not part of tinyq")])
def test_another_librarys_name_is_answered_with_tinyqs(get, says):
    with pytest.raises(AttributeError, match=says):
        get()


def test_hooks_of_tensors_see_and_replace_gradients():
    x, seen = leaf(), []
    y = x * 2
    remove = y.register_hook(seen.append)
    x.register_hook(lambda g: g * 10)
    y.sum().backward()
    remove()
    (x * 3).sum().backward()
    assert seen[0].tolist() == np.ones((2, 3)).tolist() and x.grad.tolist() == np.full((2, 3), 50.0).tolist()
    y = x * 2
    y.register_hook(lambda g: g[0])
    with pytest.raises(UsageError, match=r"a hook returned an array of \(3,\) for a gradient of \(2, 3\)"):
        y.sum().backward()
    with pytest.raises(UsageError, match="requires no gradient"):
        Tensor(X).register_hook(print)
