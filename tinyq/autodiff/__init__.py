"""Reverse-mode differentiation of NumPy arrays: the tape, the primitives by family, and the gradient checker."""
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
from tinyq.autodiff.gradient_check import Finding, check_gradients, check_vjp, examine_gradients, examine_vjp
from tinyq.autodiff.primitives import PRIMITIVES, Primitive, once, primitive
from tinyq.autodiff.tape import no_record
from tinyq.autodiff.tensors import Tensor, detach

__all__ = [
    "PRIMITIVES", "Finding", "Primitive", "Tensor", "activations", "check_gradients", "check_vjp", "convolution",
    "detach", "elementwise", "examine_gradients", "examine_vjp", "linalg", "losses", "no_record",
    "normalization", "once", "pooling", "primitive", "reductions", "shape",
]
