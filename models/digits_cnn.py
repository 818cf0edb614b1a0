"""A small convolutional network for the embedded 8x8 digits; 25,978 parameters."""
from tinyq.autodiff import Tensor
from tinyq.models.input_checks import Shape, check_image_size
from tinyq.nn import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU


class DigitsCNN(Module):
    """Three 3x3 convolutions with batch norm, two poolings, one linear layer: (n, c, 8, 8) to (n, num_classes)."""

    def __init__(self, num_classes: int, c_in: int = 1):
        """c_in: channels of the image."""
        self.relu, self.pool, self.flatten = ReLU(), MaxPool2d(2), Flatten()
        self.conv1, self.bn1 = Conv2d(c_in, 16, 3, padding=1, bias=False), BatchNorm2d(16)
        self.conv2, self.bn2 = Conv2d(16, 32, 3, padding=1, bias=False), BatchNorm2d(32)
        self.conv3, self.bn3 = Conv2d(32, 64, 3, padding=1, bias=False), BatchNorm2d(64)
        self.fc = Linear(64 * 2 * 2, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, 8, 8) to logits (n, num_classes)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.pool(self.relu(self.bn2(self.conv2(x))))   # (n, 32, 4, 4)
        x = self.pool(self.relu(self.bn3(self.conv3(x))))   # (n, 64, 2, 2)
        return self.fc(self.flatten(x))


def digits_cnn(num_classes: int, input_shape: Shape) -> Module:
    """Make the digits network, for 8x8 images."""
    check_image_size("digits_cnn", input_shape, 8)
    return DigitsCNN(num_classes, input_shape[0])
