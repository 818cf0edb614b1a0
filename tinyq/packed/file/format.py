"""The file .tq.h5: HDF5 that any viewer opens, the same bytes for the same network, and no trust in what it says.

    /                       attributes format, format_major, format_minor, required_features, content_sha256
    /graph, /meta           JSON as text
    /tensors/NAME/...       data, levels, scale, affine of a product (tensor.py)
    /constants/NAME         arrays that other operations read
    /ranges                 (2, values, 2) float32, those of calibrate.ranges; only of a calibrated network
    /golden/KIND            what the network makes of golden_input(), checked when it is loaded
"""
import json
from dataclasses import dataclass, field

import numpy as np

from tinyq.errors import BadInput
from tinyq.files import hdf5
from tinyq.files.hdf5 import Spec
from tinyq.files.weights import weights_sha256
from tinyq.packed.file import graph as graphs
from tinyq.packed.file.graph import Constant, Graph
from tinyq.packed.file.tensor import Tensor, check, expected_arrays
from tinyq.streams import Streams

FORMAT, MAJOR, MINOR = "tinyq-packed", 1, 0
FEATURES = ()                           # of required_features, those that are known here
MAX_TEXT = 16 << 20                    # bytes of a JSON dataset
KINDS = ("float32", "int16", "int8")    # of activations
GOLDEN_RANGE = 2.0


@dataclass(frozen=True, eq=False)
class Packed:
    """A network as such a file holds it."""

    graph: Graph
    tensors: dict[str, Tensor]
    constants: dict[str, np.ndarray]
    meta: dict
    ranges: np.ndarray | None = None
    golden: dict[str, np.ndarray] = field(default_factory=dict)

    def payload(self) -> dict[str, np.ndarray]:
        """Every dataset of the file by its path."""
        arrays = {"graph": _text(graphs.to_json(self.graph) | {"tensors": self._schemes()}), "meta": _text(self.meta)}
        for name, tensor in self.tensors.items():
            arrays |= {f"tensors/{name}/{part}": array for part, array in tensor.arrays().items()}
        arrays |= {f"constants/{name}": array for name, array in self.constants.items()}
        arrays |= {} if self.ranges is None else {"ranges": self.ranges}
        return arrays | {f"golden/{kind}": logits for kind, logits in self.golden.items()}

    def _schemes(self):
        return {name: {"scheme": t.scheme, "levels": 0 if t.levels is None else len(t.levels), "scales": len(t.scale)}
                for name, t in self.tensors.items()}


def golden_input(graph: Graph):
    """The sample (1, ...) whose outputs a file keeps: float32, uniform, the same for every file of its shape."""
    stream = Streams(0).key("golden input")
    return stream.uniform((1, *graph.input_shape), -GOLDEN_RANGE, GOLDEN_RANGE).astype(np.float32)


def write(path, packed: Packed) -> None:
    """Save atomically; the same network gives the same bytes."""
    datasets = packed.payload()
    attributes = {"format": FORMAT, "format_major": MAJOR, "format_minor": MINOR, "required_features": ""}
    hdf5.write(path, datasets, {"/": {**attributes, "content_sha256": _content_sha256(attributes, datasets)}})


def read(path) -> Packed:
    """The network in a file; BadInput where the file is of another format or version, damaged or inconsistent."""
    with hdf5.Reader(path) as file:
        attributes = file.attributes()
        _refuse_other_versions(path, attributes)
        specs = file.specs()
        texts = file.read({name: _text_spec(path, name, specs) for name in ("graph", "meta")}, allow_extra=True)
        description, meta = (_json(path, name, text) for name, text in texts.items())
        expected = _expected(path, description, specs)
        datasets = texts | file.read({**{name: Spec.of(text) for name, text in texts.items()}, **expected})
    known = ("format", "format_major", "format_minor", "required_features")
    if attributes.get("content_sha256") != _content_sha256({key: attributes[key] for key in known}, datasets):
        raise BadInput(f"{path}: damaged; it does not hold what was written (content_sha256 differs)")
    return _packed(path, description, meta, datasets)


def _refuse_other_versions(path, attributes):
    if attributes.get("format") != FORMAT:
        raise BadInput(f"{path}: not a packed network (attribute format is not {FORMAT!r}); "
                       "python -m tinyq.pack makes one of a run or a model.h5")
    versions = [attributes.get(key) for key in ("format_major", "format_minor")]
    if not all(type(v) is int for v in versions) or type(attributes.get("required_features")) is not str:
        raise BadInput(f"{path}: damaged; its version is missing")
    if versions[0] != MAJOR:
        raise BadInput(f"{path}: format {versions[0]}, this tinyq reads {MAJOR}; install a newer one")
    unknown = sorted(set(attributes["required_features"].strip("\0").split()) - set(FEATURES))
    if unknown:
        raise BadInput(f"{path}: needs {', '.join(unknown)}, which this tinyq does not have; install a newer one")


def _text_spec(path, name, specs):
    spec = specs.get(name)
    if spec is None or spec.shape != () or spec.dtype.kind != "S" or spec.dtype.itemsize > MAX_TEXT:
        raise BadInput(f"{path}: damaged; its {name} is no text")
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


def _expected(path, description, specs):
    """Every dataset but the texts, from what the graph says."""
    try:
        graph = graphs.from_json(description)
        expected, schemes = {}, description["tensors"]
        if set(schemes) != {node.weight.name for node in graph.products()}:
            raise ValueError("its tensors are not those of its graph")
        for node in graph.products():
            held = schemes[node.weight.name]
            arrays = expected_arrays(held["scheme"], node.weight.shape, held["levels"])
            arrays["scale"] = (1 if held["scales"] == 1 else node.weight.shape[0],), np.float32
            expected |= {f"tensors/{node.weight.name}/{part}": Spec(shape, np.dtype(dtype))
                         for part, (shape, dtype) in arrays.items()}
        constants = {a for node in graph.nodes for a in node.inputs if isinstance(a, Constant)}
        expected |= {f"constants/{a.name}": Spec(a.shape, np.dtype(np.float32)) for a in constants}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path}: its graph does not fit together ({error})") from error
    optional = {"ranges": (2, len(graph.nodes) + 1, 2), **{f"golden/{k}": (1, *graph.nodes[-1].shape) for k in KINDS}}
    return expected | {name: Spec(shape, np.dtype(np.float32)) for name, shape in optional.items() if name in specs}


def _packed(path, description, meta, datasets):
    graph = graphs.from_json(description)
    tensors = {}
    for node in graph.products():
        name = node.weight.name
        parts = {part: datasets.get(f"tensors/{name}/{part}") for part in ("data", "levels", "scale", "affine")}
        tensors[name] = Tensor(description["tensors"][name]["scheme"], node.weight.shape, **parts)
        try:
            check(tensors[name])
        except BadInput as error:
            raise BadInput(f"{path}: {name}: {error}") from error
    constants = {name.partition("/")[2]: a for name, a in datasets.items() if name.startswith("constants/")}
    golden = {name.partition("/")[2]: a for name, a in datasets.items() if name.startswith("golden/")}
    ranges = datasets.get("ranges")
    if ranges is not None and not (ranges[..., 0] <= ranges[..., 1]).all():
        raise BadInput(f"{path}: an activation's least value is above its largest")
    return Packed(graph, tensors, constants, meta, ranges, golden)


def _text(value):
    return np.array(json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode())


def _content_sha256(attributes, datasets):
    """Over the version as well: what a reader makes of the bytes depends on it."""
    version = np.frombuffer(json.dumps(attributes, sort_keys=True).encode(), np.uint8)
    return weights_sha256({**{name: _bytes_of(array) for name, array in datasets.items()}, "/": version})


def _bytes_of(array):
    return np.frombuffer(array.tobytes(), np.uint8) if array.dtype.kind == "S" else array
