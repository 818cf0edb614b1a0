"""Check gradients by finite differences: of a primitive, or of a whole loss."""
from tinyq.checks.gradient_check import (
    Finding,
    WrongGradient,
    check_gradients,
    check_vjp,
    examine_gradients,
    examine_vjp,
)

__all__ = ["Finding", "WrongGradient", "check_gradients", "check_vjp", "examine_gradients", "examine_vjp"]
