"""The public functions of the kernels with their types, for editors and type checkers."""
from contextlib import AbstractContextManager

from tinyq.kernels.elementwise.activation import add, channel_affine, relu, relu_grad
from tinyq.kernels.elementwise.discrete import constraint, nearest_level, recode
from tinyq.kernels.elementwise.functions import exp, log, sigmoid, tanh
from tinyq.kernels.elementwise.optimizer_update import adam, sgd
from tinyq.kernels.gemm.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from tinyq.kernels.gemm.matmul import matmul
from tinyq.kernels.gemm.prepacked import (
    code_linear,
    code_weights,
    conv2d_packed,
    linear_packed,
    pack_linear,
    pack_weights,
)
from tinyq.kernels.geometry.conv_geometry import ConvGeometry, conv_geometry
from tinyq.kernels.jit.process import return_freed_memory
from tinyq.kernels.pooling.avg_pool import adaptive_avg_pool2d, adaptive_avg_pool2d_grad, avg_pool2d, avg_pool2d_grad
from tinyq.kernels.pooling.max_pool import max_pool2d, max_pool2d_grad
from tinyq.kernels.pooling.max_pool_values import max_pool2d_values
from tinyq.kernels.reduction.batchnorm import (
    batch_norm,
    batch_norm_grad,
    batch_norm_inference,
    batch_norm_relu,
    batch_norm_relu_grad,
)
from tinyq.kernels.reduction.cross_entropy import softmax_cross_entropy, softmax_cross_entropy_grad
from tinyq.kernels.reduction.hashing import digest
from tinyq.kernels.reduction.reduce import channel_sums, sum
from tinyq.kernels.reduction.tree_hash import chaining_values
from tinyq.kernels.search.outputs import outputs_of_levels, settle
from tinyq.kernels.search.visit import recompute, visit

FAMILIES: dict[str, tuple[str, ...]]

def set_threads(count: int) -> None: ...
def verify_arithmetic() -> None: ...
def without_numba() -> AbstractContextManager[None]: ...

__all__ = [
    "ConvGeometry", "adam", "adaptive_avg_pool2d", "adaptive_avg_pool2d_grad", "add", "avg_pool2d", "avg_pool2d_grad",
    "batch_norm", "batch_norm_grad", "batch_norm_inference", "batch_norm_relu", "batch_norm_relu_grad",
    "chaining_values", "channel_affine", "channel_sums", "code_linear", "code_weights", "constraint", "conv2d",
    "conv2d_input_grad", "conv2d_packed", "conv2d_weight_grad", "conv_geometry", "digest", "exp", "linear_packed",
    "log", "matmul", "max_pool2d", "max_pool2d_grad", "max_pool2d_values", "nearest_level",
    "outputs_of_levels", "pack_linear", "pack_weights", "recode", "recompute", "relu", "relu_grad",
    "return_freed_memory", "set_threads", "settle", "sgd", "sigmoid",
    "softmax_cross_entropy", "softmax_cross_entropy_grad", "sum", "tanh", "verify_arithmetic", "visit", "without_numba",
]
