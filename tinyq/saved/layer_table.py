"""Summarise a network layer by layer: level set, size and cost."""
from dataclasses import asdict, dataclass

from tinyq.levels import Levels
from tinyq.nn import Module
from tinyq.output.text_table import table
from tinyq.saved.layer_sizes import Size, sizes
from tinyq.saved.layer_trace import LayerTrace, trace

FLOAT = "float"


@dataclass(frozen=True)
class Layer:
    """One row of the summary: totals of a layer; bytes include its buffers."""

    name: str
    kind: str
    output: tuple[int, ...]
    weight: tuple[int, ...]
    parameters: int
    set: str
    bits: int
    scales: int
    bytes_float: int
    bytes_packed: int
    bytes_remainder: int                # the float32 part of bytes_packed, without scales
    macs: int


def layers(model: Module, input_shape: tuple[int, ...], planned: Levels | None = None) -> list[Layer]:
    """Make one Layer per module with parameters; planned: as for layer_sizes.sizes."""
    by_module: dict[str, list[Size]] = {}
    for size in sizes(model, planned):
        by_module.setdefault(size.name.rpartition(".")[0], []).append(size)
    return [_layer(step, by_module[step.name]) for step in trace(model, input_shape)]


def summary_of(model: Module, input_shape: tuple[int, ...]) -> str:
    """Return the summary as text; input_shape: of one sample."""
    return "\n".join(as_table(layers(model, input_shape)))


def as_table(found: list[Layer], origin: str = "calculated") -> list[str]:
    """Format the summary as lines of text; origin: where the packed sizes are from."""
    header = ["layer", "kind", "output", "weight", "parameters", "set", "bits", "packed bytes", "MACs"]
    rows = [[layer.name, layer.kind, _by(layer.output), _by(layer.weight), layer.parameters, layer.set, layer.bits,
             layer.bytes_packed, layer.macs] for layer in found]
    t = totals(found)
    lines = [
        f"parameters         {t['parameters']:,}, {t['constrained']:,} constrained",
        f"MACs               {t['macs']:,}, {t['macs_constrained']:,} with constrained weights",
        f"bytes as float     {t['bytes_float']:,}",
        f"bytes as packed    {t['bytes_packed']:,} ({origin}), "
        f"{t['bytes_float'] / t['bytes_packed']:.1f} times fewer",
        f"  codes            {t['bytes_codes']:,}",
        f"  scales           {t['bytes_scales']:,}",
        f"  float remainder  {t['bytes_remainder']:,} (layers that stay float, biases, batch norm)",
    ]
    return [*table(header, rows), "", *lines]


def as_json(found: list[Layer]) -> dict:
    """Format the summary as JSON values."""
    return {"layers": [asdict(layer) for layer in found], "totals": totals(found)}


def totals(found: list[Layer]) -> dict:
    """Sum over all layers."""
    constrained = [layer for layer in found if layer.set != FLOAT]
    packed, remainder = (sum(getattr(layer, key) for layer in found) for key in ("bytes_packed", "bytes_remainder"))
    scales = 4 * sum(layer.scales for layer in found)
    return {
        "parameters": sum(layer.parameters for layer in found),
        "constrained": sum(_count(layer.weight) for layer in constrained),
        "macs": sum(layer.macs for layer in found),
        "macs_constrained": sum(layer.macs for layer in constrained),
        "bytes_float": sum(layer.bytes_float for layer in found),
        "bytes_packed": packed,
        "bytes_codes": packed - remainder - scales,
        "bytes_scales": scales,
        "bytes_remainder": remainder,
    }


def _layer(step: LayerTrace, held: list[Size]) -> Layer:
    """Make the row of one module from the sizes of its parameters and buffers."""
    constrained = next((size for size in held if size.set_name), None)
    main = constrained or max(held, key=lambda size: len(size.shape))
    return Layer(
        step.name, step.kind, step.output, main.shape, sum(size.count for size in held if size.trained),
        (constrained and constrained.set_name) or FLOAT, main.bits, main.scales,
        sum(size.bytes_float for size in held), sum(size.bytes_packed for size in held),
        sum(size.bytes_packed for size in held if not size.set_name), step.macs)


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
