"""Arrays in, arrays out: float32 runs the numba kernel, float64 its plain twin in `reference`.

The two have the same names and signatures (checked by test) and, on float32, the same bits.
"""
import importlib

import numpy as np

from tinyq.kernels.geometry.conv_geometry import ConvGeometry, conv_geometry
from tinyq.kernels.jit.availability import numba_is_there
from tinyq.kernels.jit.process import keep_freed_memory, let_waiting_threads_sleep, return_freed_memory

# Before anything can load numba's threads.
let_waiting_threads_sleep()
keep_freed_memory()

# family (a module here and its twin in reference/) -> the functions it offers
FAMILIES = {
    "gemm.matmul": ("matmul",),
    "gemm.conv": ("conv2d", "conv2d_input_grad", "conv2d_weight_grad"),
    "gemm.prepacked": ("pack_weights", "code_weights", "conv2d_packed", "pack_linear", "code_linear", "linear_packed"),
    "elementwise.functions": ("exp", "log", "tanh", "sigmoid"),
    "elementwise.activation": ("relu", "relu_grad", "add", "channel_affine"),
    "reduction.reduce": ("sum", "channel_sums"),
    "reduction.batchnorm": ("batch_norm", "batch_norm_grad", "batch_norm_inference", "batch_norm_relu",
                            "batch_norm_relu_grad"),
    "pooling.max_pool": ("max_pool2d", "max_pool2d_grad"),
    "pooling.max_pool_values": ("max_pool2d_values",),
    "pooling.avg_pool": ("avg_pool2d", "avg_pool2d_grad", "adaptive_avg_pool2d", "adaptive_avg_pool2d_grad"),
    "reduction.cross_entropy": ("softmax_cross_entropy", "softmax_cross_entropy_grad"),
    "elementwise.discrete": ("nearest_level", "constraint", "recode"),
    "reduction.hashing": ("digest",),
    "elementwise.optimizer_update": ("sgd", "adam"),
    "search.visit": ("visit", "recompute"),
}


def _dispatching(family, name):
    plain = getattr(importlib.import_module(f"tinyq.kernels.reference.{family}"), name)
    fast = getattr(importlib.import_module(f"tinyq.kernels.{family}"), name) if numba_is_there() else plain

    def kernel(x, *args, **kwargs):
        return (plain if x.dtype == np.float64 else fast)(x, *args, **kwargs)

    kernel.__name__, kernel.__doc__, kernel.__wrapped__ = name, fast.__doc__, fast
    return kernel


def __getattr__(name):
    """A kernel is imported, and numba with it, when it is first asked for: --help needs neither."""
    for family, names in FAMILIES.items():
        if name in names:
            globals()[name] = _dispatching(family, name)
            return globals()[name]
    raise AttributeError(f"module 'tinyq.kernels' has no attribute {name!r}")


def set_threads(count: int) -> None:
    """Use `count` threads in the kernels (at most NUMBA_NUM_THREADS); the bits do not depend on it."""
    import numba

    numba.set_num_threads(count)


def verify_arithmetic() -> None:
    """TinyqError if a thread of the kernels flushes subnormal numbers to zero."""
    from tinyq.kernels import arithmetic

    arithmetic.verify_arithmetic()


__all__ = ["ConvGeometry", "conv_geometry", "return_freed_memory", "set_threads", "verify_arithmetic",
           *(n for names in FAMILIES.values() for n in names)]
