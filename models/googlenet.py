"""GoogLeNet (Szegedy et al. 2015) as torchvision has it: with batch norm, its 5x5 branch of 3x3 kernels."""
import numpy as np

from tinyq.autodiff import shape
from tinyq.models.images import require_images
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

# Name: input channels, then the widths of branch 1, 2 (reduced, out), 3 (reduced, out) and 4. A pooling stands between.
INCEPTIONS = (
    ("inception3a", 192, 64, 96, 128, 16, 32, 32), ("inception3b", 256, 128, 128, 192, 32, 96, 64), ("maxpool3", 3),
    ("inception4a", 480, 192, 96, 208, 16, 48, 64), ("inception4b", 512, 160, 112, 224, 24, 64, 64),
    ("inception4c", 512, 128, 128, 256, 24, 64, 64), ("inception4d", 512, 112, 144, 288, 32, 64, 64),
    ("inception4e", 528, 256, 160, 320, 32, 128, 128), ("maxpool4", 2),
    ("inception5a", 832, 256, 160, 320, 32, 128, 128), ("inception5b", 832, 384, 192, 384, 48, 128, 128))

# ImageNet's normalisation undone and replaced by that of the network's first training, (x - 0.5) / 0.5.
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class BasicConv2d(Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, c_in, c_out, kernel_size, **geometry):
        """No bias: batch norm would take it away."""
        self.conv = Conv2d(c_in, c_out, kernel_size, bias=False, initial_weight=init.normal_of_hundredths, **geometry)
        self.bn, self.relu = BatchNorm2d(c_out, eps=0.001), ReLU()

    def forward(self, x):
        """(n, c_in, h, w) to (n, c_out, h', w')."""
        return self.relu(self.bn(self.conv(x)))


class Inception(Module):
    """Four branches whose channels are put side by side."""

    def __init__(self, c_in, one, reduced3, three, reduced5, five, pooled):
        """Widths as in the paper's table 1."""
        self.branch1 = BasicConv2d(c_in, one, 1)
        self.branch2 = Sequential(BasicConv2d(c_in, reduced3, 1), BasicConv2d(reduced3, three, 3, padding=1))
        self.branch3 = Sequential(BasicConv2d(c_in, reduced5, 1), BasicConv2d(reduced5, five, 3, padding=1))
        self.branch4 = Sequential(MaxPool2d(3, stride=1, padding=1, ceil_mode=True), BasicConv2d(c_in, pooled, 1))

    def forward(self, x):
        """(n, c_in, h, w) to (n, the four widths together, h, w)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return shape.concatenate(*(branch(x) for branch in branches), axis=1)


class GoogLeNet(Module):
    """Nine inceptions behind a stem, without the auxiliary heads: (n, 3, h, w) to (n, num_classes)."""

    def __init__(self, num_classes):
        """Inputs are photographs normalised by ImageNet's mean and deviation, as torchvision's weights expect them."""
        self.conv1 = BasicConv2d(3, 64, 7, stride=2, padding=3)
        self.maxpool1 = MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2, self.conv3 = BasicConv2d(64, 64, 1), BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = MaxPool2d(3, stride=2, ceil_mode=True)
        for name, *widths in INCEPTIONS:
            pooling = len(widths) == 1
            setattr(self, name, MaxPool2d(*widths, stride=2, ceil_mode=True) if pooling else Inception(*widths))
        self.avgpool, self.flatten, self.dropout = AdaptiveAvgPool2d(1), Flatten(), Dropout(0.2)
        self.fc = Linear(1024, num_classes, initial_weight=init.normal_of_hundredths)

    def forward(self, x):
        """(n, 3, h, w) to logits (n, num_classes)."""
        factor, shift = ((STD / 0.5), (MEAN - 0.5) / 0.5)
        x = x * factor.astype(x.dtype).reshape(1, 3, 1, 1) + shift.astype(x.dtype).reshape(1, 3, 1, 1)
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        for name, *_ in INCEPTIONS:
            x = getattr(self, name)(x)
        return self.fc(self.dropout(self.flatten(self.avgpool(x))))


def googlenet(num_classes, input_shape):
    """The network, for RGB images of 32x32 or more (224x224 in the paper)."""
    require_images("googlenet", input_shape, 32, channels=3)
    return GoogLeNet(num_classes)
