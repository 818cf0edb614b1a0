"""Write pooling as ONNX: windows that reach beyond the plane as padding, so that no rule for them is needed."""
import numpy as np

from tinyq.files.foreign.protobuf import Message
from tinyq.packed.file.operations import pool_geometry
from tinyq.packed.onnx.onnx_nodes import Nodes

Shape = tuple[int, ...]


def max_pool(nodes: Nodes, x: str, y: str, params: Message, before: Shape, after: Shape) -> None:
    """Write the maximum of each window; before and after: the shapes of a sample."""
    pads = _pads(params, before, after)
    if not _fits(pads, params["kernel"]):
        x, pads = _padded(nodes, x, y, pads, float(np.finfo(np.float32).min)), []
    nodes.add("MaxPool", [x], y, kernel_shape=params["kernel"], strides=params["stride"],
              dilations=params["dilation"], **({"pads": pads} if any(pads) else {}))


def average_pool(nodes: Nodes, x: str, y: str, params: Message, before: Shape, after: Shape) -> None:
    """Write the mean of each window, with tinyq's divisors where they are not the window's size."""
    pads, taps = _pads(params, before, after), int(np.prod(params["kernel"]))
    windows, fits = pool_geometry(before, "avg_pool2d", params), _fits(pads, params["kernel"])
    inner = fits and bool((windows.divisors == windows.heights * windows.widths).all())     # padding is not counted
    factors = taps / windows.divisors.astype(np.float64)
    even = inner or bool((factors == 1).all())
    target = y if even else f"{y}/mean"
    if not fits:
        x, pads = _padded(nodes, x, y, pads, 0.0), []
    options: dict[str, int | list[int]] = {"pads": pads, "count_include_pad": int(not inner)} if any(pads) else {}
    nodes.add("AveragePool", [x], target, kernel_shape=params["kernel"], strides=params["stride"], **options)
    if not even:
        nodes.add("Mul", [target, nodes.floats(f"{y}.factors", factors.reshape(1, 1, *after[1:]))], y)


def adaptive_average_pool(nodes: Nodes, x: str, y: str, params: Message, before: Shape, after: Shape) -> None:
    """Write the mean of windows that cover the plane, as a product with two matrices where they are not even."""
    sizes, outputs = before[1:], after[1:]
    if outputs == (1, 1):
        nodes.add("GlobalAveragePool", [x], y)
    elif all(size % count == 0 for size, count in zip(sizes, outputs, strict=True)):
        window = [size // count for size, count in zip(sizes, outputs, strict=True)]
        nodes.add("AveragePool", [x], y, kernel_shape=window, strides=window)
    else:
        rows, columns = (_averaging(size, count) for size, count in zip(sizes, outputs, strict=True))
        across = nodes.add("MatMul", [x, nodes.floats(f"{y}.columns", columns.T)], f"{y}/across")
        nodes.add("MatMul", [nodes.floats(f"{y}.rows", rows), across], y)


def _averaging(size: int, count: int) -> np.ndarray:
    """Return the matrix (count, size) that averages `count` windows of `size` elements."""
    matrix = np.zeros((count, size))
    for o in range(count):
        first, end = o * size // count, -(-(o + 1) * size // count)
        matrix[o, first:end] = 1 / (end - first)
    return matrix


def _pads(params: Message, before: Shape, after: Shape) -> list[int]:
    """Return [top, left, bottom, right] with which exactly `after` windows fit."""
    begins, ends = list(params["padding"]), []
    for axis in (0, 1):
        taps, stride = params["kernel"][axis], params["stride"][axis]
        reach = params.get("dilation", (1, 1))[axis] * (taps - 1) + 1
        ends.append(max(0, (after[1 + axis] - 1) * stride + reach - before[1 + axis] - begins[axis]))
    return [*begins, *ends]


def _fits(pads: list[int], kernel: list[int]) -> bool:
    """Return whether runtimes take the padding: less than the window on each side."""
    return all(pad < taps for pad, taps in zip(pads, [*kernel, *kernel], strict=True))


def _padded(nodes: Nodes, x: str, y: str, pads: list[int], value: float) -> str:
    top, left, bottom, right = pads
    widths = nodes.integers(f"{y}.pads", [0, 0, top, left, 0, 0, bottom, right])
    return nodes.add("Pad", [x, widths, nodes.floats(f"{y}.padding", value)], f"{y}/padded")
