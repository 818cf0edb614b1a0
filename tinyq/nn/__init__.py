"""Layers, the modules they make up, their parameters, and losses."""
from tinyq.autodiff.losses import binary_cross_entropy, kl_divergence, mean_absolute_error, mean_squared_error
from tinyq.errors import absent
from tinyq.nn import init
from tinyq.nn.activation_layers import (
    ELU,
    GELU,
    Flatten,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tinyq.nn.constrain import check_levels, computing_weights, constrain
from tinyq.nn.container import ModuleList, Sequential
from tinyq.nn.conv_layers import Conv1d, Conv2d
from tinyq.nn.dropout import Dropout
from tinyq.nn.hooks import hooked
from tinyq.nn.linear import Linear
from tinyq.nn.loss_functions import binary_cross_entropy_with_logits, cross_entropy
from tinyq.nn.module import Module, evaluating
from tinyq.nn.norm_layers import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm
from tinyq.nn.parameter import Parameter, Quantizer, quantizer_of
from tinyq.nn.pool_layers import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d

# By name, for networks that take the names of their layers.
LAYERS: dict[str, type[Module]] = {
    layer.__name__: layer for layer in list(vars().values())
    if isinstance(layer, type) and issubclass(layer, Module) and layer is not Module}

__all__ = [
    "ELU", "GELU", "LAYERS", "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv1d", "Conv2d",
    "Dropout", "Flatten", "GroupNorm", "Identity", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Module",
    "ModuleList", "Parameter", "Quantizer", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Tanh",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "check_levels", "computing_weights", "constrain",
    "cross_entropy", "evaluating", "hooked", "init", "kl_divergence", "mean_absolute_error", "mean_squared_error",
    "quantizer_of",
]


def __getattr__(name: str) -> object:
    """Raise AttributeError that says what to write instead of another library's name."""
    raise absent("tinyq.nn", name, __all__)
