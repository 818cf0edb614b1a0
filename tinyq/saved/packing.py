"""Pack a trained network with its attributes, and list the sizes of the packed file."""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq.nn import Module
from tinyq.output.work import Work
from tinyq.packed.file.encode_model import pack
from tinyq.packed.file.format import Packed
from tinyq.packed.file.tensor import BYTES, FLOAT
from tinyq.packed.network import calibrated, with_golden
from tinyq.saved.attributes import data_options, shape_of

# Attributes that a packed file does not take over: they describe model.h5, or are stored in another form.
_LEFT_OUT = ("format", "layer_names", "probe_tolerance", "backend", "keras_version", "data_options")


def pack_model(model: Module, attributes: dict, calibration: Sequence[np.ndarray] | None = None,
               float_layer_bits: int = 32, trits: bool = False) -> Packed:
    """Pack a model and its attributes (model_file.load_model). calibration: batches, or None to skip calibration."""
    meta = {key: value for key, value in attributes.items() if key not in _LEFT_OUT}
    meta["data_options"] = json.dumps(data_options(attributes))             # without paths
    meta["model"] = Path(meta["model"]).name
    with Work("packing"):
        packed = pack(model, shape_of(attributes), meta, float_layer_bits, trits)
        return with_golden(packed) if calibration is None else calibrated(packed, calibration)


def sizes(packed: Packed, path: Path) -> dict:
    """Return sizes in bytes: of the codes without padding, of each kind of content, of all content and of the file."""
    tensors = packed.tensors.values()
    coded, edges = [t for t in tensors if t.scheme not in (FLOAT, BYTES)], [t for t in tensors if t.scheme == BYTES]
    codes = sum(-(-t.rows * t.k * round(10 * t.code_bits) // 80) for t in coded)   # in tenths of bits: 1.6
    payload = sum(array.nbytes for array in packed.payload().values())
    floats = sum(a.nbytes for a in packed.payload().values() if a.dtype == np.float32)
    written, eights = sum(t.data.nbytes for t in coded), sum(t.data.nbytes for t in edges)
    return {"weights_in_codes": sum(t.rows * t.k for t in coded), "bytes_codes_in_theory": codes,
            "bytes_codes": written, "bytes_8_bit_edges": eights, "bytes_float": floats,
            "bytes_description": payload - written - eights - floats, "bytes_payload": payload,
            "bytes_file": path.stat().st_size,
            "bytes_network_as_float": 4 * sum(t.rows * t.k for t in packed.tensors.values())}
