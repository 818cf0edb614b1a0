"""Read a network from an ONNX file: find which of tinyq's networks its graph is, and take the weights over."""
import dataclasses
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np

from tinyq import data, models
from tinyq.errors import BadInput, UsageError
from tinyq.files.foreign import onnx_model
from tinyq.files.foreign.protobuf import Malformed, Message
from tinyq.inputs.preparation import parse
from tinyq.nn import Module
from tinyq.saved.attributes import target_faults
from tinyq.saved.foreign.conversion import save_converted
from tinyq.saved.foreign.converted_inputs import Inputs
from tinyq.saved.foreign.names import COUNTER
from tinyq.saved.graphs.graph_structure import graph_structure, input_of
from tinyq.saved.graphs.model_structure import structure_of
from tinyq.saved.graphs.structure import CONV, LINEAR, Structure
from tinyq.saved.graphs.structure_match import Unlike, matched, state_from
from tinyq.saved.measure import logits_of
from tinyq.saved.onnx.agreement import agreement
from tinyq.saved.onnx.onnx_runtime import Session, runtime_version
from tinyq.streams import Streams

SAMPLES = 4                             # of noise, on which ONNX Runtime is compared
MAX_NUMBERS = 1 << 24                   # of the batch that ONNX Runtime is given
MAX_NAME = 200                          # letters of a class's name


def from_onnx(source: str | Path, target: str | Path, name: str | None = None, class_names: list[str] | None = None,
              inputs: Inputs | None = None) -> list[str]:
    """Write the network in an ONNX file as model.h5; returns lines that describe it.

    name: of the network; by default the one of tinyq's that the graph is. class_names, inputs: as conversion.to_tinyq
    takes them; by default what the file of tinyq says. BadInput where the graph is another network, or is malformed.
    """
    held, inputs = onnx_model.read_model(source), inputs or Inputs()
    try:
        shape = inputs.shape or input_of(held["graph"])[1] or (inputs.input_shape() if inputs.data else None)
        if shape is None:
            raise UsageError(f"input_shape: {source} does not say the shape of its input; give it, such as 3,224,224")
        graph, said = graph_structure(held["graph"], shape, Path(source).stat().st_size), onnx_model.metadata_of(held)
        found, model, state = _network(graph, name, said.get("model", ""), shape)
    except (Malformed, Unlike) as error:
        raise BadInput(f"{source}: {error}") from error
    classes = _classes(graph)
    if class_names is not None and len(class_names) != classes:
        raise UsageError(f"classes: has {len(class_names)} names, but {source} has {classes} classes")
    unsaid = inputs == Inputs(shape=inputs.shape)
    attributes = dataclasses.replace(inputs, shape=shape).attributes(classes) | (
        _said(said, shape) | _targets(said, classes) if unsaid else {})
    names = class_names or _class_names(said, classes)
    known = state | {key: array for key, array in model.state_dict().items() if key.endswith(COUNTER)}
    line = save_converted(source, target, found, model, known,
                          attributes | ({"class_names": names} if names else {}))
    return [line, _compared(source, held, model, shape)]


def _network(graph: Structure, name: str | None, said: str, shape: tuple[int, ...]
             ) -> tuple[str, Module, dict[str, np.ndarray]]:
    """Return (name, network, weights) of the network that a graph is; Unlike where it is none."""
    classes, reasons = _classes(graph), []
    for candidate in _names(graph, said) if name is None else [name]:
        try:
            model = models.build(candidate, classes, shape)
        except UsageError:
            if name is not None:
                raise
            continue                                            # it does not take such inputs
        if name is None and _weight_shapes(model) != _shapes(graph):
            continue
        try:
            own = structure_of(model, shape)
            state = state_from(own, graph, matched(own, graph))
            _check_complete(model, state)
            return candidate, model, state
        except Unlike as error:
            reasons.append(f"is not {candidate}: {error}")
    raise Unlike(reasons[0] if reasons else
                 f"its {sum(_shapes(graph).values())} weights have the shapes of no network that comes with tinyq; "
                 "name yours with --model path/to/file.py:function")


def _names(graph: Structure, said: str) -> list[str]:
    """List the networks that a graph may be, first the one that its file names: folded, alexnet_bn is AlexNet too."""
    hidden = [operation.shape[0] for operation in graph.operations if operation.kind == LINEAR][:-1]
    if not any(operation.kind == CONV for operation in graph.operations):
        return [f"mlp:{','.join(map(str, hidden))}" if hidden else "logistic"]
    names = [*(name for name in models.REGISTRY if name not in ("mlp", "logistic")), "googlenet:untransformed"]
    return sorted(names, key=lambda name: name != said)


def _classes(graph: Structure) -> int:
    """Return the number of outputs; Malformed unless they are a vector."""
    shape = graph.shape_of(graph.result)
    if len(shape) != 1 or not _shapes(graph):
        raise Malformed(f"its output has the shape {list(shape)} per sample, or it has no weights: it is no classifier")
    return shape[0]


def _shapes(graph: Structure) -> Counter:
    return Counter(each.arrays["weight"].shape for each in graph.operations if each.kind in (CONV, LINEAR))


def _weight_shapes(model: Module) -> Counter:
    return Counter(p.shape for _, p in model.named_parameters() if p.ndim > 1)


def _check_complete(model: Module, state: dict[str, np.ndarray]) -> None:
    missing = [name for name in model.state_dict() if name not in state and not name.endswith(COUNTER)]
    if missing:
        raise Unlike(f"the graph does not use {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}, which the "
                     "network has")


def _said(found: dict[str, str], shape: tuple[int, ...]) -> dict[str, str]:
    """Return what a file that tinyq wrote says of its inputs, as far as it is valid."""
    try:
        parse(found["preprocessing"], shape)
    except (KeyError, ValueError):
        return {}
    name = found.get("data", "")
    return {"preprocessing": found["preprocessing"], "data": name if name in data.READERS else ""}


def _targets(found: dict[str, str], classes: int) -> dict[str, str]:
    """Return what a file that tinyq wrote says of its targets, if these are numbers or labels and fit its outputs."""
    kept = {key: found.get(key, "") for key in ("targets", "target_shape")}
    return kept if kept["targets"] and not target_faults(kept | {"class_names": [""] * classes}) else {}


def _class_names(found: dict[str, str], classes: int) -> list[str] | None:
    """Return the classes that a file of tinyq names, if they are as many as its outputs."""
    try:
        names = json.loads(found["class_names"])
    except (KeyError, ValueError, RecursionError):
        return None
    good = isinstance(names, list) and len(names) == classes and all(
        isinstance(name, str) and 0 < len(name) <= MAX_NAME and name.isprintable() for name in names)
    return names if good else None


def _compared(source: str | Path, held: Message, model: Module, shape: tuple[int, ...]) -> str:
    """Return a line that compares the network with ONNX Runtime on noise."""
    version = runtime_version()
    if version is None:
        return "not compared with ONNX Runtime, which is not installed: pip install onnxruntime"
    noise = Streams(0).key("noise").normal((SAMPLES, *shape)).astype(np.float32)
    try:
        session = Session(Path(source).read_bytes())
        if session.batch * math.prod(shape) > MAX_NUMBERS:
            return f"not compared with ONNX Runtime: the file takes {session.batch:,} samples at once"
        found = agreement(lambda x: logits_of(model, x), lambda x: session(np.resize(x, (session.batch, *shape)))[:1],
                          [noise[k:k + 1] for k in range(SAMPLES)])
    except BadInput as error:
        return f"not compared: {error}"
    return f"ONNX Runtime {version}: {found.shown()} of noise"
