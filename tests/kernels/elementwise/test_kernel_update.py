"""The optimisers' updates: the bits of the references, in place, on one thread and two."""
import numpy as np
import pytest

from tinyq import kernels
from tinyq.kernels.reference.elementwise import optimizer_update as reference
from tinyq.streams import Streams

SHAPES = [(7,), (3, 5, 2), (0,), (70_001,)]


def normal(name, shape):
    return Streams(0).key(name).normal(shape).astype(np.float32)


def assert_same_effect(name, g, arrays, *numbers):
    ours, theirs = ([a if a is None else a.copy() for a in arrays] for _ in range(2))
    for run, (w, *memory) in ((getattr(kernels, name), ours), (getattr(reference, name), theirs)):
        run(w, g, *memory, *numbers)
    for a, b in zip(ours, theirs, strict=True):
        assert a is b is None or np.array_equal(a.view(np.int32), b.view(np.int32))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decay", [0.0, 1e-2])
@pytest.mark.parametrize("momentum, nesterov", [(False, False), (True, False), (True, True)])
def test_sgd_has_its_references_bits(shape, decay, momentum, nesterov, threads):
    w, g, b = (normal(name, shape) for name in "wgb")
    assert_same_effect("sgd", g, (w, b if momentum else None), 0.1, 0.8, decay, nesterov, 0.9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("decay, decay_factor", [(0.0, 1.0), (1e-2, 1.0), (0.0, 0.99)])
def test_adam_has_its_references_bits(shape, decay, decay_factor, threads):
    w, g, mean, square = (normal(name, shape) for name in "wgms")
    assert_same_effect("adam", g, (w, mean, square * square), 0.9, 0.999, decay, decay_factor, 0.03, 1e-8, 1e-2)


def test_a_gradient_of_any_strides():
    w, g = normal("w", (40, 30)), normal("g", (30, 40))
    other = w.copy()
    kernels.sgd(w, g.T, None, 0.1, 1.0, 0.0, False, 0.0)
    kernels.sgd(other, g.T.copy(), None, 0.1, 1.0, 0.0, False, 0.0)
    assert np.array_equal(w, other)
