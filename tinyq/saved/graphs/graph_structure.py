"""Find the structure of an ONNX graph, as PyTorch's two exporters and tinyq write networks. Nothing in it is run."""
from tinyq.files.foreign.protobuf import Malformed, Message
from tinyq.saved.graphs.graph_channels import Channels
from tinyq.saved.graphs.graph_moves import shape_of
from tinyq.saved.graphs.graph_operations import READERS
from tinyq.saved.graphs.graph_reader import GraphReader
from tinyq.saved.graphs.onnx_constants import UNFIT, compute, is_computed
from tinyq.saved.graphs.structure import Structure

MAX_NODES = 20_000
# What to do about operations that classifiers often have.
HINTS = dict.fromkeys(("Softmax", "LogSoftmax"), ": tinyq's end in logits; export the network without it")


def input_of(graph: Message) -> tuple[str, tuple[int, ...] | None]:
    """Return (name, shape per sample) of a graph's only input; the shape is None where the file does not say it."""
    constants = {each["name"] for each in graph["initializer"]}
    inputs = [each for each in graph["input"] if each["name"] not in constants]
    if len(inputs) != 1 or not graph["output"]:
        raise Malformed(f"it has {len(inputs)} inputs and {len(graph['output'])} outputs, not one and at least one")
    kind = (inputs[0]["type"] or {}).get("tensor_type") or {}
    dims = ((kind.get("shape") or {}).get("dim") or [])[1:]
    sizes = tuple(each["dim_value"] or 0 for each in dims)
    return inputs[0]["name"] or "", sizes if sizes and min(sizes) > 0 else None


def graph_structure(graph: Message, input_shape: tuple[int, ...], file_bytes: int) -> Structure:
    """Return the structure of a graph for inputs of this shape; Malformed where it computes anything else.

    file_bytes: size of the file, which limits what its values may take.
    """
    if len(graph["node"]) > MAX_NODES:
        raise Malformed(f"it has {len(graph['node']):,} nodes, more than {MAX_NODES:,}")
    reader = GraphReader(graph, input_of(graph)[0], input_shape, file_bytes)
    channels = Channels(reader)
    for node in graph["node"]:
        reader.start(node)
        if node["domain"] not in (None, "", "ai.onnx"):
            raise Malformed(f"it computes {node['op_type']!r} of {node['domain']!r}, which is not of ONNX itself")
        _read(reader, channels, node)
    output = graph["output"][0]["name"]
    if output not in reader.values:
        raise Malformed(f"its output {output!r} is not computed from its input")
    reader.structure.result = reader.values[output]
    return reader.structure


def _read(reader: GraphReader, channels: Channels, node: Message) -> None:
    operation, inputs = node["op_type"] or "", node["input"]
    if not node["output"]:
        raise Malformed(f"its {operation} has no output")
    name = node["output"][0]
    if name in reader.values or reader.is_constant(name):
        raise Malformed(f"{name!r} is computed twice")
    if is_computed(operation) and all(a == "" or reader.is_constant(a) for a in inputs):
        reader.note(name, compute(operation, reader.attributes, [reader.array(a) if a else None for a in inputs]))
    elif operation == "Shape":
        reader.note(name, shape_of(reader))
    elif operation == "QuantizeLinear":
        raise Malformed("its activations are rounded to codes (QuantizeLinear); convert the network before that")
    elif not channels.follow(operation, inputs, name):
        if operation not in READERS:
            raise Malformed(f"it computes {operation!r}, which no network of tinyq does{HINTS.get(operation, '')}")
        try:
            reader.values[name] = reader.sized(READERS[operation](reader))
        except Malformed:
            raise
        except UNFIT as error:
            raise Malformed(f"an attribute or input of its {operation} has another type than it needs") from error
