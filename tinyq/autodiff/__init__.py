"""Reverse-mode differentiation of NumPy arrays: the tape, the primitives by family, and the gradient checker."""
from tinyq.autodiff import conv, dropout, elementwise, linalg, loss, norm, operators, pool, reduce, shape
from tinyq.autodiff.check import Finding, check_gradients, check_pull, examine_gradients, examine_pull
from tinyq.autodiff.primitives import PRIMITIVES, Primitive, once, primitive
from tinyq.autodiff.tape import Tensor, detach, no_record

__all__ = [
    "PRIMITIVES", "Finding", "Primitive", "Tensor", "check_gradients", "check_pull", "conv", "detach", "dropout",
    "elementwise", "examine_gradients", "examine_pull", "linalg", "loss", "no_record", "norm", "once", "operators",
    "pool", "primitive", "reduce", "shape",
]
