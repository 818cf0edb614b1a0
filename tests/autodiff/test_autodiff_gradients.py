"""Every primitive: its gradient, its dtype, its inputs left alone, and the same bits from any memory layout."""
import numpy as np
import pytest

from tinyq.autodiff import PRIMITIVES, Primitive, Tensor
from tinyq.checks import check_vjp, examine_vjp
from tinyq.streams import Streams

STREAMS = Streams(2)
SHAPES = [(3, 4), (), (1,), (2, 1, 3), (0, 2)]
PAIRS = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 3)), ((2, 3), ()), ((1,), (5,)), ((), ()),
         ((2, 3, 4), (3, 1)), ((1, 1), (1,))]


def normal(*shape, key="x"):
    """Numbers at least 0.05 away from the kinks at 0 and +-1."""
    z = STREAMS.key("gradients", key, str(shape)).normal(shape)
    return np.where(z < 0, -1, 1) * (0.05 + np.abs(z)) + np.where(np.abs(np.abs(z) - 0.95) < 0.05, 0.1, 0)


def positive(*shape, key="x"):
    return 0.3 + np.abs(normal(*shape, key=key))


def logistic(x):
    return 1 / (1 + np.exp(-x))


def unary(draw=normal, **params):
    return [((draw(*shape),), params) for shape in SHAPES]


def binary(draw=normal, second=normal):
    return [((draw(*a), second(*b, key="y")), {}) for a, b in PAIRS]


def reductions():
    return [((normal(*shape),), {"axis": axis, "keepdims": keepdims})
            for shape, axis in [((3, 4), None), ((3, 4), 0), ((3, 4), (-1,)), ((2, 3, 4), (0, 2)), ((), None),
                                ((1,), 0), ((2, 3), ()), ((1, 4), 0)] for keepdims in (False, True)]


def mask(*shape):
    return STREAMS.key("mask", str(shape)).uniform(shape) < 0.6


def images(n=2, c=3, h=6, w=5, key="x"):
    return normal(n, c, h, w, key=key)


def channels(c, key):
    return positive(c, key=key)


def labels(n, c):
    return STREAMS.key("labels").integers(0, c, (n,))


EXAMPLES = {
    "add": binary(),
    "sub": binary(),
    "mul": binary(),
    "div": binary(second=positive),
    "neg": unary(),
    "relu": unary(),
    "abs": unary(),
    "exp": unary(),
    "log": unary(positive),
    "tanh": unary(),
    "sigmoid": unary(),
    "sqrt": unary(positive),
    "power": [*(e for n in (0, 1, 2, 3, 7, 10) for e in unary(exponent=n)), *unary(positive, exponent=0.5),
              *unary(positive, exponent=-3), *unary(exponent=2.0),
              *unary(positive, exponent=1.5), *unary(positive, exponent=-1 / 3)],
    "float_power": binary(positive),
    "remainder": [((np.array([0.7, -2.3, 5.1]), np.array([1.5, 2.0, -2.0])), {}),
                  ((normal(3, 1), np.array([2.5])), {})],
    "floor_divide": [((np.array([0.7, -2.3, 5.1]), np.array([1.5, 2.0, -2.0])), {})],
    "maximum": binary(),
    "minimum": binary(),
    **{name: unary() for name in ("sin", "cos", "expm1", "softplus", "floor", "ceil", "round", "sign")},
    "log1p": unary(positive),
    "leaky_relu": [*unary(), *unary(slope=-0.5)],
    "elu": [*unary(), *unary(alpha=0.5)],
    "gelu": [*unary(), *unary(approximate="tanh")],
    "where": [((mask(*np.broadcast_shapes(a, b)), normal(*a), normal(*b, key="y")), {}) for a, b in PAIRS]
             + [((mask(3, 1), normal(4), normal(3, 4, key="y")), {})],
    "clip": [*unary(low=-1.0, high=1.0), *unary(low=0.0), *unary(high=0.0), *unary()],
    "sum": reductions(),
    "mean": reductions(),
    "max": reductions(),
    "min": reductions(),
    "prod": reductions(),
    "logsumexp": reductions(),
    "var": [*reductions(), ((normal(3, 4),), {"ddof": 1}), ((normal(2, 3, 4),), {"axis": (0, -1), "ddof": 2})],
    "std": [((normal(3, 4),), {}), ((normal(3, 4),), {"ddof": 1, "axis": 0}), ((normal(2, 3, 4),), {"axis": (0, 2)})],
    "cumsum": [((normal(3, 4),), {"axis": axis}) for axis in (0, 1, -1)] + [((normal(2, 0),), {"axis": 1})],
    "softmax": [((normal(3, 4),), {}), ((normal(3, 4, 2),), {"axis": 1}), ((normal(3, 1),), {"axis": -1})],
    "log_softmax": [((normal(3, 4),), {}), ((normal(3, 4, 2),), {"axis": 1}), ((normal(3, 1),), {"axis": -1})],
    "reshape": [((normal(3, 4),), {"shape": (2, -1)}), ((normal(1),), {"shape": ()}), ((normal(),), {"shape": (1, 1)})],
    "flatten": [((normal(2, 3, 4),), {}), ((normal(2, 3, 4),), {"start": 0}), ((normal(2),), {}),
                ((normal(0, 2, 3),), {"start": 1})],
    "transpose": [((normal(2, 3, 4),), {}), ((normal(2, 3, 4),), {"axes": (1, 2, 0)}), ((normal(),), {}),
                  ((normal(2, 3),), {"axes": (-1, 0)})],
    "broadcast_to": [((normal(*a),), {"shape": b}) for a, b in [((3, 1), (3, 4)), ((), (2, 2)), ((4,), (3, 4)),
                                                                ((2, 3), (2, 3)), ((1,), (1, 1))]],
    "getitem": [((normal(4, 5),), {"index": index}) for index in [
        0, -1, slice(1, 3), (slice(None), slice(None, None, -2)), (1, 2), (Ellipsis, None, 1), np.array([0, 2, 2, 0]),
        (np.array([0, 0, 3]), np.array([1, 1, 4])), mask(4, 5), [1, 1, 3], (slice(0, 0),)]],
    "concatenate": [((normal(2, 3), normal(2, 1, key="y"), normal(2, 0)), {"axis": 1}), ((normal(2), normal(3)), {}),
                    ((normal(1, 2, 3), normal(1, 2, 1)), {"axis": -1})],
    "stack": [((normal(2, 3), normal(2, 3, key="y")), {"axis": axis}) for axis in (0, 1, 2, -1)] + [((normal(),), {})],
    "pad": [((normal(2, 3),), {"widths": ((0, 1), (2, 0))}),
            ((normal(2, 3),), {"widths": ((1, 0), (0, 2)), "value": 3.0}), ((normal(1),), {"widths": ((0, 0),)})],
    "matmul": [((normal(*a), normal(*b, key="y")), {}) for a, b in [
        ((3, 4), (4, 5)), ((1, 1), (1, 1)), ((4,), (4,)), ((4,), (4, 5)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((3, 4), (2, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)),
        ((1, 3, 4), (5, 4, 2)), ((2, 300), (300, 2))]],
    "linear": [((normal(4, 5), normal(3, 5, key="w"), scale, bias), {})
               for scale in (None, channels(3, "scale")) for bias in (None, normal(3, key="bias"))]
              + [((normal(1, 1), normal(1, 1, key="w")), {})],
    "conv2d": [((images(), normal(4, 3, 3, 2, key="w"), scale, bias), {})
               for scale in (None, channels(4, "scale")) for bias in (None, normal(4, key="bias"))]
              + [((images(c=4), normal(6, 4 // g, 3, 2, key="w"), None, normal(6)), {**geometry, "groups": g})
                 for g in (1, 2) for geometry in ({"stride": 2, "padding": 1}, {"stride": (1, 3), "padding": (2, 0)},
                                                  {"dilation": 2, "padding": (1, 2)})]
              + [((normal(1, 1, 1, 1), normal(1, 1, 1, 1, key="w")), {})],
    "conv1d": [((normal(2, 4, 7), normal(6, 4 // g, 3, key="w"), channels(6, "scale"), normal(6)),
                {**geometry, "groups": g})
               for g in (1, 2) for geometry in ({}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 3})]
              + [((normal(2, 4, 7), normal(6, 4, 3, key="w"), None, None), {})],
    "max_pool2d": [((images(),), geometry) for geometry in (
        {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1}, {"kernel": (2, 1), "stride": 1, "dilation": (2, 1)},
        {"kernel": 2, "ceil_mode": True}, {"kernel": 1})],
    "avg_pool2d": [((images(),), geometry) for geometry in (
        {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1}, {"kernel": 3, "stride": 2, "padding": 1,
                                                                  "count_include_pad": False},
        {"kernel": (2, 3), "stride": 2, "ceil_mode": True}, {"kernel": 1})],
    "adaptive_avg_pool2d": [((images(),), {"output_size": size}) for size in (1, (2, 3), (6, 5), (4, 4))],
    "batch_norm": [((x, weight, bias), {"eps": 1e-5}) for x in (images(n=4), normal(5, 3), normal(3, 3, 4))
                   for weight, bias in [(channels(3, "weight"), normal(3, key="bias")), (None, None)]]
                  + [((images(n=4), None, normal(3)), {"eps": 0.1})],
    "batch_norm_relu": [((x, channels(3, "weight"), normal(3, key="bias"), shortcut), {"eps": 1e-5})
                        for x in (images(n=4), normal(5, 3)) for shortcut in (None, normal(*x.shape, key="shortcut"))]
                       + [((images(n=4), None, None, None), {"eps": 0.1})],
    "layer_norm": [((normal(4, 5), None, None), {}), ((normal(4, 5), channels(5, "weight"), normal(5)), {"eps": 0.1}),
                   ((normal(2, 3, 4), positive(3, 4), normal(3, 4)), {"axes": 2})],
    "group_norm": [((images(c=4), weight, bias), {"groups": groups}) for groups in (1, 2)
                   for weight, bias in [(channels(4, "weight"), normal(4, key="bias")), (None, None)]]
                  + [((normal(3, 4), channels(4, "weight"), None), {"groups": 2})],
    "batch_norm_inference": [((x, weight, bias, normal(3, key="mean"), positive(3)), {"eps": 1e-5})
                             for x in (images(), normal(5, 3)) for weight, bias in [
                                 (channels(3, "weight"), normal(3, key="bias")), (None, None)]],
    "softmax_cross_entropy": [((normal(n, c), labels(n, c)), {"smoothing": s})
                              for n, c in [(5, 4), (1, 2), (3, 40)] for s in (0.0, 0.1)],
    "cross_entropy_of_targets": [((normal(n, c), positive(n, c) * (normal(n, c, key="t") > 0)), {})
                                 for n, c in [(5, 4), (1, 2), (3, 40)]],
    "binary_cross_entropy": [((logistic(normal(n, c)), logistic(normal(n, c, key="t"))), {})
                             for n, c in [(5, 4), (1, 1)]],
    "binary_cross_entropy_with_logits": [((normal(n, c), logistic(normal(n, c, key="t")), w), {})
                                         for n, c in [(5, 4), (1, 1)] for w in (None, positive(c))],
    "dropout": [((normal(4, 5),), {"p": p, "mask": mask(4, 5)}) for p in (0.0, 0.5)]
               + [((normal(4, 5),), {"p": 1.0, "mask": np.zeros((4, 5), bool)}),
                  ((normal(),), {"p": 0.5, "mask": mask()})],
}
PER_PRIMITIVE = pytest.mark.parametrize("op", [PRIMITIVES[name] for name in EXAMPLES], ids=list(EXAMPLES))
PER_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def test_every_primitive_has_examples():
    shipped = {name for name, op in PRIMITIVES.items() if op.forward.__module__.startswith("tinyq.autodiff.")}
    assert shipped == set(EXAMPLES)


def cast(arrays, dtype):
    return [a.astype(dtype) if is_float(a) else a for a in arrays]


def is_float(a):
    return a is not None and a.dtype.kind == "f"


def strided(a):
    """The same numbers with other strides: axes reversed in memory, gaps between them, the first axis backwards."""
    if a is None or not a.ndim:
        return a
    wide = np.repeat(a, 2, -1)[..., ::2]
    return np.asfortranarray(wide) if a.ndim % 2 else wide[::-1].copy()[::-1]


def outputs(op, arrays, params, g=None):
    """The output and the gradients of all float inputs, through tensors."""
    inputs = [Tensor(a, requires_grad=True) if is_float(a) else a for a in arrays]
    y = op(*inputs, **params)
    y = y[0] if isinstance(y, tuple) else y
    g = STREAMS.key("g").normal(y.shape).astype(y.dtype) if g is None else g
    if y.requires_grad:
        y.backward(g)
    return [y.data, *(t.grad for t in inputs if isinstance(t, Tensor))]


@PER_PRIMITIVE
def test_the_vjps_match_differences_in_float64(op):
    for arrays, params in EXAMPLES[op.name]:
        for finding in check_vjp(op, *arrays, rng=STREAMS.key("check"), **params):
            assert finding.verdict == "ok", (str(finding), params)


@PER_PRIMITIVE
def test_a_vjp_wrong_by_a_twentieth_of_a_percent_would_be_found(op):
    for arrays, params in EXAMPLES[op.name]:
        y, vjps, *_ = op.forward(*arrays, **params)
        for i, vjp in enumerate(vjps[:len(arrays)]):
            if vjp is None or arrays[i] is None or not np.any(vjp(np.ones(np.shape(y)))):
                continue
            wrong = Primitive(scaled_vjp(op.forward, i), op.broadcasts)
            findings = examine_vjp(wrong, *arrays, rng=STREAMS.key("check"), **params)
            assert all(f.verdict == ("wrong" if f.where == i else "ok") for f in findings), params


def scaled_vjp(rule, position):
    """The rule with one vjp off by 0.05 %."""
    def wrong(*arrays, **params):
        y, vjps, *_ = rule(*arrays, **params)
        off = (lambda g: vjps[position](g) * 1.0005,)
        return y, (*vjps[:position], *off, *vjps[position + 1:])

    return wrong


@PER_PRIMITIVE
@PER_DTYPE
def test_the_dtype_is_kept_and_the_inputs_unchanged(op, dtype):
    for arrays, params in EXAMPLES[op.name]:
        arrays = cast(arrays, dtype)
        before = [None if a is None else a.tobytes() for a in arrays]
        y, *gradients = outputs(op, arrays, params)
        assert all(a is None or (a.dtype == dtype and type(a) is np.ndarray) for a in [y, *gradients])
        assert [None if a is None else a.tobytes() for a in arrays] == before


@PER_PRIMITIVE
@PER_DTYPE
def test_the_memory_layout_changes_no_bit(op, dtype):
    for arrays, params in EXAMPLES[op.name]:
        arrays = cast(arrays, dtype)
        plain, other = outputs(op, arrays, params), outputs(op, list(map(strided, arrays)), params)
        for a, b in zip(plain, other, strict=True):
            assert a is b is None or a.tobytes() == b.tobytes(), params


@PER_PRIMITIVE
def test_float32_is_float64_but_for_rounding(op):
    for arrays, params in EXAMPLES[op.name]:
        g = np.asarray(STREAMS.key("g").normal(outputs(op, arrays, params)[0].shape))
        exact = outputs(op, arrays, params, g)
        rounded = outputs(op, cast(arrays, np.float32), params, g.astype(np.float32))
        for a, b in zip(exact, rounded, strict=True):
            assert a is b is None or not a.size or np.abs(b - a).max() <= 2e-5 * max(1, np.abs(a).max()), params
