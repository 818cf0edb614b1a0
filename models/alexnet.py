"""AlexNet as torchvision has it (Krizhevsky 2014), and with batch norm as CBP's authors train it."""
from tinyq.models.input_checks import require_images
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

# Convolutions: output channels, kernel size, stride, padding, and whether a pooling follows.
CONVOLUTIONS = ((64, 11, 4, 2, True), (192, 5, 1, 2, True), (384, 3, 1, 1, False), (256, 3, 1, 1, False),
                (256, 3, 1, 1, True))
HIDDEN, PIXELS = 4096, 6
EPSILON = 1e-4                      # of the batch norms
MIN_SIZE = 63                     # below it nothing is left behind the last pooling


class AlexNet(Module):
    """Five convolutions and three full connections: (n, c, h, w) to (n, num_classes)."""

    def __init__(self, num_classes, c_in=3, batch_norm=False):
        """batch_norm: behind every layer but the last, in place of biases and dropout, with the initial weights of
        its authors.
        """
        initial = {"initial_weight": init.kaiming_normal_fan_out if batch_norm else init.uniform_fan_in}
        layers = []
        for c_out, kernel, stride, padding, pooled in CONVOLUTIONS:
            layers += [Conv2d(c_in, c_out, kernel, stride, padding, bias=not batch_norm, **initial),
                       *([BatchNorm2d(c_out, eps=EPSILON)] if batch_norm else []), ReLU(),
                       *([MaxPool2d(3, stride=2)] if pooled else [])]
            c_in = c_out
        self.features, self.avgpool, self.flatten = Sequential(*layers), AdaptiveAvgPool2d(PIXELS), Flatten()
        hidden = [layer for n_in in (c_in * PIXELS * PIXELS, HIDDEN) for layer in _hidden(n_in, batch_norm, initial)]
        self.classifier = Sequential(*hidden, Linear(HIDDEN, num_classes, **initial))

    def forward(self, x):
        """(n, c, h, w) to logits (n, num_classes)."""
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


def _hidden(n_in, batch_norm, initial):
    if batch_norm:
        return Linear(n_in, HIDDEN, bias=False, **initial), BatchNorm1d(HIDDEN, eps=EPSILON), ReLU()
    return Dropout(0.5), Linear(n_in, HIDDEN, **initial), ReLU()


def alexnet(num_classes, input_shape):
    """Torchvision's network, for images of 63x63 or more (224x224 in the papers)."""
    require_images("alexnet", input_shape, MIN_SIZE)
    return AlexNet(num_classes, input_shape[0])


def alexnet_bn(num_classes, input_shape):
    """The network of Kim and Jeong 2021, with batch norm."""
    require_images("alexnet_bn", input_shape, MIN_SIZE)
    return AlexNet(num_classes, input_shape[0], batch_norm=True)
