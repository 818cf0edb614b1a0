"""The residual networks of He et al. 2016 for photographs, with torchvision's names and its stride in the 3x3 layer."""
from functools import partial

from tinyq.models.input_checks import require_images
from tinyq.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Sequential, init

_conv = partial(Conv2d, bias=False, initial_weight=init.kaiming_normal_fan_out)
_conv1x1, _conv3x3 = partial(_conv, kernel_size=1), partial(_conv, kernel_size=3, padding=1)


class BasicBlock(Module):
    """Two 3x3 convolutions beside a shortcut: (n, c_in, h, w) to (n, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, c_in, width, stride):
        """The shortcut is a 1x1 convolution where the shapes differ."""
        self.conv1, self.bn1 = _conv3x3(c_in, width, stride=stride), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width), BatchNorm2d(width)
        self.downsample = _downsample(c_in, width, stride)

    def forward(self, x):
        """relu(branch(x) + shortcut(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        shortcut = self.downsample(x) if self.downsample else x
        return self.bn2(self.conv2(y), shortcut, relu=True)


class Bottleneck(Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: (n, c_in, h, w) to (n, 4 width, h / stride, w / stride)."""

    expansion = 4

    def __init__(self, c_in, width, stride):
        """The shortcut is a 1x1 convolution where the shapes differ."""
        self.conv1, self.bn1 = _conv1x1(c_in, width), BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3x3(width, width, stride=stride), BatchNorm2d(width)
        self.conv3, self.bn3 = _conv1x1(width, self.expansion * width), BatchNorm2d(self.expansion * width)
        self.downsample = _downsample(c_in, self.expansion * width, stride)

    def forward(self, x):
        """relu(branch(x) + shortcut(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        y = self.bn2(self.conv2(y), relu=True)
        shortcut = self.downsample(x) if self.downsample else x
        return self.bn3(self.conv3(y), shortcut, relu=True)


class ResNet(Module):
    """Four stages of blocks behind a stem: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, block, blocks, num_classes, c_in=3, small=False):
        """block: the class; blocks: how many in each stage; small: a stem of one 3x3 layer, for images of 32x32."""
        self.conv1 = _conv3x3(c_in, 64) if small else _conv(c_in, 64, 7, stride=2, padding=3)
        self.bn1 = BatchNorm2d(64)
        self.maxpool = None if small else MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for i, count in enumerate(blocks):
            width = 64 << i
            setattr(self, f"layer{i + 1}", _stage(block, channels, width, count, stride=1 if i == 0 else 2))
            channels = block.expansion * width
        self.avgpool, self.flatten = AdaptiveAvgPool2d(1), Flatten()
        self.fc = Linear(channels, num_classes)

    def forward(self, x):
        """(n, c, h, w) to logits (n, num_classes)."""
        x = self.bn1(self.conv1(x), relu=True)
        x = self.maxpool(x) if self.maxpool else x
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.fc(self.flatten(self.avgpool(x)))


def _stage(block, c_in, width, count, stride):
    rest = (block(block.expansion * width, width, 1) for _ in range(count - 1))
    return Sequential(block(c_in, width, stride), *rest)


def _downsample(c_in, c_out, stride):
    if stride == 1 and c_in == c_out:
        return None
    return Sequential(_conv1x1(c_in, c_out, stride=stride), BatchNorm2d(c_out))


def _resnet(name, block, blocks, num_classes, input_shape, small=False):
    """One of the networks, for images of any size from 8x8 up (the paper's: 224x224)."""
    require_images(name, input_shape, 8)
    return ResNet(block, blocks, num_classes, input_shape[0], small)


resnet18 = partial(_resnet, "resnet18", BasicBlock, (2, 2, 2, 2))
resnet34 = partial(_resnet, "resnet34", BasicBlock, (3, 4, 6, 3))
resnet50 = partial(_resnet, "resnet50", Bottleneck, (3, 4, 6, 3))
resnet101 = partial(_resnet, "resnet101", Bottleneck, (3, 4, 23, 3))
cifar_resnet18 = partial(_resnet, "cifar_resnet18", BasicBlock, (2, 2, 2, 2), small=True)
