"""Read and write .tq.h5: HDF5 that any viewer opens, equal bytes for equal networks, checked as untrusted input.

    /                       attributes format, format_major, format_minor, required_features, content_sha256; and
                            layer_names for viewers, as in Keras' weight files, with weight_names in each group
    /graph, /meta           JSON as text
    /tensors/NAME/...       data, levels, scale, affine of a product (tensor.py)
    /constants/NAME         arrays read by other operations
    /ranges                 (2, values, 2) float32 of calibrate.ranges, in calibrated files
    /golden/KIND            outputs for golden_input(), checked when the file is loaded
"""
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.atomic import write_bytes
from tinyq.files.hdf5 import Spec
from tinyq.files.weights import viewer_attributes, weights_sha256
from tinyq.packed.file import graph_json
from tinyq.packed.file.graph import Constant, Graph
from tinyq.packed.file.tensor import EncodedTensor, check_tensor, expected_arrays
from tinyq.streams import Streams

FORMAT, MAJOR, MINOR = "tinyq-packed", 1, 0
FEATURES = ()                           # supported values of required_features
MAX_TEXT = 4 << 20                     # bytes of a JSON dataset, which Python keeps in forty times as many
KINDS = ("float32", "int16", "int8")    # of activations
GOLDEN_RANGE = 2.0


@dataclass(frozen=True, eq=False)
class Packed:
    """A packed network: the contents of a .tq.h5 file."""

    graph: Graph
    tensors: dict[str, EncodedTensor]
    constants: dict[str, np.ndarray]
    meta: dict
    ranges: np.ndarray | None = None
    golden: dict[str, np.ndarray] = field(default_factory=dict)

    def payload(self) -> dict[str, np.ndarray]:
        """Return {path: array} of all datasets of the file."""
        graph = graph_json.to_json(self.graph) | {"tensors": self._schemes()}
        arrays = {"graph": _text(graph), "meta": _text(self.meta)}
        for name, tensor in self.tensors.items():
            arrays |= {f"tensors/{name}/{part}": array for part, array in tensor.arrays().items()}
        arrays |= {f"constants/{name}": array for name, array in self.constants.items()}
        arrays |= {} if self.ranges is None else {"ranges": self.ranges}
        return arrays | {f"golden/{kind}": logits for kind, logits in self.golden.items()}

    def _schemes(self):
        return {name: {"scheme": t.scheme, "levels": 0 if t.levels is None else len(t.levels), "scales": len(t.scale)}
                for name, t in self.tensors.items()}


def golden_input(graph: Graph) -> np.ndarray:
    """Return the sample (1, ...) float32 whose outputs the file stores: uniform noise, determined by its shape."""
    stream = Streams(0).key("golden input")
    return stream.first_uniform((1, *graph.input_shape), -GOLDEN_RANGE, GOLDEN_RANGE).astype(np.float32)


def write(path: str | Path, packed: Packed) -> None:
    """Save atomically. UsageError where `read` would find the values too large."""
    write_bytes(path, encode(packed))


def encode(packed: Packed) -> bytes:
    """Return the bytes of the file that `write` saves; equal networks give equal bytes.

    UsageError where `read` would find the values too large.
    """
    datasets = packed.payload()
    graph_json.check_sizes(packed.graph, sum(array.nbytes for array in datasets.values()))
    attributes = {"format": FORMAT, "format_major": MAJOR, "format_minor": MINOR, "required_features": ""}
    root = {**attributes, "content_sha256": _content_sha256(attributes, datasets)}
    shown = [name for name in datasets if name.startswith(("tensors/", "constants/"))]
    return hdf5.encode(datasets, viewer_attributes(shown, root))


def read(path: str | Path) -> Packed:
    """Read a packed network; BadInput where the file has another format or version, is damaged or inconsistent."""
    with hdf5.Reader(path) as file:
        attributes = file.attributes()
        _check_version(path, attributes)
        specs = file.specs()
        texts = file.read({name: _text_spec(path, name, specs) for name in ("graph", "meta")}, allow_extra=True)
        description, meta = (_json(path, name, text) for name, text in texts.items())
        expected = _expected(path, description, specs, len(file.image))
        datasets = texts | file.read({**{name: Spec.of(text) for name, text in texts.items()}, **expected})
    known = ("format", "format_major", "format_minor", "required_features")
    if attributes.get("content_sha256") != _content_sha256({key: attributes[key] for key in known}, datasets):
        raise BadInput(f"{path}: damaged; its contents changed after it was written (content_sha256 differs)")
    return _packed(path, graph_json.from_json(description, len(file.image)), description, meta, datasets)


def _check_version(path, attributes):
    if attributes.get("format") != FORMAT:
        raise BadInput(f"{path}: not a packed network (attribute format is not {FORMAT!r}); "
                       "make one from a run or a model.h5 with python -m tinyq.pack")
    versions = [attributes.get(key) for key in ("format_major", "format_minor")]
    if not all(type(v) is int for v in versions) or type(attributes.get("required_features")) is not str:
        raise BadInput(f"{path}: damaged; its format version is missing")
    if versions[0] != MAJOR:
        raise BadInput(f"{path}: format {versions[0]}, but this tinyq reads format {MAJOR}; install a newer tinyq")
    unknown = sorted(set(attributes["required_features"].strip("\0").split()) - set(FEATURES))
    if unknown:
        raise BadInput(f"{path}: needs {', '.join(unknown)}, which this tinyq does not support; install a newer tinyq")


def _text_spec(path, name, specs):
    spec = specs.get(name)
    if spec is None or spec.shape != () or spec.dtype.kind != "S" or spec.dtype.itemsize > MAX_TEXT:
        raise BadInput(f"{path}: damaged; its {name} is not text")
    return spec


def _json(path, name, text):
    try:
        value = json.loads(text.item().decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: damaged; its {name} is not JSON") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path}: damaged; its {name} is not a JSON object")
    return value


def _no_constant(name):
    raise ValueError(name)


def _expected(path, description, specs, file_bytes):
    """Return the specs of all datasets but the texts, as the graph implies them."""
    try:
        graph = graph_json.from_json(description, file_bytes)
        expected: dict[str, Spec] = {}
        schemes = description["tensors"]
        if set(schemes) != {node.product_weight.name for node in graph.products()}:
            raise ValueError("its tensors do not match its graph")
        for node in graph.products():
            entry = schemes[node.product_weight.name]
            arrays = expected_arrays(entry["scheme"], node.product_weight.shape, entry["levels"])
            arrays["scale"] = (1 if entry["scales"] == 1 else node.product_weight.shape[0],), np.float32
            expected |= {f"tensors/{node.product_weight.name}/{part}": Spec(shape, np.dtype(dtype))
                         for part, (shape, dtype) in arrays.items()}
        constants = {a for node in graph.nodes for a in node.inputs if isinstance(a, Constant)}
        expected |= {f"constants/{a.name}": Spec(a.shape, np.dtype(np.float32)) for a in constants}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: its graph is inconsistent ({error})") from error
    optional = {"ranges": (2, len(graph.nodes) + 1, 2), **{f"golden/{k}": (1, *graph.nodes[-1].shape) for k in KINDS}}
    return expected | {name: Spec(shape, np.dtype(np.float32)) for name, shape in optional.items() if name in specs}


def _packed(path, graph, description, meta, datasets):
    tensors = {}
    for node in graph.products():
        name = node.product_weight.name
        parts = {part: datasets.get(f"tensors/{name}/{part}") for part in ("data", "levels", "scale", "affine")}
        tensors[name] = EncodedTensor(description["tensors"][name]["scheme"], node.product_weight.shape, **parts)
        try:
            check_tensor(tensors[name])
        except BadInput as error:
            raise BadInput(f"{path}: {name}: {error}") from error
    constants = {name.partition("/")[2]: a for name, a in datasets.items() if name.startswith("constants/")}
    golden = {name.partition("/")[2]: a for name, a in datasets.items() if name.startswith("golden/")}
    ranges = datasets.get("ranges")
    if ranges is not None and not (ranges[..., 0] <= ranges[..., 1]).all():
        raise BadInput(f"{path}: an activation's minimum is above its maximum")
    return Packed(graph, tensors, constants, meta, ranges, golden)


def _text(value):
    return np.array(json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode())


def _content_sha256(attributes, datasets):
    """Return the SHA-256 over the datasets and the version, which decides how a reader decodes them."""
    version = np.frombuffer(json.dumps(attributes, sort_keys=True).encode(), np.uint8)
    return weights_sha256({**{name: _bytes_of(array) for name, array in datasets.items()}, "/": version})


def _bytes_of(array):
    return np.frombuffer(array.tobytes(), np.uint8) if array.dtype.kind == "S" else array
