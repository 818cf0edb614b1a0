"""Reverse-mode differentiation of NumPy arrays: the tape, and the primitives by family."""
from tinyq.autodiff import (
    activations,
    convolution,
    elementwise,
    linalg,
    losses,
    normalization,
    pooling,
    reductions,
    shape,
)
from tinyq.autodiff.primitives import PRIMITIVES, Primitive, once, primitive
from tinyq.autodiff.tape import no_record
from tinyq.autodiff.tensors import Tensor, detach

__all__ = [
    "PRIMITIVES", "Primitive", "Tensor", "activations", "convolution", "detach", "elementwise", "linalg", "losses",
    "no_record", "normalization", "once", "pooling", "primitive", "reductions", "shape",
]
