"""Evaluate a network with fused steps, as `tinyq.evaluate`, the result of a run and packed models do."""
import numpy as np

from tinyq.inference.fuse import fuse
from tinyq.inference.fused_program import Program
from tinyq.inference.record import record
from tinyq.inference.steps import Value
from tinyq.nn import Module


class Fused:
    """A function from an input array to the outputs of a network in evaluation mode.

    Each convolution or linear layer multiplies by unscaled levels and applies one affine per channel, which includes
    the following batch norm and is computed in float64 and rounded once. A following addition and ReLU happen when the
    product is stored. Max pooling may return 0 with another sign than the layer, if both -0 and +0 are largest. The
    network is recorded once per input shape: its computation may depend on the shape but not on the values.
    """

    def __init__(self, model: Module) -> None:
        """Start without recordings; changes of the model after the first call with a shape do not affect that shape."""
        self.model = model
        self._programs: dict[tuple[tuple[int, ...], np.dtype], Program] = {}

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the network's outputs (array) for the batch x (array)."""
        key = x.shape, x.dtype
        if key not in self._programs:
            steps, result = record(self.model, np.zeros_like(x))
            fused = fuse(steps, result, x.shape) if isinstance(result, Value) else steps
            self._programs[key] = Program(fused, result, x.shape)
        return self._programs[key](x)
