"""The CIFAR residual networks of He et al. 2016, section 4.2: 6 n + 2 layers, parameter-free shortcuts."""
from functools import partial

from tinyq.autodiff import Tensor, shape
from tinyq.models.input_checks import Shape, check_images
from tinyq.nn import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, Module, Sequential, init

_conv3x3 = partial(Conv2d, kernel_size=3, padding=1, bias=False, initial_weight=init.kaiming_normal)


class Shortcut(Module):
    """The paper's option A: every `stride`-th pixel, with channels of zeros added, half before and half after."""

    def __init__(self, stride: int, extra_channels: int):
        """extra_channels: an even number."""
        self.stride, self.half = stride, extra_channels // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c + extra_channels, h / stride, w / stride)."""
        x = x[:, :, ::self.stride, ::self.stride]
        return shape.pad(x, widths=((0, 0), (self.half, self.half), (0, 0), (0, 0)))


class BasicBlock(Module):
    """Two 3x3 convolutions with a shortcut: (n, c_in, h, w) to (n, c_out, h / stride, w / stride)."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        """stride: 1, or 2 with c_out = 2 * c_in."""
        self.conv1, self.bn1 = _conv3x3(c_in, c_out, stride=stride), BatchNorm2d(c_out)
        self.conv2, self.bn2 = _conv3x3(c_out, c_out), BatchNorm2d(c_out)
        self.shortcut = Shortcut(stride, c_out - c_in) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(branch(x) + shortcut(x))."""
        y = self.bn1(self.conv1(x), relu=True)
        shortcut = self.shortcut(x) if self.shortcut else x
        return self.bn2(self.conv2(y), shortcut, relu=True)


class CifarResNet(Module):
    """Stages of 16, 32 and 64 channels with n blocks each: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, blocks: int, num_classes: int, c_in: int = 3):
        """blocks: per stage; c_in: channels of the image."""
        self.conv1, self.bn1 = _conv3x3(c_in, 16), BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.pool, self.flatten = AdaptiveAvgPool2d(1), Flatten()
        self.fc = Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, num_classes)."""
        x = self.bn1(self.conv1(x), relu=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.flatten(self.pool(x)))


def _stage(c_in: int, c_out: int, blocks: int, stride: int) -> Sequential:
    return Sequential(BasicBlock(c_in, c_out, stride), *(BasicBlock(c_out, c_out, 1) for _ in range(blocks - 1)))


def _resnet(depth: int, num_classes: int, input_shape: Shape) -> Module:
    """Make a residual network of 6 n + 2 layers, for images of 8x8 or more (32x32 in the paper)."""
    check_images(f"resnet{depth}", input_shape, 8)
    return CifarResNet((depth - 2) // 6, num_classes, input_shape[0])


resnet20, resnet32, resnet56 = (partial(_resnet, depth) for depth in (20, 32, 56))     # 0.27, 0.46, 0.85 M parameters
