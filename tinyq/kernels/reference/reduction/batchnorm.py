"""References of batch normalisation and its gradient."""
import numpy as np

from tinyq.kernels.geometry.reduction_views import planes
from tinyq.kernels.reference.elementwise.activation import along_channels, channel_affine, relu, relu_grad
from tinyq.kernels.reference.simd.lanes import plane_sum


def batch_norm(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None,
               eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(y, mean, biased variance, 1 / sqrt(variance + eps)) with x's own statistics, see the kernel's formulas."""
    values, affine = _statistics(x, weight, bias, eps)
    return channel_affine(x, *affine), *values


def _statistics(x, weight, bias, eps):
    """Return ((mean, biased variance, 1 / sqrt(variance + eps)), (scale, shift)), each (c,)."""
    values = planes(x).astype(np.float64)
    count = values.shape[0] * values.shape[2]
    mean = plane_sum(values) / count
    deviation = values - mean[:, None]
    variance = plane_sum(deviation * deviation) / count
    inverse_std = 1 / np.sqrt(variance + float(eps))
    statistics = tuple(v.astype(x.dtype) for v in (mean, variance, inverse_std))
    return statistics, inference_affine(weight, bias, mean, variance, eps, x.dtype)


def batch_norm_grad(g: np.ndarray, x: np.ndarray, weight: np.ndarray | None, mean: np.ndarray,
                    inverse_std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (gx, gweight, gbias) of `batch_norm`, see the kernel's formulas."""
    incoming, values = planes(g).astype(np.float64), planes(x).astype(np.float64)
    count = values.shape[0] * values.shape[2]
    inverse = inverse_std.astype(np.float64)
    sum_g = plane_sum(incoming)
    slope = plane_sum(incoming * (values - mean.astype(np.float64)[:, None])) * inverse
    a = _or_ones(weight, inverse) * inverse
    b = -a * inverse * (slope / count)
    d = -a * (sum_g / count)
    centre, a, b, d = (along_channels(v.astype(x.dtype), x.ndim) for v in (mean, a, b, d))
    gx = np.asarray(g * a + ((x - centre) * b + d), order="C")
    return gx, slope.astype(x.dtype), sum_g.astype(x.dtype)


def batch_norm_relu(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, shortcut: np.ndarray | None,
                    eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`batch_norm`, a shortcut added where there is one, and `relu`; its scale and shift as (2, c)."""
    values, affine = _statistics(x, weight, bias, eps)
    y = channel_affine(x, *affine)
    return relu(y if shortcut is None else y + shortcut), *values, np.stack(affine)


def batch_norm_relu_grad(
        g: np.ndarray, y: np.ndarray | None, affine: np.ndarray, x: np.ndarray, weight: np.ndarray | None,
        mean: np.ndarray, inverse_std: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return (gx, gweight, gbias, gshortcut or None): `relu_grad` handed to `batch_norm_grad` and to the shortcut."""
    masked = relu_grad(g, channel_affine(x, *affine) if y is None else y)
    return *batch_norm_grad(masked, x, weight, mean, inverse_std), None if y is None else masked


def batch_norm_inference(x: np.ndarray, weight: np.ndarray | None, bias: np.ndarray | None, mean: np.ndarray,
                         variance: np.ndarray, eps: float) -> np.ndarray:
    """y (n, c, ...) with given statistics: `channel_affine` by `inference_affine`."""
    return channel_affine(x, *inference_affine(weight, bias, mean, variance, eps, x.dtype))


def inference_affine(weight, bias, mean, variance, eps, dtype):
    """Return (scale, shift) (c,) of dtype that normalise with given statistics: computed in float64, rounded once."""
    mean = mean.astype(np.float64)
    scale = _or_ones(weight, mean) * (1 / np.sqrt(variance.astype(np.float64) + float(eps)))
    shift = (0 if bias is None else bias.astype(np.float64)) - mean * scale
    return scale.astype(dtype), shift.astype(dtype)


def _or_ones(weight, like):
    return np.ones_like(like) if weight is None else weight.astype(np.float64)
