"""What a step's digests are of: operations, where a pooling follows as the pooling leaves them."""
from types import SimpleNamespace

import numpy as np
import pytest

from tinyq import nn
from tinyq.audit.capture.step_trace import Trace
from tinyq.audit.ledger.digests import digest_of
from tinyq.audit.recording.recorder import Recorder
from tinyq.autodiff import Tensor, tape
from tinyq.streams import Streams

IMAGES = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
CHAINS = {
    "a pooling": ((nn.MaxPool2d(2),), ["conv2d, max_pool2d of 0.weight, output (2, 4, 4, 4)"]),
    "a ReLU and a pooling": ((nn.ReLU(), nn.MaxPool2d(2)),
                             ["conv2d, relu, max_pool2d of 0.weight, output (2, 4, 4, 4)"]),
    "two poolings": ((nn.AvgPool2d(2), nn.ReLU(), nn.MaxPool2d(2)),
                     ["conv2d, avg_pool2d, relu, max_pool2d of 0.weight, output (2, 4, 2, 2)"]),
    "a ReLU alone": ((nn.ReLU(),), ["conv2d of 0.weight, output (2, 4, 8, 8)"]),
    "another operation before the pooling": (
        (nn.Conv2d(4, 4, 1), nn.MaxPool2d(2)), ["conv2d of 0.weight, output (2, 4, 8, 8)",
                                               "conv2d, max_pool2d of 1.weight, output (2, 4, 4, 4)"]),
}


@pytest.mark.parametrize("behind", CHAINS)
def test_an_operation_is_digested_as_the_pooling_behind_it_leaves_it(behind):
    layers, expected = CHAINS[behind]
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *layers).initialise(Streams(0))
    trace, recorder = Trace(model, SimpleNamespace()), Recorder("digests", print)
    recorder.trace = trace
    with tape.traced(recorder._note):
        output = model(Tensor(IMAGES))
    recorder._digest_latest_output()
    assert [str(call) for call in trace.calls] == expected
    [ops] = recorder._ops.joined([recorder._ops])
    assert len(ops.leaves) == 2 * len(expected)
    if not isinstance(layers[-1], nn.ReLU):             # then the array digested last is the network's output
        assert ops.leaves[-2:] == _fast([output.data])[0].leaves


def _fast(arrays):
    recorder = Recorder("digests", print)
    for array in arrays:
        recorder._ops.add(array)
    return recorder._ops.joined([recorder._ops])


def test_a_pooling_of_an_earlier_operation_is_passed_over():
    """Another operation came between: its own output is digested, and so is the first one's."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1)).initialise(Streams(0))
    first, second = model
    recorder = Recorder("digests", print)
    with tape.traced(recorder._note):
        x = first(Tensor(IMAGES))
        y = second(x)
        nn.MaxPool2d(2)(x)
    recorder._digest_latest_output()
    assert recorder._ops.joined([recorder._ops]) == _fast([x.data, y.data])


def test_small_and_large_arrays_keep_their_order():
    rng = np.random.default_rng(1)
    arrays = [rng.standard_normal(n).astype(np.float32) for n in (5, 20_000, 0, 40_000, 7)]
    [together] = _fast([*arrays])
    assert together.leaves == "".join(_fast([array])[0].leaves for array in arrays)
    assert together.root != _fast(arrays[::-1])[0].root
    assert digest_of("digests", arrays).root != together.root
