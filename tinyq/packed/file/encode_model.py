"""Pack a trained network: its evaluation as a graph, its constrained weights as codes."""
import numpy as np

from tinyq.errors import UsageError
from tinyq.nn import Module, quantizer_of
from tinyq.packed.file.format import Packed
from tinyq.packed.file.record_graph import record_graph
from tinyq.packed.file.tensor import encode_bytes, encode_floats, encode_levels

FLOAT_LAYER_BITS = (8, 32)


def pack(model: Module, input_shape: tuple[int, ...], meta: dict, float_layer_bits: int = 32,
         trits: bool = False) -> Packed:
    """Pack the model as it computes in evaluation mode.

    float_layer_bits: 32 keeps unconstrained weights as float32; 8 rounds them to 255 values per filter. trits: store
    five ternary codes per byte. UsageError if the network cannot be packed.
    """
    if float_layer_bits not in FLOAT_LAYER_BITS:
        raise UsageError(f"float_layer_bits {float_layer_bits}: choose from: {', '.join(map(str, FLOAT_LAYER_BITS))}")
    graph, weights, constants = record_graph(model, input_shape)
    tensors = {}
    for name, (w, scale, shift, parameter) in weights.items():
        affine = np.stack([scale, shift]).astype(np.float32)
        if parameter is not None:
            quantizer = quantizer_of(parameter)
            levels = quantizer.level_set.values.astype(np.float32)
            own = np.atleast_1d(np.asarray(quantizer.scale, np.float32))
            tensors[name] = encode_levels(w, levels, own, affine, trits)
        else:
            tensors[name] = (encode_floats if float_layer_bits == 32 else encode_bytes)(w, affine)
    return Packed(graph, tensors, {name: a.astype(np.float32) for name, a in constants.items()}, meta)
