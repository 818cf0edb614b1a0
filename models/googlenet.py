"""GoogLeNet (Szegedy et al. 2015) as in torchvision: with batch norm, and 3x3 kernels in its 5x5 branch."""
import numpy as np

from tinyq.autodiff import Tensor, shape
from tinyq.errors import UsageError, did_you_mean
from tinyq.models.input_checks import Shape, check_images
from tinyq.nn import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    init,
)

# Name, input channels, widths of branch 1, 2 (reduced, out), 3 (reduced, out) and 4; or a pooling.
INCEPTIONS: tuple[tuple, ...] = (
    ("inception3a", 192, 64, 96, 128, 16, 32, 32), ("inception3b", 256, 128, 128, 192, 32, 96, 64), ("maxpool3", 3),
    ("inception4a", 480, 192, 96, 208, 16, 48, 64), ("inception4b", 512, 160, 112, 224, 24, 64, 64),
    ("inception4c", 512, 128, 128, 256, 24, 64, 64), ("inception4d", 512, 112, 144, 288, 32, 64, 64),
    ("inception4e", 528, 256, 160, 320, 32, 128, 128), ("maxpool4", 2),
    ("inception5a", 832, 256, 160, 320, 32, 128, 128), ("inception5b", 832, 384, 192, 384, 48, 128, 128))

# Auxiliary heads: name, the inception whose output they classify, its channels. HEAD_WEIGHT: factor on a head's loss.
HEADS, HEAD_WEIGHT = (("aux1", "inception4a", 512), ("aux2", "inception4d", 528)), 0.3

# Affine from ImageNet's normalisation to that of the original training, (x - 0.5) / 0.5.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FACTOR, SHIFT = STD / 0.5, (MEAN - 0.5) / 0.5

MIN_SIZE = 15                       # with smaller images a pooling has no output
AUXILIARY, UNTRANSFORMED = "aux", "untransformed"       # arguments after "googlenet:"


class BasicConv2d(Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int = 1, padding: int = 0,
                 constrained: bool = True):
        """Make the convolution without a bias, which batch norm would cancel; the arguments are Conv2d's."""
        self.conv = Conv2d(c_in, c_out, kernel_size, stride, padding, bias=False, constrained=constrained,
                           initial_weight=init.normal_of_hundredths)
        self.bn = BatchNorm2d(c_out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h', w')."""
        return self.bn(self.conv(x), relu=True)


class Inception(Module):
    """Four branches whose channels are concatenated."""

    def __init__(self, c_in: int, one: int, reduced3: int, three: int, reduced5: int, five: int, pooled: int):
        """Take the channels of the input and the widths of the paper's table 1."""
        self.branch1 = BasicConv2d(c_in, one, 1)
        self.branch2 = Sequential(BasicConv2d(c_in, reduced3, 1), BasicConv2d(reduced3, three, 3, padding=1))
        self.branch3 = Sequential(BasicConv2d(c_in, reduced5, 1), BasicConv2d(reduced5, five, 3, padding=1))
        self.branch4 = Sequential(MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(c_in, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to (n, the four widths together, h, w)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return shape.concatenate(*(branch(x) for branch in branches), axis=1)


class InceptionAux(Module):
    """An auxiliary classifier (the paper's section 5): (n, c_in, h, w) to (n, num_classes).

    Only training runs it, so no method constrains its weights.
    """

    def __init__(self, c_in: int, num_classes: int):
        """Pool the activations to 4x4 first."""
        self.avgpool, self.flatten = AdaptiveAvgPool2d(4), Flatten()
        self.conv = BasicConv2d(c_in, 128, 1, constrained=False)
        self.fc1, self.relu, self.dropout = _linear(128 * 4 * 4, 1024, constrained=False), ReLU(), Dropout(0.7)
        self.fc2 = _linear(1024, num_classes, constrained=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to logits (n, num_classes)."""
        x = self.flatten(self.conv(self.avgpool(x)))
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(Module):
    """A stem and nine inceptions: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, num_classes: int, c_in: int = 3, auxiliary: bool = False, transform_input: bool = True):
        """auxiliary: train with the two heads. transform_input: rescale inputs from ImageNet's normalisation to that of
        torchvision's pretrained network.
        """
        self.transform_input = transform_input
        self.conv1 = BasicConv2d(c_in, 64, 7, stride=2, padding=3)
        self.maxpool1 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2, self.conv3 = BasicConv2d(64, 64, 1), BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = MaxPool2d(3, stride=2, ceil_mode=True)
        for name, *widths in INCEPTIONS:
            pooling = len(widths) == 1
            setattr(self, name, MaxPool2d(widths[0], stride=2, ceil_mode=True) if pooling else Inception(*widths))
        self.heads: dict[str, InceptionAux] = {}
        for name, source, channels in HEADS if auxiliary else ():
            self.heads[source] = head = InceptionAux(channels, num_classes)
            setattr(self, name, head)
        self.avgpool, self.flatten, self.dropout = AdaptiveAvgPool2d(1), Flatten(), Dropout(0.2)
        self.fc = _linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, num_classes)."""
        return self._outputs(x, heads={})[0]

    def training_outputs(self, x: Tensor) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        """Return the logits, and (factor on its loss, logits) of each auxiliary head."""
        return self._outputs(x, self.heads)

    def _outputs(self, x: Tensor, heads: dict[str, InceptionAux]) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        if self.transform_input:
            x = x * _per_channel(FACTOR, x.dtype) + _per_channel(SHIFT, x.dtype)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        auxiliary = []
        for name, *_ in INCEPTIONS:
            x = getattr(self, name)(x)
            if name in heads:
                auxiliary.append((HEAD_WEIGHT, heads[name](x)))
        return self.fc(self.dropout(self.flatten(self.avgpool(x)))), auxiliary


def googlenet(num_classes: int, input_shape: Shape, argument: str | None = None) -> Module:
    """Make the network, for images of 15x15 or more (224x224 in the paper).

    argument: "aux" adds the auxiliary heads; "untransformed" leaves out the rescaling of RGB inputs;
    "aux,untransformed" does both.
    """
    check_images("googlenet", input_shape, MIN_SIZE)
    wishes = [] if argument is None else argument.split(",")
    for wish in wishes:
        if wish not in (AUXILIARY, UNTRANSFORMED):
            raise UsageError(f"model googlenet:{argument}: {did_you_mean(wish, (AUXILIARY, UNTRANSFORMED))}")
    transform = UNTRANSFORMED not in wishes and input_shape[0] == 3
    return GoogLeNet(num_classes, input_shape[0], AUXILIARY in wishes, transform)


def _linear(n_in: int, n_out: int, constrained: bool = True) -> Linear:
    return Linear(n_in, n_out, constrained=constrained, initial_weight=init.normal_of_hundredths)


def _per_channel(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return values.astype(dtype).reshape(1, 3, 1, 1)
