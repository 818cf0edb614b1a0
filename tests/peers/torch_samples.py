"""Compare the operations of tinyq with torch's own sample inputs, values and gradients, in float64 and float32.

    python tests/peers/torch_samples.py [NAME ...]

prints a line for each operation of torch: samples compared, samples refused with the reasons, and the largest errors,
in float64 relative to torch's and in float32 as multiples of torch's own error. An error is the norm of the difference
from the exact array, divided by the array's norm, or by SMALL where that is smaller: a gradient that cancels is noise.
Below one rounding, FLOOR, an error counts as that.
"""
import sys
import types
import unittest
import warnings
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from itertools import islice

import numpy as np
import torch

import tinyq.functional as F
from tinyq.autodiff import Tensor

FLOOR = {np.float32: 2.0**-23, np.float64: 1e-9}
MANY = 8                                # times torch's own error in float32
SMALL = 1e-3


class Refused(Exception):
    """A sample of something that tinyq does not have; the text is the reason."""


def refuse(condition, reason):
    if condition:
        raise Refused(reason)


OUT = "no such option in tinyq: "
NUMBER = "a number has no axis in tinyq, as in NumPy"


def axis_of(dim):
    return tuple(dim) if isinstance(dim, list) else dim


def reduction(op):
    def reduce(x, dim=None, keepdim=False):
        refuse(x.ndim == 0 and dim not in (None, [], ()), NUMBER)
        return op(x, axis=None if dim == [] else axis_of(dim), keepdims=keepdim)
    return reduce


def spread(op):
    def reduce(x, dim=None, unbiased=None, correction=1, keepdim=False):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = correction if unbiased is None else int(unbiased)
        return op(x, axis=None if dim in ([], ()) else axis_of(dim), keepdims=keepdim, ddof=1 if ddof is None else ddof)
    return reduce


def one(op):
    """An operation that torch reduces along one axis, or all of them, whose gradient tinyq shares among ties."""
    def reduce(x, *args, **options):
        refuse(any(isinstance(a, Tensor) for a in args), "of two tensors it is maximum or minimum, which are compared")
        refuse(bool(args or options), "torch returns (values, indices) and gives ties no share: max(axis=)")
        return op(x)
    return reduce


def scaled(op):
    def apply(x, y, alpha=1):
        return op(x, y if alpha == 1 else F.mul(y, float(alpha)))
    return apply


def division(x, y, rounding_mode=None):
    refuse(rounding_mode == "trunc", OUT + "rounding towards 0")
    return F.floor_divide(x, y) if rounding_mode == "floor" else F.div(x, y)


def rounding(x, decimals=0):
    refuse(decimals != 0, OUT + "decimals")
    return F.round(x)


def limited(x, low=None, high=None, min=None, max=None):
    low, high = (low if min is None else min), (high if max is None else max)
    refuse(any(isinstance(limit, np.ndarray) for limit in (low, high)), OUT + "limits as tensors of whole numbers")
    if any(isinstance(limit, Tensor) for limit in (low, high)):
        x = x if low is None else F.maximum(x, low)
        return x if high is None else F.minimum(x, high)
    return F.clip(x, -np.inf if low is None else float(low), np.inf if high is None else float(high))


def power(x, y):
    refuse(isinstance(y, complex), "complex numbers are not part of tinyq")
    return F.pow(x, y)


def where(x, condition, y):
    return F.where(condition, x, y)


def exchanged(x, dim0, dim1):
    refuse(x.ndim == 0, NUMBER)
    return F.swapaxes(x, dim0, dim1)


def squeezed(x, dim=None):
    axes = dim if isinstance(dim, list | tuple) else [dim]
    if dim is None or x.ndim == 0:
        return F.squeeze(x)
    return F.squeeze(x, tuple(a for a in axes if x.shape[a] == 1))          # torch leaves other axes


def split(x, size, dim=0):
    n = x.shape[dim]
    sizes = list(size) if isinstance(size, list | tuple) else [size] * -(-n // size)
    return F.split(x, np.cumsum(sizes)[:-1], dim)


def tensor_split(x, parts, dim=0):
    refuse(isinstance(parts, np.ndarray | Tensor), OUT + "indices as a tensor")
    refuse(isinstance(parts, int) and x.shape[dim] % parts != 0, "parts of unequal sizes: give the indices")
    return F.split(x, parts if isinstance(parts, int) else list(parts), dim)


def interleaved(x, repeats, dim=None, output_size=None):
    return F.repeat(F.flatten(x) if dim is None else x, repeats, 0 if dim is None else dim)


def gathered(x, dim, index, sparse_grad=False):
    refuse(x.ndim == 0 or np.ndim(index) != x.ndim, NUMBER)
    return F.gather(x, index, dim)


def padded(x, pad, mode="constant", value=None):
    refuse(mode != "constant", OUT + f"mode {mode}")
    refuse(min(pad) < 0, "negative widths: an index cuts")
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [tuple(pad[i:i + 2]) for i in range(len(pad) - 2, -1, -2)]
    return F.pad(x, widths=widths, value=0.0 if value is None else float(value))


def listed(op):
    def join(xs, dim=0):
        refuse(len({x.ndim for x in xs}) > 1, "an empty vector among arrays of more axes")
        return op(list(xs), axis=dim)
    return join


def softmax(op):
    def apply(x, dim, dtype=None, _stacklevel=3):
        refuse(dtype is not None, OUT + "dtype")
        refuse(x.ndim == 0, NUMBER)
        return op(x, axis=dim)
    return apply


def cumulated(x, dim, dtype=None):
    refuse(dtype is not None, OUT + "dtype")
    refuse(x.ndim == 0, NUMBER)
    return F.cumsum(x, axis=dim)


def summed(op):
    def apply(x, dim=None, keepdim=False, dtype=None):
        refuse(dtype is not None, OUT + "dtype")
        return reduction(op)(x, dim, keepdim)
    return apply


def activation(op, **names):
    def apply(x, *args, inplace=False, **options):
        return op(x, *args, **{names.get(name, name): value for name, value in options.items()})
    return apply


def elu(x, alpha=1.0, scale=1.0, input_scale=1.0, inplace=False):
    return F.elu(x, alpha=float(alpha))


def softplus(x, beta=1, threshold=20):
    exact = F.softplus(x * float(beta)) / float(beta)         # torch's is x above the threshold
    return F.where(x * float(beta) > float(threshold), x, exact)


def convolution(op, ndim):
    def apply(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
        refuse(isinstance(padding, str), OUT + "padding as a word")
        if x.ndim < ndim + 2:
            return apply(F.expand_dims(x, 0), w, bias, stride, padding, dilation, groups)[0]
        sizes = (v if ndim == 2 or isinstance(v, int) else v[0] for v in (stride, padding, dilation))
        stride, padding, dilation = (v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in sizes)
        return op(x, w, None, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return apply


def linear(x, w, bias=None):
    if x.ndim == w.ndim == 2:
        return F.linear(x, w, None, bias)
    y = F.matmul(x, w.T)
    return y if bias is None else y + bias


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    refuse(return_indices, OUT + "return_indices")
    if x.ndim == 3:
        return max_pool(F.expand_dims(x, 0), kernel_size, stride, padding, dilation, ceil_mode)[0]
    return F.max_pool2d(x, kernel_size, stride or None, padding, dilation, ceil_mode)


def avg_pool(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    refuse(divisor_override is not None, OUT + "divisor_override")
    if x.ndim == 3:
        return avg_pool(F.expand_dims(x, 0), kernel_size, stride, padding, ceil_mode, count_include_pad)[0]
    return F.avg_pool2d(x, kernel_size, stride or None, padding, ceil_mode, count_include_pad)


def adaptive(x, output_size):
    if x.ndim == 3:
        return adaptive(F.expand_dims(x, 0), output_size)[0]
    sizes = output_size if isinstance(output_size, list | tuple) else (output_size,) * 2
    return F.adaptive_avg_pool2d(x, output_size=tuple(n if s is None else s for s, n in zip(sizes, x.shape[2:],
                                                                                          strict=True)))


def batch_norm(x, mean, variance, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    refuse(x.ndim < 2, "an input without channels")
    if training or mean is None:
        return F.batch_norm(x, weight, bias, eps=eps)[0]
    return F.batch_norm_inference(x, weight, bias, mean.data, variance.data, eps=eps)


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    return F.layer_norm(x, weight, bias, axes=len(normalized_shape), eps=eps)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    return F.group_norm(x, weight, bias, groups=num_groups, eps=eps)


def mean_only(op):
    def apply(x, target, reduction="mean", **options):
        refuse(reduction == "none", OUT + "reduction none: a loss is one number")
        refuse(any(value is not None for value in options.values()), OUT + ", ".join(options))
        refuse(x.shape != target.shape, "a target of another shape, which would be broadcast")
        refuse(x.size == 0, "the mean of nothing")
        return op(x, target) * (float(x.size) if reduction == "sum" else 1.0)
    return apply


def logits_loss(x, target, weight=None, reduction="mean", pos_weight=None):
    refuse(reduction == "none", OUT + "reduction none: a loss is one number")
    refuse(pos_weight is not None, OUT + "pos_weight")
    refuse(x.size == 0, "the mean of nothing")
    loss = F.binary_cross_entropy_with_logits(x, target.data, None if weight is None else weight.data)
    return loss * (float(x.size) if reduction == "sum" else 1.0)


def divergence(x, target, reduction="mean", log_target=False):
    refuse(reduction == "none", OUT + "reduction none: a loss is one number")
    refuse(x.ndim == 0, NUMBER)
    loss = F.kl_divergence(x, F.exp(target) if log_target else target)      # the mean over the samples, "batchmean"
    return loss * {"batchmean": 1.0, "sum": float(len(x)), "mean": len(x) / x.size}[reduction]


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    refuse(reduction != "mean", OUT + "reduction other than the mean")
    refuse(x.ndim != 2, "logits that are not (n, classes)")
    refuse(isinstance(target, Tensor) and weight is not None and label_smoothing, "weights of smoothed probabilities")
    target = target.data if isinstance(target, Tensor) else target
    ignored = ignore_index if target.dtype.kind == "i" and (target == ignore_index).any() else None
    return F.cross_entropy(x, target, label_smoothing, None if weight is None else weight.data, ignored)


def indexed(x, index):
    return x[index]


OPERATIONS = {
    "abs": F.abs, "add": scaled(F.add), "sub": scaled(F.sub), "mul": F.mul, "div": division, "neg": F.neg, "exp": F.exp,
    "log": F.log, "tanh": F.tanh, "sigmoid": F.sigmoid, "sqrt": F.sqrt, "sin": F.sin, "cos": F.cos, "log1p": F.log1p,
    "expm1": F.expm1, "sign": F.sign, "floor": F.floor, "ceil": F.ceil, "round": rounding, "pow": power,
    "__rpow__": lambda x, y: y ** x, "__radd__": lambda x, y: y + x, "__rsub__": lambda x, y: y - x,
    "__rmul__": lambda x, y: y * x, "__rdiv__": lambda x, y: y / x, "__rmatmul__": lambda x, y: F.matmul(y, x),
    "float_power": power, "remainder": F.remainder, "floor_divide": F.floor_divide, "maximum": F.maximum,
    "minimum": F.minimum, "clamp": limited, "where": where, "max": one(F.max), "min": one(F.min),
    "amax": reduction(F.max), "amin": reduction(F.min), "sum": summed(F.sum), "mean": summed(F.mean),
    "prod": summed(F.prod), "var": spread(F.var), "std": spread(F.std), "logsumexp": reduction(F.logsumexp),
    "cumsum": cumulated, "softmax": softmax(F.softmax), "log_softmax": softmax(F.log_softmax),
    "eq": lambda x, y: x == y, "ne": lambda x, y: x != y, "lt": lambda x, y: x < y, "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y, "ge": lambda x, y: x >= y,
    "T": lambda x: x.T, "squeeze": squeezed, "unsqueeze": F.expand_dims, "transpose": exchanged,
    "permute": lambda x, dims: F.transpose(x, axes=tuple(dims)), "reshape": lambda x, shape: x.reshape(tuple(shape)),
    "flatten": lambda x, start_dim=0, end_dim=-1: (refuse(end_dim not in (-1, x.ndim - 1), OUT + "end_dim"),
                                                   F.flatten(x, start_dim))[1],
    "split": split, "tensor_split": tensor_split, "repeat_interleave": interleaved,
    "flip": lambda x, dims: F.flip(x, tuple(dims)), "stack": listed(F.stack), "cat": listed(F.concatenate),
    "einsum": lambda operands, equation: F.einsum(equation, *operands), "gather": gathered,
    "nn.functional.pad": padded, "broadcast_to": lambda x, shape: F.broadcast_to(x, tuple(shape)),
    "__getitem__": indexed, "matmul": F.matmul,
    "nn.functional.relu": activation(F.relu), "nn.functional.elu": elu, "nn.functional.gelu": F.gelu,
    "nn.functional.leaky_relu": activation(F.leaky_relu, negative_slope="slope"),
    "nn.functional.silu": activation(F.silu), "nn.functional.softplus": softplus, "nn.functional.linear": linear,
    "nn.functional.conv1d": convolution(F.conv1d, 1),
    "nn.functional.conv2d": convolution(F.conv2d, 2), "nn.functional.max_pool2d": max_pool,
    "nn.functional.avg_pool2d": avg_pool, "nn.functional.adaptive_avg_pool2d": adaptive,
    "nn.functional.batch_norm": batch_norm, "nn.functional.layer_norm": layer_norm,
    "nn.functional.group_norm": group_norm, "nn.functional.mse_loss": mean_only(F.mean_squared_error),
    "nn.functional.l1_loss": mean_only(F.mean_absolute_error),
    "nn.functional.binary_cross_entropy": mean_only(F.binary_cross_entropy),
    "nn.functional.binary_cross_entropy_with_logits": logits_loss, "nn.functional.kl_div": divergence,
    "nn.functional.cross_entropy": cross_entropy,
}
CONSTANT_TARGETS = ("nn.functional.binary_cross_entropy_with_logits", "nn.functional.cross_entropy")


@dataclass
class Report:
    """Findings about one operation."""

    compared: int = 0
    refused: Counter = field(default_factory=Counter)       # by reason
    worst: dict = field(default_factory=dict)               # largest error by dtype, see the module's docstring
    faults: list = field(default_factory=list)


@cache
def op_infos():
    """{name: torch's descriptions of the operation}; torch's tests need a package of which this needs a class alone."""
    try:
        import expecttest  # noqa: F401
    except ModuleNotFoundError:
        sys.modules["expecttest"] = types.ModuleType("expecttest")
        sys.modules["expecttest"].TestCase = unittest.TestCase
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found = {}
    for info in op_db:
        found.setdefault(info.name, []).append(info)
    return found


def compare(name, few=False):
    """Return the Report of one operation; few: of about four of its first 40 samples, else of all."""
    report = Report()
    for info in op_infos()[name]:
        torch.manual_seed(0)
        differentiable = info.supports_autograd and name not in ("floor_divide", "sign", "round", "floor", "ceil")
        made = info.sample_inputs("cpu", torch.float64, requires_grad=differentiable)
        samples = list(islice(made, 40) if few else made)
        for number, sample in list(enumerate(samples))[::max(1, len(samples) // 4) if few else 1]:
            if name in CONSTANT_TARGETS:
                sample.args = tuple(t.detach() for t in sample.args)
                sample.kwargs = {k: t.detach() if isinstance(t, torch.Tensor) else t
                                 for k, t in sample.kwargs.items()}
            _compare_sample(info, OPERATIONS[name], sample, report, f"sample {number}")
    return report


def _compare_sample(info, operation, sample, report, which):
    given = (sample.input, tuple(sample.args), dict(sample.kwargs))
    single = cast(given, torch.float32)
    double = cast(single, torch.float64)                        # the same numbers
    try:
        exact = run_torch(info, double)
        ours = {np.float64: run_tinyq(operation, double), np.float32: run_tinyq(operation, single)}
    except Refused as reason:
        report.refused[str(reason)] += 1
        return
    except Exception as error:
        report.faults.append(f"{which}: {type(error).__name__}: {error}")
        return
    theirs = run_torch(info, single)
    report.compared += 1
    for dtype, results in ours.items():
        for i, (x, y, t) in enumerate(zip(results, exact, theirs, strict=False)):
            own, peer = error_of(x, y), error_of(t, y)
            ratio = max(own, FLOOR[dtype] * (dtype is np.float32)) / (
                1 if dtype is np.float64 else max(peer, FLOOR[dtype]))
            limit = FLOOR[dtype] if dtype is np.float64 else MANY
            report.worst[dtype] = max(report.worst.get(dtype, 0), ratio)
            if not ratio <= limit or len(results) != len(exact):
                report.faults.append(f"{which}: {np.dtype(dtype)}, array {i}: {ratio:.3g}, {describe(double)}")


def error_of(x, exact):
    """Norm of the difference over the norm; infinite for another shape, or other infinities or NaNs."""
    if x.shape != exact.shape:
        return np.inf
    x, exact = x.astype(np.float64), exact.astype(np.float64)
    finite = np.isfinite(exact)
    if not np.array_equal(x[~finite], exact[~finite], equal_nan=True) or not np.isfinite(x[finite]).all():
        return np.inf
    return np.linalg.norm((x - exact)[finite]) / max(SMALL, np.linalg.norm(exact[finite]))


def cast(value, dtype):
    """The sample's values with each floating-point tensor in this dtype, as a leaf if it was one."""
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point():
            return value
        return value.detach().to(dtype).clone().requires_grad_(value.requires_grad)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value
    if isinstance(value, list | tuple):
        return type(value)(cast(v, dtype) for v in value)
    return {k: cast(v, dtype) for k, v in value.items()} if isinstance(value, dict) else value


def leaves(value, kind):
    """The tensors of a kind inside a value, in order."""
    if isinstance(value, kind):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [leaf for v in inside for leaf in leaves(v, kind)]


def gradient_for(y):
    return np.random.default_rng(y.size).uniform(0.5, 1.5, y.shape)


def run_torch(info, given):
    """Outputs, then the gradients of the leaves, as arrays."""
    x, args, kwargs = given = cast(given, next((t.dtype for t in leaves(given, torch.Tensor) if t.is_floating_point()),
                                               torch.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = info.op(x, *args, **kwargs)
    outputs = [y] if isinstance(y, torch.Tensor) else [t for t in y if isinstance(t, torch.Tensor)]
    used = [t for t in leaves(given, torch.Tensor) if t.requires_grad]
    total = [t for t in outputs if t.requires_grad]
    if total and used:
        torch.autograd.backward(total, [torch.tensor(gradient_for(t.detach().numpy()), dtype=t.dtype) for t in total])
    gradients = [np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in used]
    return [t.detach().numpy() for t in outputs] + gradients


def run_tinyq(operation, given):
    """The same with tinyq's operation."""
    x, args, kwargs = converted = to_tinyq(given)
    y = operation(x, *args, **kwargs)
    outputs = list(y) if isinstance(y, list) else [y]
    used = [t for t in leaves(converted, Tensor) if t.requires_grad]
    for t in outputs:
        if isinstance(t, Tensor) and t.requires_grad:
            t.backward(gradient_for(t.data).astype(t.dtype))
    gradients = [np.zeros(t.shape) if t.grad is None else t.grad for t in used]
    return [t.data if isinstance(t, Tensor) else t for t in outputs] + gradients


def to_tinyq(value):
    if isinstance(value, torch.Tensor):
        array = value.detach().numpy().copy()
        return Tensor(array, requires_grad=value.requires_grad) if value.is_floating_point() else array
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, list | tuple):
        return type(value)(map(to_tinyq, value))
    return {k: to_tinyq(v) for k, v in value.items()} if isinstance(value, dict) else value


def describe(given):
    def short(v):
        if isinstance(v, torch.Tensor):
            return f"{v.dtype}{tuple(v.shape)}"
        return f"[{', '.join(map(short, v))}]" if isinstance(v, list | tuple) else str(v)
    return f"{short(given[0])}, {short(given[1])}, {given[2]}"


def main(names):
    faults = 0
    for name in names or OPERATIONS:
        report = compare(name)
        worst = ", ".join(f"{np.dtype(d)} {error:.2g}" for d, error in report.worst.items())
        print(f"{name}: {report.compared} compared ({worst})", flush=True)
        for reason, count in report.refused.items():
            print(f"    {count} refused: {reason}")
        for fault in report.faults[:6]:
            print(f"    FAULT {fault}"[:240])
        faults += len(report.faults)
    return faults > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
