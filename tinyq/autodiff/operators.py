"""What can be written on a Tensor: + - * / ** @ [] and a few methods, attached here: the tape names no operation."""
import numpy as np

from tinyq.autodiff import elementwise, linalg, reductions, shape
from tinyq.autodiff.tape import Tensor


def _operand(value, like):
    """A Python number as an array in the tensor's dtype; anything else as it is."""
    return np.asarray(value, like.dtype) if isinstance(value, int | float) else value


def _attach_binary(symbol, op):
    setattr(Tensor, f"__{symbol}__", lambda x, y: op(x, _operand(y, x)))
    setattr(Tensor, f"__r{symbol}__", lambda x, y: op(_operand(y, x), x))


def _sizes(arguments):
    """f(2, 3) and f((2, 3)) mean the same."""
    return arguments[0] if len(arguments) == 1 and not isinstance(arguments[0], int) else arguments


for _symbol, _op in {"add": elementwise.add, "sub": elementwise.sub, "mul": elementwise.mul,
                     "truediv": elementwise.div, "matmul": linalg.matmul}.items():
    _attach_binary(_symbol, _op)

Tensor.__neg__ = lambda x: elementwise.neg(x)
Tensor.__pow__ = lambda x, exponent: elementwise.power(x, exponent=exponent)
Tensor.__getitem__ = lambda x, index: shape.getitem(x, index=index)
Tensor.reshape = lambda x, *sizes: shape.reshape(x, shape=_sizes(sizes))
Tensor.transpose = lambda x, *axes: shape.transpose(x, axes=_sizes(axes) or None)
Tensor.sum = lambda x, axes=None, keepdims=False: reductions.sum(x, axes=axes, keepdims=keepdims)
Tensor.mean = lambda x, axes=None, keepdims=False: reductions.mean(x, axes=axes, keepdims=keepdims)
