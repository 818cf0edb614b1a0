"""A model read as a chain of stages, each a product followed by ReLU and max pooling: what CoNNTrA can evaluate."""
from dataclasses import dataclass

import numpy as np

from tinyq import kernels, nn
from tinyq.autodiff import Tensor, no_record
from tinyq.kernels.search.tables import LARGEST, SUM, SUM_OF_POSITIVE
from tinyq.nn import Parameter

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
TRANSPARENT = (nn.Flatten, nn.Identity, nn.Dropout)             # in evaluation they change no number


class NoChain(Exception):
    """The network is no chain of stages; the text says where it ceases to be one."""


@dataclass(eq=False)
class Stage:
    """A product y = weight * x + bias over a window, then batch norm, pooling and ReLU."""

    name: str
    weight: Parameter               # (c_out, c_in, kh, kw), or (n_out, n_in) of a Linear
    bias: Parameter | None
    kernel: tuple[int, int, int, int]           # the weight's shape as a convolution's
    source: tuple[int, int, int]    # channels, height, width of the input
    stride: tuple[int, int]
    padding: tuple[int, int]
    sums: tuple[int, int]           # height and width of y
    pool: tuple[int, int] = (1, 1)
    pool_stride: tuple[int, int] = (1, 1)
    pooled: tuple[int, int] = None  # height and width of the output
    pooling: int = LARGEST          # of the window, or its SUM, or SUM_OF_POSITIVE: a mean is a sum in other units
    relu: bool = False
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None = None
    norm_name: str = ""

    @property
    def parameters(self):
        """(dotted name, Parameter): weight, bias, and batch norm's."""
        named = [(f"{self.name}.weight", self.weight), (f"{self.name}.bias", self.bias)]
        if self.norm:
            named += [(f"{self.norm_name}.weight", self.norm.weight), (f"{self.norm_name}.bias", self.norm.bias)]
        return [(name, p) for name, p in named if p is not None]

    @property
    def summed(self):
        """How many values an output is the sum of, where it stands for their mean."""
        return 1 if self.pooling == LARGEST else self.pool[0] * self.pool[1]

    @property
    def output(self):
        """Channels, height and width of what it puts out."""
        return self.kernel[0], *self.pooled


def chain_of(model, sample):
    """The stages of a model, found by running one sample (1, ...) through it.

    NoChain, naming the layer, for a network that is no chain of Linear, Conv2d, BatchNorm, ReLU and pooling.
    """
    calls, logits = calls_of(model, sample)
    stages, previous = [], sample
    for name, layer, x, y, relu in calls:
        if x is not previous:
            raise NoChain(f"{name or type(layer).__name__} does not take what the layer before it put out")
        previous = y
        if isinstance(layer, nn.Linear | nn.Conv2d):
            stages.append(_stage(name, layer, x, y))
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and stages:
            _normalise(stages[-1], name, layer)
            stages[-1].relu = relu
        elif isinstance(layer, nn.ReLU) and stages:
            stages[-1].relu = True
        elif isinstance(layer, nn.AdaptiveAvgPool2d) and x.shape == y.shape:
            continue                                        # the mean of one value
        elif isinstance(layer, POOLS) and stages:
            _pool(stages[-1], name, layer, y)
        elif not isinstance(layer, TRANSPARENT):
            raise NoChain(f"{name} is a {type(layer).__name__}" + ("" if stages else " before the first of these"))
    if not stages or previous is not logits or np.prod(stages[-1].pooled) != 1:
        raise NoChain("what this one puts out is not what its last layer does")
    left_out = {id(p) for p in model.parameters()} - {id(p) for stage in stages for _, p in stage.parameters}
    if left_out or len({id(stage.weight) for stage in stages}) < len(stages):
        raise NoChain("this one has parameters that none of these layers uses, or that two of them share")
    return stages


def calls_of(model, sample):
    """[(dotted name, layer, input, output, whether with a ReLU)] of the layers without parts, as called; the logits."""
    calls, leaves = [], [(name, m) for name, m in model.named_modules() if not parts_of(m)]
    for name, layer in leaves:
        layer.forward = _listening(name, layer, layer.forward, calls)
    training = model.training
    try:
        with no_record():
            logits = model.eval()(Tensor(sample)).data
    finally:
        model.train(training)
        for _, layer in leaves:
            del layer.forward                               # the class's own again
    return calls, logits


def _listening(name, layer, forward, calls):
    def listen(x, shortcut=None, **options):
        if shortcut is not None:
            raise NoChain(f"{name} does not take what the layer before it put out alone, but a shortcut too")
        y = forward(x, **options)
        calls.append((name, layer, x.data, y.data, options.get("relu", False)))
        return y
    return listen


def parts_of(module):
    """Whether a module has modules of its own."""
    return any(isinstance(value, nn.Module) for value in vars(module).values())


def _stage(name, layer, x, y):
    if isinstance(layer, nn.Linear):
        return Stage(name, layer.weight, layer.bias, (layer.n_out, layer.n_in, 1, 1), (layer.n_in, 1, 1), (1, 1),
                     (0, 0), (1, 1), pooled=(1, 1))
    geometry = kernels.conv_geometry(x.shape, layer.weight.shape, **layer.geometry)
    if geometry.groups != 1 or _pair(geometry.dilation) != (1, 1):
        raise NoChain(f"{name} has groups or dilation")
    return Stage(name, layer.weight, layer.bias, layer.weight.shape, x.shape[1:], _pair(geometry.stride),
                 _pair(geometry.padding), y.shape[2:], pooled=y.shape[2:])


def _normalise(stage, name, layer):
    """Put batch norm between the stage's product and the rest."""
    if stage.norm or stage.relu or stage.pool != (1, 1):
        raise NoChain(f"{name} does not follow a Linear or Conv2d at once")
    if layer.running_mean is None:
        raise NoChain(f"{name} has no running statistics")
    stage.norm, stage.norm_name = layer, name


def _pool(stage, name, layer, y):
    """Put a pooling behind the stage. Before the largest or behind it, ReLU is the same; sums tell the two apart."""
    window = _window(stage, name, layer)
    if stage.pool != (1, 1) or _pair(window["padding"]) != (0, 0) or _pair(window.get("dilation", 1)) != (1, 1) \
            or window["ceil_mode"]:
        raise NoChain(f"{name} pools a second time, or with padding, dilation or ceil_mode")
    if not isinstance(layer, nn.MaxPool2d):
        stage.pooling, stage.relu = (SUM_OF_POSITIVE, False) if stage.relu else (SUM, False)
    stage.pool = _pair(window["kernel"])
    stage.pool_stride = stage.pool if window["stride"] is None else _pair(window["stride"])
    stage.pooled = y.shape[2:]


def _window(stage, name, layer):
    """The layer's window; AdaptiveAvgPool2d's where it divides its input evenly."""
    if not isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.window
    size = _pair(layer.output_size)
    if any(pixels % n for pixels, n in zip(stage.sums, size, strict=True)):
        raise NoChain(f"{name} has windows of different sizes")
    kernel = tuple(pixels // n for pixels, n in zip(stage.sums, size, strict=True))
    return {"kernel": kernel, "stride": None, "padding": 0, "ceil_mode": False}


def _pair(value):
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
