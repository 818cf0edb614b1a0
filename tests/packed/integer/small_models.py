"""Small networks made by hand: together they contain every operation that a packed network may."""
import numpy as np
from packed_networks import constrained, packed_model

from tinyq import functional, nn
from tinyq.autodiff import Tensor
from tinyq.autodiff.elementwise import clip
from tinyq.autodiff.shape import concatenate, getitem, pad, reshape
from tinyq.nn import Conv2d, Linear


class Model(nn.Module):
    """Layers by name, and a function of them and the input."""

    def __init__(self, forward, **layers):
        self.function = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def residual(m, x):
    x = nn.ReLU()(m.first(x))
    return m.last(nn.Flatten()(nn.ReLU()(m.second(x) + x)))


def concatenated(m, x):
    x = nn.ReLU()(m.first(x))
    return m.last(nn.Flatten()(concatenate(m.second(x), x, nn.MaxPool2d(3, 1, 1)(x), axis=1)))


def beside(m, x):
    """Joined along the images' width: that has no form in integers."""
    x = nn.ReLU()(m.first(x))
    return m.last(nn.Flatten()(concatenate(m.second(x), x, axis=3)))


def padded(m, x):
    x = pad(nn.ReLU()(m.first(x)), widths=((0, 0), (0, 0), (1, 2), (0, 3)))
    return m.last(nn.Flatten()(m.second(x)))


def cut(m, x):
    x = getitem(m.first(x), index=(slice(None), slice(1, 4, 2), slice(1, None), slice(0, 7, 3)))
    return m.last(nn.Flatten()(x))


def pooled(m, x):
    x = nn.AvgPool2d(3, 2, 1, count_include_pad=True)(m.first(x))
    x = nn.AvgPool2d((2, 3), 1, 1, count_include_pad=False)(x)
    x = nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True)(nn.AdaptiveAvgPool2d((5, 7))(x))
    return m.last(nn.Flatten()(x))


def pooled_last(m, x):
    return nn.Flatten()(nn.AdaptiveAvgPool2d(1)(m.second(nn.ReLU()(m.first(x)))))


def alone(m, x):
    """An addition and a ReLU that no product takes in."""
    x = m.first(x)
    y = nn.MaxPool2d(2)(x) + nn.AvgPool2d(2)(x)
    return m.last(nn.Flatten()(nn.ReLU()(y) + y))


def twice(m, x):
    """One layer's weights used by two products."""
    x = nn.ReLU()(m.first(x))
    return m.last(nn.Flatten()(m.second(nn.ReLU()(m.second(x)))))


def doubled(m, x):
    """A value added to itself, and the input's own addition."""
    x = m.first(x) + x
    return m.last(nn.Flatten()(x + x))


def reshaped(m, x):
    x = nn.ReLU()(m.first(x))
    return m.last(reshape(reshape(x, shape=(-1, x.shape[1] * x.shape[2], x.shape[3])), shape=(-1, m.n)))


def island(m, x):
    """tanh has no form in integers."""
    return m.last(nn.Flatten()(nn.Tanh()(m.first(x))))


def prepared(m, x):
    """The input's channels scaled and shifted before the first product."""
    factor, shift = (Tensor(np.array(a, np.float32).reshape(1, 3, 1, 1)) for a in ([0.5, 0.25, 2], [0.1, 0, -1]))
    x = x * factor + shift
    return m.last(nn.Flatten()(nn.ReLU()(m.first(x))))


def relu6(m, x):
    """Limits at both ends, some of which no activation reaches."""
    x = clip(clip(m.first(x), low=0.0, high=0.5), low=-1.0)
    return m.last(nn.Flatten()(clip(m.second(x) + x, low=-0.25, high=0.25)))


def averaged(m, x):
    """Planes averaged to numbers, with and without their axes."""
    x = m.first(x)
    return m.last(x.mean((2, 3)) + nn.Flatten()(x.mean((-1, -2), keepdims=True)))


def scaled(m, x):
    """Numbers that products take in, and others that stand alone."""
    x = nn.ReLU()(m.first(x * 2 - 1) / 0.5 - 0.1)
    x = 0.25 - (nn.MaxPool2d(2)(-x * 0.75) / 3 + 1)
    return m.last(x.reshape(x.shape[0], -1)) / 0.7


def softmax(m, x):
    z = m.last(functional.flatten(nn.ReLU()(m.first(x)), start=-3))
    z = functional.exp(z - z.max(1, keepdims=True))
    return z / z.sum(1, keepdims=True)


def with_n(model, n):
    model.n = n
    return model


MODELS = {
    "residual": lambda: Model(residual, first=Conv2d(3, 5, 3, padding=1), second=Conv2d(5, 5, 3, padding=1),
                              last=Linear(5 * 81, 4)),
    "concatenated": lambda: Model(concatenated, first=Conv2d(3, 4, 3), second=Conv2d(4, 6, 1),
                                  last=Linear(14 * 49, 4)),
    "beside": lambda: Model(beside, first=Conv2d(3, 4, 3), second=Conv2d(4, 4, 3, padding=1),
                            last=Linear(4 * 7 * 14, 4)),
    "padded": lambda: Model(padded, first=Conv2d(3, 4, 3, padding=1), second=Conv2d(4, 3, 3, 2, padding=1),
                            last=Linear(3 * 36, 4)),
    "cut": lambda: Model(cut, first=Conv2d(3, 6, 3), last=Linear(2 * 6 * 3, 4)),
    "pooled": lambda: Model(pooled, first=Conv2d(3, 4, 3, padding=1), last=Linear(4 * 2 * 3, 4)),
    "pooled_last": lambda: Model(pooled_last, first=Conv2d(3, 4, 3), second=Conv2d(4, 5, 3)),
    "alone": lambda: Model(alone, first=Conv2d(3, 4, 2), last=Linear(4 * 16, 4)),
    "twice": lambda: Model(twice, first=Conv2d(3, 4, 3), second=Conv2d(4, 4, 3, padding=1), last=Linear(4 * 49, 4)),
    "doubled": lambda: Model(doubled, first=Conv2d(3, 3, 3, padding=1), last=Linear(3 * 81, 4)),
    "reshaped": lambda: with_n(Model(reshaped, first=Conv2d(3, 4, 3), last=Linear(4 * 49, 4)), 4 * 49),
    "groups": lambda: nn.Sequential(Conv2d(3, 6, 3, padding=1), nn.ReLU(), Conv2d(6, 9, (3, 2), (2, 1), (2, 1), (2, 3),
                                    groups=3), nn.BatchNorm2d(9), nn.Flatten(), Linear(9 * 5 * 8, 4)),
    "far_padding": lambda: nn.Sequential(Conv2d(3, 4, (2, 1), (3, 4), (5, 7)), nn.Flatten(), Linear(4 * 6 * 6, 4)),
    "prepared": lambda: Model(prepared, first=Conv2d(3, 4, 3), last=Linear(4 * 49, 4)),
    "relu6": lambda: Model(relu6, first=Conv2d(3, 4, 3), second=Conv2d(4, 4, 3, padding=1), last=Linear(4 * 49, 4)),
    "averaged": lambda: Model(averaged, first=Conv2d(3, 7, 3), last=Linear(7, 4)),
    "scaled": lambda: Model(scaled, first=Conv2d(3, 4, 2), last=Linear(4 * 16, 4)),
    "softmax": lambda: Model(softmax, first=Conv2d(3, 4, 3), last=Linear(4 * 49, 4)),
    "island": lambda: Model(island, first=Conv2d(3, 4, 3), last=Linear(4 * 49, 4)),
}
SHAPE = (3, 9, 9)
WITH_FLOATS_INSIDE = ("island", "beside")


def small(name, levels="ternary", **options):
    """One of MODELS, all its layers on levels, packed and calibrated."""
    model = nn.constrain(MODELS[name](), "all")
    return packed_model(constrained(model, levels), SHAPE, **options)
