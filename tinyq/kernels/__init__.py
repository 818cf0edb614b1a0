"""Functions of arrays: float32 runs the numba kernel, float64 the NumPy reference of the same name.

Both have the same signature (a test compares them) and, on float32, the same bits. Kernels are imported when they are
first used; `__init__.pyi` names the module of each for editors and type checkers.
"""
import importlib
from contextlib import contextmanager

import numpy as np

from tinyq.kernels.geometry.conv_geometry import ConvGeometry, conv_geometry
from tinyq.kernels.jit.availability import numba_is_there
from tinyq.kernels.jit.cores import limit_threads
from tinyq.kernels.jit.process import keep_freed_memory, let_waiting_threads_sleep, return_freed_memory

# Before anything can load numba and its threads.
limit_threads()
let_waiting_threads_sleep()
keep_freed_memory()

# family (a module here and its reference in reference/) -> its public functions; __init__.pyi has the same names
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
    "reduction.tree_hash": ("chaining_values",),
    "elementwise.optimizer_update": ("sgd", "adam"),
    "search.visit": ("visit", "recompute"),
    "search.outputs": ("outputs_of_levels", "settle"),
}


def _dispatch(family, name):
    reference = getattr(importlib.import_module(f"tinyq.kernels.reference.{family}"), name)
    compiled = getattr(importlib.import_module(f"tinyq.kernels.{family}"), name) if numba_is_there() else reference

    def kernel(x, *args, **kwargs):
        return (reference if x.dtype == np.float64 else compiled)(x, *args, **kwargs)

    kernel.__name__, kernel.__doc__, kernel.__wrapped__ = name, compiled.__doc__, compiled
    return kernel


@contextmanager
def without_numba():
    """Use NumPy references for kernels that were not used before: slower, the same bits, 60 MiB less memory."""
    global _without_numba
    before, _without_numba = _without_numba, True
    try:
        yield
    finally:
        _without_numba = before


_without_numba = False


def __getattr__(name):
    """Import a kernel, and numba with it, at its first use: --help needs neither."""
    for family, names in FAMILIES.items():
        if name in names:
            if _without_numba:
                return getattr(importlib.import_module(f"tinyq.kernels.reference.{family}"), name)
            globals()[name] = _dispatch(family, name)
            return globals()[name]
    raise AttributeError(f"module 'tinyq.kernels' has no attribute {name!r}")


def set_threads(count: int) -> None:
    """Use `count` threads in the kernels (at most NUMBA_NUM_THREADS); the bits do not depend on it."""
    import numba

    from tinyq.kernels.jit.threads import start_threads

    start_threads()
    numba.set_num_threads(count)


def verify_arithmetic() -> None:
    """Raise TinyqError if a thread of the kernels flushes subnormal numbers to zero."""
    from tinyq.kernels import arithmetic

    arithmetic.verify_arithmetic()


__all__ = ["ConvGeometry", "conv_geometry", "return_freed_memory", "set_threads", "verify_arithmetic", "without_numba",
           *(n for names in FAMILIES.values() for n in names)]
