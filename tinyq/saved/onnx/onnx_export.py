"""Write a trained or packed network as an ONNX file, checked, and compared with ONNX Runtime."""
import contextlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq.errors import UsageError
from tinyq.files.atomic import write_bytes
from tinyq.files.foreign.onnx_model import encode_model
from tinyq.files.read import sha256_of
from tinyq.packed.integer.lowering import NotCalibrated
from tinyq.packed.network import PackedNetwork
from tinyq.packed.onnx.onnx_network import OnnxNetwork, onnx_network
from tinyq.saved.onnx.agreement import agreement
from tinyq.saved.onnx.layer_differences import LayerDifference, float_and_int8
from tinyq.saved.onnx.onnx_runtime import Session, check, runtime_version
from tinyq.saved.onnx.sources import Samples, Source
from tinyq.saved.run_folder import MODEL_FILE

# Attributes of a network's file that its ONNX file keeps, texts as they are and others as JSON.
KEPT = ("model", "data", "input_shape", "class_names", "preprocessing", "targets", "target_shape", "method", "levels")


@dataclass(frozen=True)
class Form:
    """How a network is written: its activations, and its weights (None: as onnx_network chooses)."""

    activations: str = "float32"
    weights: str | None = None


def write_onnx(source: Source, target: str | Path, form: Form) -> tuple[OnnxNetwork, list[str]]:
    """Check and save a network as ONNX; return it, and lines that describe the file.

    UsageError where the network cannot be written so, or where it has no ranges for int8 activations.
    """
    network = converted(source, form)
    data = encode_model(network.model)
    version = check(data, network.model["opset_import"][0]["version"])
    write_bytes(target, data)
    graph = network.model["graph"]
    return network, [f"{target}: {source.packed.meta['model']}, {form.activations} activations, "
                     f"{len(graph['node'])} nodes, operator set {network.model['opset_import'][0]['version']}, "
                     f"{len(data):,} bytes; checked by onnx {version}"]


def converted(source: Source, form: Form) -> OnnxNetwork:
    """Return a network as ONNX; UsageError names the command that calibrates one without ranges."""
    with _ranges_needed(source.path):
        return onnx_network(source.packed, form.activations, form.weights, metadata(source, form))


def float_beside_int8(source: Source, x: np.ndarray) -> list[LayerDifference]:
    """Compare float32 and int8 activations layer by layer, for a batch."""
    with _ranges_needed(source.path):
        return float_and_int8(source.packed, x)


@contextlib.contextmanager
def _ranges_needed(path: Path) -> Iterator[None]:
    """Raise UsageError with the command that finds ranges of activations, where a network has none."""
    try:
        yield
    except NotCalibrated as error:
        raise UsageError(f"activations int8: {path} has no ranges of activations; pack the trained network with them, "
                         f"and convert that: {_packing(path)}") from error


def _packing(path: Path) -> str:
    """Return the command that packs with ranges the trained network in a file, or in the run folder around it."""
    packed = path.name.endswith(".tq.h5")
    trained = path if not packed else path.parent if (path.parent / MODEL_FILE).is_file() else Path("RUN")
    target = path.with_name(f"{path.name.partition('.')[0]}-int8.tq.h5")
    return shlex.join(["python", "-m", "tinyq.pack", str(trained), str(target), "--float-layer-bits", "8",
                       "--calibrate"])


def compared_with_runtime(network: OnnxNetwork, source: Source, form: Form, samples: Samples) -> str:
    """Return a line that compares tinyq's outputs with ONNX Runtime's."""
    version = runtime_version()
    if version is None:
        return "not compared with ONNX Runtime, which is not installed: pip install onnxruntime"
    found = agreement(PackedNetwork(source.packed, form.activations), Session(encode_model(network.model)),
                      samples.batches)
    return f"ONNX Runtime {version}: {found.shown()} {samples.name}"


def metadata(source: Source, form: Form) -> dict[str, str]:
    """Return metadata_props: what the file of the network says of it, and that file's name and SHA-256."""
    meta = source.packed.meta
    kept = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key in KEPT if (value := meta.get(key)) is not None}
    return {**kept, "activations": form.activations, "source": source.path.name,
            "source_sha256": sha256_of(source.path)}
