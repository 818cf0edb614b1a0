"""Small networks of random convolutions: odd sizes, strides, dilations, groups, many channels, pooling, sums."""
import numpy as np
from packed_networks import constrained, packed_model, samples
from small_models import Model

from tinyq import nn
from tinyq.errors import UsageError
from tinyq.nn import BatchNorm2d, Conv2d, Linear

SETS = ("binary", "ternary", "shift1", "shift2", "-3,-1,0,2", "-4,-3,-2,-1,0,1,2,3,4", "0,1", "-5,5")
KINDS = ("int8", "int16")


def forward(m, x):
    x = m.norm(m.first(x))
    x = nn.ReLU()(x) if m.relu else x
    x = m.pool(x) if m.pool else x
    y = m.second(x)
    y = y + x if m.adds else y
    y = nn.ReLU()(y) if m.relu_after else y
    return m.last(nn.Flatten()(m.pool_after(y) if m.pool_after else y))


def random_case(seed):
    """Return (packed network, kind of activations, samples) for a seed."""
    rng = np.random.Generator(np.random.Philox(seed))
    while True:
        try:
            return _case(rng, seed)
        except UsageError:                                  # a kernel that does not fit its image
            continue


def _case(rng, seed):
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    channels, middle = groups * int(rng.integers(1, 4)), groups * int(rng.choice([1, 2, 3, 4, 5, 7, 16, 40]))
    shape = (channels, *map(int, rng.integers(1, 15, 2)))
    first = _convolution(rng, channels, middle, groups)
    adds = bool(rng.random() < 0.4)
    second = (Conv2d(middle, middle, 3, padding=1) if adds
              else _convolution(rng, middle, groups * int(rng.integers(1, 6)), groups if rng.random() < 0.5 else 1))
    model = Model(forward, first=first, norm=BatchNorm2d(middle), second=second)
    model.relu, model.relu_after, model.adds = *(rng.random(2) < 0.6).tolist(), adds
    model.pool, model.pool_after = (_pooling(rng) for _ in range(2))
    model.last = nn.Flatten()
    features = _features(model, shape)
    model.last = Linear(features, int(rng.integers(1, 6)))
    nn.constrain(model, str(rng.choice(["all", "inner"])))
    packed = packed_model(constrained(model, str(rng.choice(SETS)), seed), shape, float_layer_bits=8)
    return packed, str(rng.choice(KINDS)), np.concatenate([samples(1, shape, 2), 1e6 * samples(1, shape, 3)])


def _features(model, shape):
    from tinyq.autodiff import Tensor

    model.eval()
    return model(Tensor(np.zeros((1, *shape), np.float32))).shape[1]


def _convolution(rng, channels, outputs, groups):
    def pair(low, high):
        return tuple(map(int, rng.integers(low, high, 2)))

    return Conv2d(channels, outputs, pair(1, 5), pair(1, 4) if rng.random() < 0.4 else 1, pair(0, 4),
                  pair(1, 3) if rng.random() < 0.3 else 1, groups=groups, bias=bool(rng.random() < 0.5))


def _pooling(rng):
    size = int(rng.integers(1, 4))
    return [None, None, nn.MaxPool2d(2), nn.MaxPool2d(size + 1, size), nn.AvgPool2d(size)][rng.integers(5)]
