"""Normalisation layers."""
from collections.abc import Callable

import numpy as np

from tinyq.autodiff import Tensor, elementwise, normalization
from tinyq.errors import BadInput, UsageError
from tinyq.nn.module import Module
from tinyq.nn.parameter import Parameter
from tinyq.streams import Stream


class _Normalisation(Module):
    """Layer with a weight and a bias, both None if they are not trained."""

    def _allocate(self, shape: int | tuple[int, ...], affine: bool) -> None:
        self.weight = Parameter(np.ones(shape, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(shape, np.float32)) if affine else None

    def reset(self, key: Callable[[str], Stream]) -> None:
        """Set the weight to 1 and the bias to 0."""
        if self.weight is not None and self.bias is not None:
            self.weight.data[...] = 1
            self.bias.data[...] = 0


class LayerNorm(_Normalisation):
    """Normalise over the last axes, of `normalized_shape`, the shape of weight and bias (Ba et al. 2016)."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, affine: bool = True) -> None:
        """Set the identity in float32: weight 1, bias 0."""
        self.shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self._allocate(self.shape, affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape; UsageError unless that ends with `normalized_shape`."""
        if x.shape[-len(self.shape):] != self.shape:
            raise UsageError(f"LayerNorm of {self.shape}: the input is {x.shape}")
        return normalization.layer_norm(x, self.weight, self.bias, axes=len(self.shape), eps=self.eps)

    def describe(self) -> str:
        """Return shape and options."""
        return f"{self.shape}, eps={self.eps}, affine={self.weight is not None}"


class GroupNorm(_Normalisation):
    """Normalise each sample over each of num_groups groups of its channels (Wu and He 2018); weight and bias (c,)."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        """Set the identity in float32: weight 1, bias 0. UsageError unless the groups divide the channels."""
        if num_groups < 1 or num_channels % num_groups:
            raise UsageError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self._allocate(num_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return y, of x's shape (n, c, ...); UsageError for another number of channels."""
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise UsageError(f"GroupNorm of {self.num_channels} channels: the input is {x.shape}")
        return normalization.group_norm(x, self.weight, self.bias, groups=self.num_groups, eps=self.eps)

    def describe(self) -> str:
        """Return groups, channels and options."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"


class _BatchNorm(_Normalisation):
    """Batch norm y = (x - mean) / sqrt(variance + eps) * weight + bias per channel (Ioffe and Szegedy 2015).

    Training normalises with the mean and biased variance of the batch. It moves the running statistics towards the
    mean and unbiased variance by the share `momentum`; with momentum None they are the averages of all batches.
    Evaluation normalises with the running statistics, or without track_running_stats with those of the batch.
    """

    ndims: tuple[int, ...]

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True) -> None:
        """Set the identity in float32: weight 1, bias 0, running mean 0 and variance 1."""
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self._allocate(num_features, affine)
        self.running_mean = np.zeros(num_features, np.float32) if track_running_stats else None
        self.running_var = np.ones(num_features, np.float32) if track_running_stats else None
        self.num_batches_tracked = np.zeros((), np.int64) if track_running_stats else None

    def reset(self, key: Callable[[str], Stream]) -> None:
        """Set the identity: weight 1, bias 0, running mean 0 and variance 1."""
        for array, value in ((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0)):
            if array is not None:
                array[...] = value
        super().reset(key)

    def forward(self, x: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Return y, or with relu=True max(y + shortcut, 0); all of x's shape, (n, c, ...).

        UsageError for a shortcut without relu or an input of another shape; BadInput for one value per channel in
        training, whose variance is undefined.
        """
        if shortcut is not None and not relu:
            raise UsageError(f"{type(self).__name__}: a shortcut is added on the way to a ReLU; give relu=True")
        if x.ndim not in self.ndims or x.shape[1] != self.num_features:
            raise UsageError(f"{type(self).__name__} of {self.num_features} channels: the input is {x.shape}")
        if not self.training and self.running_mean is not None:
            return self._infer(x, shortcut, relu)
        count = x.size // self.num_features
        if self.training and count < 2:
            raise BadInput(f"batch norm cannot train on one value per channel (input {x.shape}): use a larger batch")
        if relu:
            y, mean, variance = normalization.batch_norm_relu(x, self.weight, self.bias, shortcut, eps=self.eps)
        else:
            y, mean, variance = normalization.batch_norm(x, self.weight, self.bias, eps=self.eps)
        if self.training:
            self._track(mean, variance * (count / (count - 1)))
        return y

    def _infer(self, x: Tensor, shortcut: Tensor | None, relu: bool) -> Tensor:
        y = normalization.batch_norm_inference(x, self.weight, self.bias, self.running_mean, self.running_var,
                                               eps=self.eps)
        y = y if shortcut is None else y + shortcut
        return elementwise.relu(y) if relu else y

    def _track(self, mean: np.ndarray, unbiased_variance: np.ndarray) -> None:
        """Move the running statistics, if there are any, towards those of the batch in place."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked[...] += 1
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased_variance)):
            running *= 1 - share
            running += share * new

    def describe(self) -> str:
        """Return channels and options."""
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}, "
                f"track_running_stats={self.running_mean is not None}")


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (n, c) or (n, c, length)."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (n, c, h, w)."""

    ndims = (4,)
