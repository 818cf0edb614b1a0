"""All operations on Tensors by name, for a network's `forward` and for work by hand: `import tinyq.functional as F`."""
from tinyq.autodiff.activations import (
    ceil,
    cos,
    dropout,
    elu,
    expm1,
    floor,
    gelu,
    leaky_relu,
    log1p,
    round,
    sign,
    silu,
    sin,
    softplus,
)
from tinyq.autodiff.convolution import conv1d, conv2d
from tinyq.autodiff.elementwise import (
    abs,
    add,
    clip,
    div,
    exp,
    float_power,
    floor_divide,
    log,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    power,
    relu,
    remainder,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)
from tinyq.autodiff.linalg import einsum, linear, matmul
from tinyq.autodiff.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy_of_targets,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
    softmax_cross_entropy,
)
from tinyq.autodiff.normalization import batch_norm, batch_norm_inference, batch_norm_relu, group_norm, layer_norm
from tinyq.autodiff.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from tinyq.autodiff.reductions import (
    cumsum,
    log_softmax,
    logsumexp,
    max,
    mean,
    min,
    prod,
    softmax,
    std,
    sum,
    var,
)
from tinyq.autodiff.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    flip,
    gather,
    getitem,
    pad,
    repeat,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)
from tinyq.errors import absent
from tinyq.nn.loss_functions import cross_entropy

__all__ = [
    "abs", "adaptive_avg_pool2d", "add", "avg_pool2d", "batch_norm", "batch_norm_inference", "batch_norm_relu",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "broadcast_to", "ceil", "clip", "concatenate", "conv1d",
    "conv2d", "cos", "cross_entropy", "cross_entropy_of_targets", "cumsum", "div", "dropout", "einsum", "elu", "exp",
    "expand_dims", "expm1", "flatten", "flip", "float_power", "floor", "floor_divide", "gather", "gelu", "getitem",
    "group_norm", "kl_divergence", "layer_norm", "leaky_relu", "linear", "log", "log1p", "log_softmax", "logsumexp",
    "matmul", "max", "max_pool2d", "maximum", "mean", "mean_absolute_error", "mean_squared_error", "min", "minimum",
    "mul", "neg", "pad", "pow", "power", "prod", "relu", "remainder", "repeat", "reshape", "round", "sigmoid", "sign",
    "silu", "sin", "softmax", "softmax_cross_entropy", "softplus", "split", "sqrt", "squeeze", "stack", "std", "sub",
    "sum", "swapaxes", "tanh", "transpose", "var", "where",
]


def __getattr__(name: str) -> object:
    """Raise AttributeError that says what to write instead of another library's name."""
    raise absent("tinyq.functional", name, __all__)
