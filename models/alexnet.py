"""AlexNet as in torchvision (Krizhevsky 2014), and with batch norm as CBP's authors train it."""
from tinyq.autodiff import Tensor
from tinyq.models.input_checks import Shape, check_images
from tinyq.nn import (
    AdaptiveAvgPool2d,
    BatchNorm1d,
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

# Convolutions: output channels, kernel size, stride, padding, and True if a pooling follows.
CONVOLUTIONS = ((64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False),
                (256, 3, 1, 1, True))
HIDDEN, PIXELS = 4096, 6
EPSILON = 1e-4                      # of the batch norms
MIN_SIZE = 63                       # with smaller images the last pooling has no output


class AlexNet(Module):
    """Five convolutions and three linear layers: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, num_classes: int, c_in: int = 3, batch_norm: bool = False):
        """batch_norm: after each layer but the last, instead of biases and dropout."""
        initial = init.kaiming_normal_fan_out if batch_norm else init.uniform_fan_in
        layers: list[Module] = []
        for c_out, kernel, stride, padding, pooled in CONVOLUTIONS:
            layers += [Conv2d(c_in, c_out, kernel, stride, padding, bias=not batch_norm, initial_weight=initial),
                       *([BatchNorm2d(c_out, eps=EPSILON)] if batch_norm else []), ReLU(),
                       *([MaxPool2d(3, stride=2)] if pooled else [])]
            c_in = c_out
        self.features, self.avgpool, self.flatten = Sequential(*layers), AdaptiveAvgPool2d(PIXELS), Flatten()
        hidden = [layer for n_in in (c_in * PIXELS * PIXELS, HIDDEN) for layer in _hidden(n_in, batch_norm, initial)]
        self.classifier = Sequential(*hidden, Linear(HIDDEN, num_classes, initial_weight=initial))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to logits (n, num_classes)."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def _hidden(n_in: int, batch_norm: bool, initial: init.InitialWeight) -> tuple[Module, ...]:
    if batch_norm:
        return Linear(n_in, HIDDEN, bias=False, initial_weight=initial), BatchNorm1d(HIDDEN, eps=EPSILON), ReLU()
    return Dropout(0.5), Linear(n_in, HIDDEN, initial_weight=initial), ReLU()


def alexnet(num_classes: int, input_shape: Shape) -> Module:
    """Make torchvision's network, for images of 63x63 or more (224x224 in the papers)."""
    check_images("alexnet", input_shape, MIN_SIZE)
    return AlexNet(num_classes, input_shape[0])


def alexnet_bn(num_classes: int, input_shape: Shape) -> Module:
    """Make the network of Kim and Jeong 2021, with batch norm."""
    check_images("alexnet_bn", input_shape, MIN_SIZE)
    return AlexNet(num_classes, input_shape[0], batch_norm=True)
