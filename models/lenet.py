"""LeNet-5 (LeCun et al. 1998) in its common form: ReLU, max pooling, linear layers; 61,706 parameters."""
from tinyq.autodiff import Tensor
from tinyq.models.input_checks import Shape, check_image_size
from tinyq.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU


class LeNet(Module):
    """Two 5x5 convolutions with pooling, then 120, 84 and the classes: (n, c, 28, 28) to (n, num_classes)."""

    def __init__(self, num_classes: int, c_in: int = 1):
        """c_in: channels of the image."""
        self.relu, self.pool, self.flatten = ReLU(), MaxPool2d(2), Flatten()
        self.conv1 = Conv2d(c_in, 6, 5, padding=2)
        self.conv2 = Conv2d(6, 16, 5)
        self.fc1 = Linear(16 * 5 * 5, 120)
        self.fc2 = Linear(120, 84)
        self.fc3 = Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, 28, 28) to logits (n, num_classes)."""
        x = self.pool(self.relu(self.conv1(x)))             # (n, 6, 14, 14)
        x = self.pool(self.relu(self.conv2(x)))             # (n, 16, 5, 5)
        x = self.relu(self.fc1(self.flatten(x)))
        return self.fc3(self.relu(self.fc2(x)))


def lenet(num_classes: int, input_shape: Shape) -> Module:
    """Make LeNet-5, for 28x28 images."""
    check_image_size("lenet", input_shape, 28)
    return LeNet(num_classes, input_shape[0])
