"""Find the chain of stages in a model, each a product, ReLU and pooling, which CoNNTrA evaluates incrementally."""
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tinyq import kernels, nn
from tinyq.autodiff import Tensor, no_record
from tinyq.kernels.geometry.conv_geometry import pair
from tinyq.kernels.search.tables import MAX, SUM, SUM_OF_POSITIVE
from tinyq.levels import Levels, LevelSet
from tinyq.nn import Parameter, evaluating, hooked

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
TRANSPARENT = (nn.Flatten, nn.Identity, nn.Dropout)             # these change no number in evaluation


@dataclass(frozen=True)
class NotAChain:
    """A network is not a chain of stages; reason: the first layer that breaks the chain, and how."""

    reason: str


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
    pooled: tuple[int, int] = (1, 1)            # height and width of the output
    pooling: int = MAX          # MAX, SUM or SUM_OF_POSITIVE of the window: a mean is a sum in other units
    relu: bool = False
    norm: nn.BatchNorm2d | nn.BatchNorm1d | None = None
    norm_name: str = ""

    @property
    def parameters(self) -> list[tuple[str, Parameter]]:
        """List (dotted name, Parameter) of weight, bias and batch norm."""
        named = [(f"{self.name}.weight", self.weight), (f"{self.name}.bias", self.bias)]
        if self.norm:
            named += [(f"{self.norm_name}.weight", self.norm.weight), (f"{self.norm_name}.bias", self.norm.bias)]
        return [(name, p) for name, p in named if p is not None]

    def sets(self, levels: Levels) -> tuple[LevelSet, LevelSet]:
        """Return the levels of weight and bias, and those of the batch norm, the same where there is none."""
        of_product = levels.of(f"{self.name}.weight")
        return of_product, levels.of(f"{self.norm_name}.weight") if self.norm else of_product

    @property
    def summed(self) -> int:
        """Number of values in the sum that replaces a mean; 1 for a maximum."""
        return 1 if self.pooling == MAX else self.pool[0] * self.pool[1]

    @property
    def output(self) -> tuple[int, int, int]:
        """Channels, height and width of the output."""
        return self.kernel[0], *self.pooled


class Call(NamedTuple):
    """One call of a layer without sublayers: its dotted name, input, output and further arguments."""

    name: str
    layer: nn.Module
    x: np.ndarray
    y: np.ndarray
    shortcut: bool
    relu: bool


def chain_of(model: nn.Module, sample: np.ndarray) -> list[Stage] | NotAChain:
    """Find the stages of a model by running one sample (1, ...) through it.

    NotAChain, naming the layer, unless the network is a chain of Linear, Conv2d, BatchNorm, ReLU and pooling.
    """
    calls, logits = calls_of(model, sample)
    stages: list[Stage] = []
    previous = sample
    for call in calls:
        if call.x is not previous:
            return NotAChain(f"{call.name or type(call.layer).__name__} does not take what the layer before it put out")
        if call.shortcut:
            return NotAChain(f"{call.name} does not take what the layer before it put out alone, but a shortcut too")
        previous = call.y
        reason = _append(stages, call)
        if reason:
            return NotAChain(reason)
    if not stages or previous is not logits or np.prod(stages[-1].pooled) != 1:
        return NotAChain("what this one puts out is not what its last layer does")
    left_out = {id(p) for p in model.parameters()} - {id(p) for stage in stages for _, p in stage.parameters}
    if left_out or len({id(stage.weight) for stage in stages}) < len(stages):
        return NotAChain("this one has parameters that none of these layers uses, or that two of them share")
    return stages


def calls_of(model: nn.Module, sample: np.ndarray) -> tuple[list[Call], np.ndarray]:
    """Return the calls of the layers without sublayers in one evaluation, in order, and the logits."""
    calls: list[Call] = []
    leaves = [(name, layer) for name, layer in model.named_modules() if not has_sublayers(layer)]
    names = {id(layer): name for name, layer in leaves}

    def note(layer, call, x, *shortcut, **options):
        y = call(x, *shortcut, **options)
        calls.append(Call(names[id(layer)], layer, x.data, y.data, any(s is not None for s in shortcut),
                          options.get("relu", False)))
        return y

    with hooked([layer for _, layer in leaves], note), evaluating(model), no_record():
        logits = model(Tensor(sample)).data
    return calls, logits


def has_sublayers(module: nn.Module) -> bool:
    """Return True for a module that contains modules."""
    return any(isinstance(value, nn.Module) for value in vars(module).values())


def _append(stages, call):
    """Add what the layer computes to the chain; return the reason why it does not fit, or ""."""
    name, layer, x, y = call.name, call.layer, call.x, call.y
    if isinstance(layer, nn.Linear | nn.Conv2d):
        return _add_stage(stages, name, layer, x, y)
    if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and stages:
        return _normalise(stages[-1], name, layer, call.relu)
    if isinstance(layer, nn.ReLU) and stages:
        stages[-1].relu = True
        return ""
    if isinstance(layer, nn.AdaptiveAvgPool2d) and x.shape == y.shape:
        return ""                                           # the mean of one value
    if isinstance(layer, POOLS) and stages:
        return _pool(stages[-1], name, layer, y)
    if isinstance(layer, TRANSPARENT):
        return ""
    return f"{name} is a {type(layer).__name__}" + ("" if stages else " before the first of these")


def _add_stage(stages, name, layer, x, y):
    if isinstance(layer, nn.Linear):
        stages.append(Stage(name, layer.weight, layer.bias, (layer.n_out, layer.n_in, 1, 1), (layer.n_in, 1, 1),
                            (1, 1), (0, 0), (1, 1)))
        return ""
    geometry = kernels.conv_geometry(x.shape, layer.weight.shape, **layer.geometry)
    if geometry.groups != 1 or pair(geometry.dilation, "dilation") != (1, 1):
        return f"{name} has groups or dilation"
    stages.append(Stage(name, layer.weight, layer.bias, layer.weight.shape, x.shape[1:],
                        pair(geometry.stride, "stride"), pair(geometry.padding, "padding"), y.shape[2:],
                        pooled=y.shape[2:]))
    return ""


def _normalise(stage, name, layer, relu):
    """Put batch norm between the stage's product and the rest."""
    if stage.norm or stage.relu or stage.pool != (1, 1):
        return f"{name} does not follow a Linear or Conv2d at once"
    if layer.running_mean is None:
        return f"{name} has no running statistics"
    stage.norm, stage.norm_name, stage.relu = layer, name, relu
    return ""


def _pool(stage, name, layer, y):
    """Put a pooling after the stage. ReLU before or after a maximum is the same; for sums the order is stored."""
    window = _window(stage, layer)
    if window is None:
        return f"{name} has windows of different sizes"
    if stage.pool != (1, 1) or pair(window["padding"], "padding") != (0, 0) or window["ceil_mode"] \
            or pair(window.get("dilation", 1), "dilation") != (1, 1):
        return f"{name} pools a second time, or with padding, dilation or ceil_mode"
    if not isinstance(layer, nn.MaxPool2d):
        stage.pooling, stage.relu = (SUM_OF_POSITIVE, False) if stage.relu else (SUM, False)
    stage.pool = pair(window["kernel"], "kernel")
    stage.pool_stride = stage.pool if window["stride"] is None else pair(window["stride"], "stride")
    stage.pooled = y.shape[2:]
    return ""


def _window(stage, layer):
    """Return the layer's window; None for an AdaptiveAvgPool2d that does not divide its input evenly."""
    if not isinstance(layer, nn.AdaptiveAvgPool2d):
        return layer.window
    size = pair(layer.window["output_size"], "output size")
    if any(pixels % n for pixels, n in zip(stage.sums, size, strict=True)):
        return None
    kernel = tuple(pixels // n for pixels, n in zip(stage.sums, size, strict=True))
    return {"kernel": kernel, "stride": None, "padding": 0, "ceil_mode": False}
