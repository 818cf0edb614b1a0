"""All primitives by name: operations on Tensors, for a `forward` that needs more than layers."""
from tinyq.autodiff.convolution import conv2d
from tinyq.autodiff.dropout_mask import dropout
from tinyq.autodiff.elementwise import (
    abs,
    add,
    clip,
    div,
    exp,
    log,
    maximum,
    mul,
    neg,
    power,
    relu,
    sigmoid,
    sqrt,
    sub,
    tanh,
    where,
)
from tinyq.autodiff.linalg import linear, matmul
from tinyq.autodiff.losses import softmax_cross_entropy
from tinyq.autodiff.normalization import batch_norm, batch_norm_inference, batch_norm_relu
from tinyq.autodiff.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from tinyq.autodiff.reductions import max, mean, sum
from tinyq.autodiff.shape import broadcast_to, concatenate, flatten, getitem, pad, reshape, stack, transpose

__all__ = [
    "abs", "adaptive_avg_pool2d", "add", "avg_pool2d", "batch_norm", "batch_norm_inference", "batch_norm_relu",
    "broadcast_to", "clip", "concatenate", "conv2d", "div", "dropout", "exp", "flatten", "getitem", "linear", "log",
    "matmul", "max", "max_pool2d", "maximum", "mean", "mul", "neg", "pad", "power", "relu", "reshape", "sigmoid",
    "softmax_cross_entropy", "sqrt", "stack", "sub", "sum", "tanh", "transpose", "where",
]
