"""A trained network, packed: its evaluation as a graph, its constrained weights as codes."""
import hashlib

import numpy as np

from tinyq.errors import UsageError
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import record_graph
from tinyq.packed.file.tensor import encode_bytes, encode_floats, encode_levels

FLOAT_LAYER_BITS = (8, 32)


def pack(model, input_shape, meta: dict, float_layer_bits: int = 32, trits: bool = False) -> Packed:
    """The model, in evaluation mode, as what a file holds; it computes what the model's one evaluation computes.

    float_layer_bits: 32 leaves unconstrained weights as they are; 8 rounds them to 255 values
    a filter. trits: ternary codes five a byte. UsageError where the network cannot be packed.
    """
    if float_layer_bits not in FLOAT_LAYER_BITS:
        raise UsageError(f"--float-layer-bits {float_layer_bits}: choose from: {', '.join(map(str, FLOAT_LAYER_BITS))}")
    names = _Names(model)
    graph, weights, constants = record_graph(model, input_shape, names)
    tensors = {}
    for name, (w, scale, shift) in weights.items():
        affine, view = np.stack([scale, shift]).astype(np.float32), names.view_of(name, w)
        if view is not None:
            levels = view.level_set.values.astype(np.float32)
            own = np.atleast_1d(np.asarray(view.scale, np.float32))
            tensors[name] = encode_levels(w, levels, own, affine, trits)
        else:
            tensors[name] = (encode_floats if float_layer_bits == 32 else encode_bytes)(w, affine)
    return Packed(graph, tensors, {name: a.astype(np.float32) for name, a in constants.items()}, meta)


class _Names:
    """Names of the products' tensors: those of the parameters whose weights, or levels, they hold."""

    def __init__(self, model):
        self.views, self._of = {}, {}
        for name, parameter in model.named_parameters():
            if parameter.data.ndim < 2:
                continue
            view, own = parameter.parametrization, name.removesuffix(".weight")
            shown = parameter.data
            if view is not None:
                shown = view.level_set.values.astype(np.float32)[view.codes(parameter.data)]
                self.views[own] = view
            self._of.setdefault(_key(shown), []).append(own)

    def __call__(self, w):
        """The names of all parameters with these weights, in the model's order."""
        return self._of.get(_key(w), [])

    def view_of(self, name, w):
        """The view behind a tensor, None where its weights are not constrained; used again, they have another name."""
        return self.views.get(name) or next((self.views[n] for n in self(w) if n in self.views), None)


def _key(w):
    return w.shape, hashlib.sha256(np.ascontiguousarray(w).tobytes()).digest()
