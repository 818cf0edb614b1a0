"""Every primitive against torch in float64: the output and all gradients to 1e-9 of torch's, in norm."""
import numpy as np
import pytest

from tinyq.autodiff import PRIMITIVES, Tensor
from tinyq.autodiff.losses import mean_squared_error
from tinyq.streams import Streams

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, key="x"):
    return Streams(7).key("peer", key, str(shape)).normal(shape)


def positive(*shape, key="x"):
    return 0.2 + np.abs(normal(*shape, key=key))


def ints(high, *shape):
    return Streams(7).key("ints", str(shape)).integers(0, high, shape)


MASK = normal(3, 4, key="mask") > 0
PAIR = (normal(3, 1, 4), normal(5, 1, key="y"))
TIED = np.array([[1.0, 2.0, 2.0], [0.0, -1.0, 0.0]])
IMAGES = normal(3, 4, 9, 8)


def affine(x, w, scale, bias, product):
    y = product(x, w)
    return y * scale.reshape(-1, *[1] * (y.ndim - 2)) + bias.reshape(-1, *[1] * (y.ndim - 2))


def conv(**geometry):
    return lambda x, w, scale, bias: affine(x, w, scale, bias, lambda x, w: F.conv2d(x, w, **geometry))


def pool(of_torch, **geometry):
    names = {"kernel": "kernel_size"}
    return lambda x: of_torch(x, **{names.get(key, key): value for key, value in geometry.items()})


# primitive, its arrays, its parameters, the same in torch
EXAMPLES = [
    ("add", PAIR, {}, torch.add),
    ("sub", PAIR, {}, torch.sub),
    ("mul", PAIR, {}, torch.mul),
    ("div", (PAIR[0], positive(5, 1)), {}, torch.div),
    ("neg", (normal(7),), {}, torch.neg),
    ("relu", (np.array([-1.0, -0.0, 0.0, 2.0]),), {}, torch.relu),
    ("abs", (np.array([-1.0, 0.0, 2.0]),), {}, torch.abs),
    ("exp", (3 * normal(50),), {}, torch.exp),
    ("log", (positive(50),), {}, torch.log),
    ("tanh", (3 * normal(50),), {}, torch.tanh),
    ("sigmoid", (5 * normal(50),), {}, torch.sigmoid),
    ("sqrt", (positive(50),), {}, torch.sqrt),
    *[("power", (positive(20) if n < 1 else normal(20),), {"exponent": n}, lambda x, n=n: x ** n)
      for n in (0, 1, 2, 5, -2, 0.5)],
    ("maximum", (TIED, TIED[:, ::-1].copy()), {}, torch.maximum),
    ("where", (MASK, normal(3, 4), normal(4, key="y")), {}, torch.where),
    ("clip", (np.array([-2.0, -1, 0.5, 1, 3]),), {"low": -1.0, "high": 1.0}, lambda x: x.clamp(-1, 1)),
    ("sum", (normal(3, 4, 5),), {"axis": (0, 2)}, lambda x: x.sum((0, 2))),
    ("sum", (normal(3, 4, 5),), {"axis": -1, "keepdims": True}, lambda x: x.sum(-1, keepdim=True)),
    ("mean", (normal(3, 4, 5),), {}, torch.mean),
    ("max", (TIED,), {"axis": 1}, lambda x: x.amax(1)),
    ("max", (TIED,), {"keepdims": True}, lambda x: x.amax((0, 1), keepdim=True)),
    ("reshape", (normal(3, 4),), {"shape": (2, -1)}, lambda x: x.reshape(2, -1)),
    ("flatten", (normal(2, 3, 4),), {"start": 1}, lambda x: x.flatten(1)),
    ("transpose", (normal(2, 3, 4),), {"axes": (2, 0, 1)}, lambda x: x.permute(2, 0, 1)),
    ("broadcast_to", (normal(3, 1),), {"shape": (2, 3, 4)}, lambda x: x.expand(2, 3, 4)),
    ("getitem", (normal(4, 5),), {"index": (slice(None, None, 2), 1)}, lambda x: x[::2, 1]),
    ("getitem", (normal(4, 5),), {"index": np.array([3, 0, 3, 3])}, lambda x: x[torch.tensor([3, 0, 3, 3])]),
    ("getitem", (normal(3, 4),), {"index": MASK}, lambda x: x[torch.tensor(MASK)]),
    ("concatenate", (normal(2, 3), normal(2, 1)), {"axis": 1}, lambda *x: torch.cat(x, 1)),
    ("stack", (normal(2, 3), normal(2, 3, key="y")), {"axis": 1}, lambda *x: torch.stack(x, 1)),
    ("pad", (normal(2, 3),), {"widths": ((0, 1), (2, 3))}, lambda x: F.pad(x, (2, 3, 0, 1))),
    *[("matmul", (normal(*a), normal(*b, key="y")), {}, torch.matmul) for a, b in [
        ((3, 300), (300, 5)), ((4,), (4,)), ((2, 3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 2)), ((4,), (2, 4, 5)),
        ((2, 3, 4), (4,))]],
    ("linear", (normal(6, 5), normal(3, 5, key="w"), positive(3), normal(3)), {},
     lambda *arrays: affine(*arrays, lambda x, w: x @ w.T)),
    *[("conv2d", (IMAGES, normal(8, c, 3, 2), positive(8), normal(8)), geometry, conv(**geometry)) for c, geometry in (
        (4, {}), (4, {"stride": 2, "padding": 1}), (4, {"stride": (3, 1), "padding": (0, 2), "dilation": (2, 3)}),
        (2, {"groups": 2, "padding": 1}), (1, {"groups": 4}))],
    *[("max_pool2d", (ints(4, 3, 4, 9, 8) * 1.0,), geometry, pool(F.max_pool2d, **geometry)) for geometry in (
        {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel": 2, "stride": 1, "dilation": 2})],
    *[("avg_pool2d", (IMAGES,), geometry, pool(F.avg_pool2d, **geometry)) for geometry in (
        {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel": (3, 2), "padding": (1, 0), "count_include_pad": False})],
    *[("adaptive_avg_pool2d", (IMAGES,), {"output_size": size}, lambda x, size=size: F.adaptive_avg_pool2d(x, size))
      for size in (1, (4, 3), (9, 8))],
    *[("batch_norm", (x, positive(4), normal(4)), {"eps": 1e-3},
       lambda x, w, b: F.batch_norm(x, None, None, w, b, True, eps=1e-3))
      for x in (IMAGES, normal(8, 4), normal(3, 4, 6))],
    ("batch_norm", (IMAGES, None, None), {"eps": 1e-5}, lambda x, w, b: F.batch_norm(x, None, None, w, b, True)),
    ("batch_norm_relu", (IMAGES, positive(4), normal(4), normal(*IMAGES.shape, key="shortcut")), {"eps": 1e-3},
     lambda x, w, b, s: F.relu(F.batch_norm(x, None, None, w, b, True, eps=1e-3) + s)),
    ("batch_norm_inference", (IMAGES, positive(4), normal(4), normal(4), positive(4)), {"eps": 1e-5},
     lambda x, w, b, mean, variance: F.batch_norm(x, mean.detach(), variance.detach(), w, b)),
    *[("softmax_cross_entropy", (5 * normal(7, 10), ints(10, 7)), {"smoothing": s},
       lambda x, labels, s=s: F.cross_entropy(x, labels, label_smoothing=s)) for s in (0.0, 0.1)],
    ("cross_entropy_of_targets", (5 * normal(7, 10), positive(7, 10)), {}, lambda x, t: F.cross_entropy(x, t.detach())),
    *[("binary_cross_entropy_with_logits", (x, MASK * 1.0, w), {},
       lambda x, t, w: F.binary_cross_entropy_with_logits(x, t.detach(), w if w is None else w.detach()))
      for x in (5 * normal(3, 4), 300 * normal(3, 4)) for w in (None, positive(4))],
    ("dropout", (normal(3, 4),), {"p": 0.3, "mask": MASK}, lambda x: x * torch.tensor(MASK) / 0.7),
]
# Compared on torch's own sample inputs, in test_peer_samples.py.
ON_TORCHS_SAMPLES = {
    "binary_cross_entropy", "ceil", "conv1d", "cos", "cumsum", "elu", "expm1", "float_power", "floor", "floor_divide",
    "gelu", "group_norm", "layer_norm", "leaky_relu", "log1p", "log_softmax", "logsumexp", "min", "minimum", "prod",
    "remainder", "round", "sign", "sin", "softmax", "softplus", "std", "var"}
# Constants here, though torch would differentiate them: by primitive, the positions.
CONSTANT = {"linear": {2}, "conv2d": {2}, "batch_norm_inference": {3, 4},
            "cross_entropy_of_targets": {1}, "binary_cross_entropy_with_logits": {1, 2}}


def close(ours, theirs):
    difference, size = np.linalg.norm(ours - theirs), np.linalg.norm(theirs)
    return ours.shape == theirs.shape and difference <= 1e-9 * size + 1e-300


@pytest.mark.parametrize("name, arrays, params, of_torch", EXAMPLES, ids=[example[0] for example in EXAMPLES])
def test_a_primitive_is_torchs(name, arrays, params, of_torch):
    wanted = [a is not None and a.dtype == np.float64 and i not in CONSTANT.get(name, ()) for i, a in enumerate(arrays)]
    ours = [a if a is None else Tensor(a, requires_grad=want) if a.dtype == np.float64 else a
            for a, want in zip(arrays, wanted, strict=True)]
    theirs = [a if a is None else torch.tensor(a, requires_grad=want) for a, want in zip(arrays, wanted, strict=True)]
    y, expected = PRIMITIVES[name](*ours, **params), of_torch(*theirs)
    y = y[0] if isinstance(y, tuple) else y
    g = normal(*y.shape, key="g")
    y.backward(g)
    expected.backward(torch.tensor(g))
    assert close(y.data, expected.detach().numpy())
    for position, want in enumerate(wanted):
        if want:
            assert close(ours[position].grad, theirs[position].grad.numpy()), position


def test_every_primitive_is_compared():
    shipped = {name for name, op in PRIMITIVES.items() if op.forward.__module__.startswith("tinyq.autodiff.")}
    assert {name for name, *_ in EXAMPLES} | ON_TORCHS_SAMPLES == shipped


def test_mean_squared_error_is_torchs():
    x, target = normal(4, 5), normal(4, 5, key="target")
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = mean_squared_error(ours, target), F.mse_loss(theirs, torch.tensor(target))
    y.backward()
    expected.backward()
    assert close(y.data, expected.detach().numpy()) and close(ours.grad, theirs.grad.numpy())


def test_a_graph_with_shared_values_is_torchs():
    """Values used several times, a leaf used at both ends, two backward calls."""
    def run(x, w, exp, matmul):
        h = matmul(x, w)
        z = exp(h * 0.1) * h + h / (exp(h) + 1.0)
        return matmul(z + x, w) * z

    arrays = normal(4, 4), normal(4, 4, key="w")
    ours = [Tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    for key in ("g1", "g2"):
        g = normal(4, 4, key=key)
        run(*ours, PRIMITIVES["exp"], PRIMITIVES["matmul"]).backward(g)
        run(*theirs, torch.exp, torch.matmul).backward(torch.tensor(g))
    assert all(close(a.grad, b.grad.numpy()) for a, b in zip(ours, theirs, strict=True))
