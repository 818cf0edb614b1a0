"""Residual networks for ImageNet, with torchvision's names and its stride in the 3x3 layer.

He et al. 2016; wider ones by Zagoruyko and Komodakis 2016, ones with groups (ResNeXt) by Xie et al. 2017.
"""
from collections.abc import Callable, Sequence
from functools import partial

from tinyq.autodiff import Tensor
from tinyq.models.input_checks import Shape, check_images
from tinyq.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Sequential, init

_conv = partial(Conv2d, bias=False, initial_weight=init.kaiming_normal_fan_out)
_conv1x1, _conv3x3 = partial(_conv, kernel_size=1), partial(_conv, kernel_size=3, padding=1)


class BasicBlock(Module):
    """Two 3x3 convolutions with a shortcut: (n, c_in, h, w) to (n, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, c_in: int, width: int, stride: int):
        """Make the shortcut a 1x1 convolution where the shapes differ."""
        self.conv1, self.bn1 = _conv3x3(c_in, width, stride=stride), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width), BatchNorm2d(width)
        self.downsample = _downsample(c_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(branch(x) + shortcut(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        shortcut = self.downsample(x) if self.downsample else x
        return self.bn2(self.conv2(y), shortcut, relu=True)


class Bottleneck(Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut: (n, c_in, h, w) to (n, 4 width, h / stride, w / stride)."""

    expansion = 4

    def __init__(self, c_in: int, width: int, stride: int, inner: int = 1, groups: int = 1):
        """Make the shortcut a 1x1 convolution where the shapes differ.

        inner: channels of the 3x3 layer for each of `width`; groups: of the 3x3 layer.
        """
        channels = inner * width
        self.conv1, self.bn1 = _conv1x1(c_in, channels), BatchNorm2d(channels)
        self.conv2, self.bn2 = _conv3x3(channels, channels, stride=stride, groups=groups), BatchNorm2d(channels)
        self.conv3, self.bn3 = _conv1x1(channels, self.expansion * width), BatchNorm2d(self.expansion * width)
        self.downsample = _downsample(c_in, self.expansion * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(branch(x) + shortcut(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        shortcut = self.downsample(x) if self.downsample else x
        return self.bn3(self.conv3(y), shortcut, relu=True)


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(Module):
    """A stem and four stages of blocks: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, block: Block, blocks: Sequence[int], num_classes: int, c_in: int = 3, small: bool = False,
                 **options: int):
        """block: the class; blocks: number per stage; small: a stem of one 3x3 layer, for images of 32x32.

        options: of each block.
        """
        self.conv1 = _conv3x3(c_in, 64) if small else _conv(c_in, 64, 7, stride=2, padding=3)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = None if small else MaxPool2d(3, stride=2, padding=1)
        make, wide = partial(block, **options), block.expansion
        self.layer1 = _stage(make, 64, 64, wide, blocks[0], stride=1)
        self.layer2 = _stage(make, wide * 64, 128, wide, blocks[1], stride=2)
        self.layer3 = _stage(make, wide * 128, 256, wide, blocks[2], stride=2)
        self.layer4 = _stage(make, wide * 256, 512, wide, blocks[3], stride=2)
        self.avgpool, self.flatten = AdaptiveAvgPool2d(1), Flatten()
        self.fc = Linear(wide * 512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, num_classes)."""
        x = self.bn1(self.conv1(x), relu=True)
        x = self.maxpool(x) if self.maxpool else x
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.flatten(self.avgpool(x)))


def _stage(make: Callable[[int, int, int], Module], c_in: int, width: int, wide: int, count: int, stride: int
           ) -> Sequential:
    """Make `count` blocks, the first with the stride; wide: channels that a block makes for each of `width`."""
    return Sequential(make(c_in, width, stride), *(make(wide * width, width, 1) for _ in range(count - 1)))


def _downsample(c_in: int, c_out: int, stride: int) -> Sequential | None:
    if stride == 1 and c_in == c_out:
        return None
    return Sequential(_conv1x1(c_in, c_out, stride=stride), BatchNorm2d(c_out))


def _resnet(name: str, block: Block, blocks: Sequence[int], num_classes: int, input_shape: Shape,
            small: bool = False, **options: int) -> Module:
    """Make one of the networks, for images of 8x8 or more (224x224 in the paper); options: of each block."""
    check_images(name, input_shape, 8)
    return ResNet(block, blocks, num_classes, input_shape[0], small, **options)


resnet18 = partial(_resnet, "resnet18", BasicBlock, (2, 2, 2, 2))
resnet34 = partial(_resnet, "resnet34", BasicBlock, (3, 4, 6, 3))
resnet50 = partial(_resnet, "resnet50", Bottleneck, (3, 4, 6, 3))
resnet101 = partial(_resnet, "resnet101", Bottleneck, (3, 4, 23, 3))
resnet152 = partial(_resnet, "resnet152", Bottleneck, (3, 8, 36, 3))
wide_resnet50_2 = partial(_resnet, "wide_resnet50_2", Bottleneck, (3, 4, 6, 3), inner=2)
resnext50_32x4d = partial(_resnet, "resnext50_32x4d", Bottleneck, (3, 4, 6, 3), inner=2, groups=32)
cifar_resnet18 = partial(_resnet, "cifar_resnet18", BasicBlock, (2, 2, 2, 2), small=True)
