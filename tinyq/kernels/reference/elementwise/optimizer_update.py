"""Plain twins of the optimisers' updates."""
import numpy as np


def sgd(w, g, momentum, lr, share, decay, nesterov, factor):
    """Change w and momentum in place, see the kernel's formulas."""
    if decay:
        g = g + decay * w
    step = g
    if momentum is not None:
        momentum *= factor
        momentum += share * g
        step = g + factor * momentum if nesterov else momentum
    w -= lr * step


def adam(w, g, mean, square, shares, kept, decay, shrink, root, eps, rate):
    """Change w, mean and square in place, see the kernel's formulas."""
    w *= shrink
    if decay:
        g = g + decay * w
    mean += (g - mean) * shares[0]
    square *= kept
    square += g * g * shares[1]
    w -= mean / (np.sqrt(square) / root + eps) * rate
