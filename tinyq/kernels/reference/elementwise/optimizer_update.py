"""References of the optimisers' updates."""
import numpy as np


def sgd(w: np.ndarray, g: np.ndarray, buffer: np.ndarray | None, lr: float, gradient_scale: float, weight_decay: float,
        nesterov: bool, momentum: float) -> None:
    """Update w and the momentum buffer in place by the kernel's formulas."""
    if weight_decay:
        g = g + weight_decay * w
    step = g
    if buffer is not None:
        buffer *= momentum
        buffer += gradient_scale * g
        step = g + momentum * buffer if nesterov else buffer
    w -= lr * step


def adam(w: np.ndarray, g: np.ndarray, mean: np.ndarray, square: np.ndarray, beta1: float, beta2: float,
         weight_decay: float, decay_factor: float, root_correction: float, eps: float, step_size: float) -> None:
    """Update w and both moments in place by the kernel's formulas."""
    w *= decay_factor
    if weight_decay:
        g = g + weight_decay * w
    mean += (g - mean) * (1 - beta1)
    square *= beta2
    square += g * g * (1 - beta2)
    w -= mean / (np.sqrt(square) / root_correction + eps) * step_size
