"""Find a network's operations again in the structure of a graph, and take its weights from there.

Both structures are compared from the input to the output; names and the order of branches do not matter. A batch norm
of the network may be missing in the graph, where an exporter multiplied it into the convolution before it.
"""
from collections.abc import Iterator

import numpy as np

from tinyq.errors import BadInput
from tinyq.saved.graphs.structure import AFFINE, COMMUTATIVE, CONV, LINEAR, NORM, Operation, Structure

Pairs = dict[int, int]                  # an operation of the network: the one of the graph
STATE = {"mean": "running_mean", "variance": "running_var"}


class Unlike(BadInput):
    """A graph that computes something else than the network."""


def matched(own: Structure, graph: Structure) -> Pairs:
    """Return the operation of the graph for each of the network; Unlike names the first that is not in the graph."""
    candidates = _candidates(own, graph)
    if graph.result not in candidates[own.result]:
        number = next((k for k in sorted(_used(own)) if not candidates[k]), own.result)
        raise Unlike(f"the graph has nothing like {_label(own, number)} of the network in its place")
    pairs: Pairs = {}
    ahead = [(own.result, graph.result)]
    while ahead:
        number, other = ahead.pop()
        if number in pairs or number < 0:
            continue
        pairs[number] = other
        ahead += _input_pairs(own, graph, number, other, candidates)
    return pairs


def state_from(own: Structure, graph: Structure, pairs: Pairs) -> dict[str, np.ndarray]:
    """Return the weights of the network, float32, by their names in its state_dict; Unlike where some do not fit."""
    state: dict[str, np.ndarray] = {}
    for number, other in pairs.items():
        mine, theirs = own.operations[number], graph.operations[other]
        if mine.kind == NORM:
            before = mine.inputs[0]
            if theirs.kind == NORM:
                state |= _norm(mine, theirs, _lost_bias(own, graph, pairs, before))
            else:
                state |= _folded(mine, theirs, "bias" in own.operations[before].names)
        elif mine.kind in (CONV, LINEAR):
            state |= _product(mine, theirs)
    return {name: np.ascontiguousarray(array, np.float32) for name, array in state.items() if name}


def _candidates(own: Structure, graph: Structure) -> dict[int, set[int]]:
    """Return the operations of the graph that compute what an operation of the network does, but for weights."""
    by_key: dict[object, list[int]] = {}
    for other, operation in enumerate(graph.operations):
        by_key.setdefault(operation.key, []).append(other)
    found: dict[int, set[int]] = {-1: {-1}}
    for number, operation in enumerate(own.operations):
        found[number] = {other for other in by_key.get(operation.key, []) if operation.like(graph.operations[other])
                         and next(_orders(operation, graph.operations[other], found), None) is not None}
        if operation.kind == NORM and operation.inputs[0] >= 0 and (
                own.operations[operation.inputs[0]].kind in (CONV, LINEAR)):
            found[number] |= found[operation.inputs[0]]
    return found


def _used(own: Structure) -> set[int]:
    """Return the operations that the result is made of."""
    used: set[int] = set()
    ahead = [own.result]
    while ahead:
        number = ahead.pop()
        if number >= 0 and number not in used:
            used.add(number)
            ahead += own.operations[number].inputs
    return used


def _orders(mine: Operation, theirs: Operation, found: dict[int, set[int]]) -> Iterator[tuple[int, ...]]:
    """Yield the orders of the graph's inputs in which they can be those of the network's operation."""
    orders = [theirs.inputs]
    if mine.kind in COMMUTATIVE and len(theirs.inputs) == 2:
        orders.append(theirs.inputs[::-1])
    for order in orders:
        if len(order) == len(mine.inputs) and all(b in found[a] for a, b in zip(mine.inputs, order, strict=True)):
            yield order


def _input_pairs(own, graph, number, other, found) -> list[tuple[int, int]]:
    mine, theirs = own.operations[number], graph.operations[other]
    if mine.kind == NORM and theirs.kind != NORM:               # within the product before it
        return [(mine.inputs[0], other)]
    return list(zip(mine.inputs, next(_orders(mine, theirs, found)), strict=True))


def _product(mine: Operation, theirs: Operation) -> dict[str, np.ndarray]:
    bias = theirs.arrays.get("bias")
    own = {mine.names["weight"]: theirs.arrays["weight"]}
    if "bias" in mine.names:
        own[mine.names["bias"]] = np.zeros(len(theirs.arrays["weight"])) if bias is None else _channels(mine, bias)
    return own


def _lost_bias(own: Structure, graph: Structure, pairs: Pairs, before: int) -> np.ndarray | float:
    """Return the bias of the graph's product before a batch norm, for which the network has no place."""
    mine = own.operations[before] if before >= 0 else None
    if mine is None or mine.kind not in (CONV, LINEAR) or "bias" in mine.names:
        return 0.0
    return graph.operations[pairs[before]].arrays.get("bias", 0.0)


def _norm(mine: Operation, theirs: Operation, bias: np.ndarray | float) -> dict[str, np.ndarray]:
    """Return a batch norm as it is, but for another epsilon."""
    arrays = dict(theirs.arrays)
    epsilon, wanted = float(arrays.pop("epsilon")), float(mine.arrays["epsilon"])
    if np.float32(epsilon) != np.float32(wanted):
        arrays["variance"] = arrays["variance"].astype(np.float64) + (epsilon - wanted)
        if (arrays["variance"] < 0).any():
            raise Unlike(f"the batch norm {mine.label} has another epsilon ({epsilon:g}) than the network's "
                         f"({wanted:g}), and variances too small to make up for it")
    arrays["mean"] = arrays["mean"] - bias
    plain = {"weight": 1.0, "bias": 0.0}
    for role, usual in plain.items():
        if role not in mine.names and (arrays[role] != usual).any():
            raise Unlike(f"the batch norm {mine.label} has a {role}, for which the network has no place")
    return {mine.names[role]: arrays[role] for role in mine.names}


def _folded(mine: Operation, theirs: Operation, has_bias: bool) -> dict[str, np.ndarray]:
    """Return a batch norm that only adds the bias of the product that it was multiplied into.

    has_bias: the network's product adds the bias itself.
    """
    bias = np.zeros(mine.shape[0])
    if not has_bias and "bias" in theirs.arrays:
        bias = _channels(mine, theirs.arrays["bias"])
    ones = np.ones(len(bias))
    values = {"weight": ones, "bias": bias, "mean": 0 * ones, "variance": ones - float(mine.arrays["epsilon"])}
    if "bias" not in mine.names:
        values["mean"] = -bias
    return {mine.names[role]: values[role] for role in mine.names}


def _channels(mine: Operation, bias: np.ndarray) -> np.ndarray:
    if bias.size not in (1, mine.shape[0]):
        raise Unlike(f"the bias of {mine.label} has {bias.size} numbers, not {mine.shape[0]}")
    return np.broadcast_to(bias.reshape(-1), (mine.shape[0],))


def _label(own: Structure, number: int) -> str:
    """Name an operation: by its layer, else by its kind and the layer before it."""
    operation = own.operations[number]
    if operation.label or operation.kind == AFFINE:
        return operation.label or "the scaling of the input"
    return f"the {operation.kind} that makes {'x'.join(map(str, operation.shape))}"
