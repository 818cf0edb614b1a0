"""Convert the parameters of reductions, clips and powers of a packed network, and find the shapes of their outputs.

Shapes are per sample, without the batch axis, which no reduction may touch.
"""
import math
from operator import index

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
MAX_EXPONENT = 64                       # a power is computed by products


def reduction_json(params: dict, shape: tuple[int, ...]) -> dict:
    """Return the axes of a sample that are reduced, ascending; ValueError where the batch is reduced too.

    shape: of the output, batch axis included.
    """
    given, keepdims = params.get("axis"), bool(params.get("keepdims", False))
    if given is None:
        raise ValueError("it reduces the batch axis; give axis")
    axes = given if isinstance(given, tuple | list) else (given,)
    rank = len(shape) + (0 if keepdims else len(axes))
    own = sorted(index(axis) % rank - 1 for axis in axes)
    if -1 in own:
        raise ValueError("it reduces the batch axis")
    return {"axes": own, "keepdims": keepdims}


def reduction_params(json: dict) -> dict:
    """Return the keyword arguments of the primitive."""
    if not isinstance(json["keepdims"], bool):
        raise ValueError("keepdims must be true or false")
    return {"axis": tuple(index(axis) + 1 for axis in json["axes"]), "keepdims": json["keepdims"]}


def reduced_shape(shapes: list, json: dict) -> tuple[int, ...]:
    """Return the output's shape."""
    shape, axes = tuple(shapes[0]), [index(axis) for axis in json["axes"]]
    if not axes or axes != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        raise ValueError(f"axes {axes} do not fit shape {shape}")
    kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
    return tuple(kept if json["keepdims"] else (size for axis, size in enumerate(shape) if axis not in axes))


def clip_json(params: dict, shape: tuple[int, ...]) -> dict:
    """Return the two limits, null for one that is infinite."""
    low, high = float(params.get("low", -math.inf)), float(params.get("high", math.inf))
    return {"low": None if low == -math.inf else low, "high": None if high == math.inf else high}


def clip_params(json: dict) -> dict:
    """Return the keyword arguments of the primitive; ValueError for limits that are no range."""
    low = -math.inf if json["low"] is None else float(json["low"])
    high = math.inf if json["high"] is None else float(json["high"])
    if not low <= high or any(abs(limit) > LARGEST for limit in (low, high) if not math.isinf(limit)):
        raise ValueError(f"the limits {low} and {high} are no range of float32 numbers")
    return {"low": low, "high": high}


def power_params(json: dict) -> dict:
    """Return the keyword arguments of the primitive; ValueError for an exponent other than a whole number or 0.5."""
    exponent = float(json["exponent"])
    if exponent != 0.5 and (exponent != math.floor(exponent) or not -MAX_EXPONENT <= exponent <= MAX_EXPONENT):
        raise ValueError(f"the exponent {exponent} is neither 0.5 nor a whole number up to {MAX_EXPONENT}")
    return {"exponent": exponent}
