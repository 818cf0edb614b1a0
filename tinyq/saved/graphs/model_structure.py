"""Find the structure of a network of tinyq by recording its evaluation once."""
import numpy as np

from tinyq.errors import UsageError
from tinyq.inference.record import record
from tinyq.inference.steps import Step, Value
from tinyq.nn import Module
from tinyq.packed.file.operations import OPERATIONS, conv_json, pool_geometry
from tinyq.saved.graphs.structure import (
    CONV,
    LINEAR,
    NORM,
    Operation,
    Structure,
    affine_of,
    channel_values,
)

UNARY = ("relu", "tanh", "sigmoid", "exp", "log", "neg", "abs", "sqrt")
ROLES = {"batch_norm_inference": ("weight", "bias", "mean", "variance"), "conv2d": ("weight", "scale", "bias"),
         "linear": ("weight", "scale", "bias")}


def structure_of(model: Module, input_shape: tuple[int, ...]) -> Structure:
    """Return the structure of a network in evaluation; UsageError for operations that are not compared."""
    steps, result = record(model, np.zeros((1, *input_shape), np.float32))
    if not isinstance(result, Value):
        raise UsageError("the network's output does not depend on its input")
    return _Reader(model, input_shape).read(steps, result)


class _Reader:
    def __init__(self, model: Module, input_shape: tuple[int, ...]) -> None:
        self.structure, self.numbers = Structure(input_shape), {-1: -1}
        self.names = {id(p.data): name for name, p in model.named_parameters()}
        for name, module in model.named_modules():
            for role in ("running_mean", "running_var"):
                if getattr(module, role, None) is not None:
                    self.names[id(getattr(module, role))] = f"{name}.{role}".lstrip(".")

    def read(self, steps: list[Step], result: Value) -> Structure:
        """Add all steps."""
        for number, step in enumerate(steps):
            self.numbers[number] = self._add(step, tuple(step.shape[1:]))
        self.structure.result = self.numbers[result.step]
        return self.structure

    def _add(self, step: Step, shape: tuple[int, ...]) -> int:
        inputs = tuple(self.numbers[a.step] for a in step.inputs if type(a) is Value)
        name = step.name
        if name in ROLES and len(inputs) == 1:
            return self._weighted(step, inputs, shape)
        if name in ("add", "sub", "mul", "div") and len(inputs) == 1:
            return self._affine(step, inputs[0])
        if any(type(a) is not Value for a in step.inputs):
            raise UsageError(f"the network computes {name} with a constant, which is not compared with a graph")
        if name in ("flatten", "reshape"):
            return self.structure.reshape(inputs[0], shape)
        if name in UNARY or name in ("add", "sub", "mul", "div", "maximum"):
            return self.structure.add(Operation(name, inputs, shape))
        return self._with_params(step, inputs, shape)

    def _with_params(self, step: Step, inputs: tuple[int, ...], shape: tuple[int, ...]) -> int:
        name, before = step.name, self.structure.shape_of(inputs[0])
        if name not in OPERATIONS:
            raise UsageError(f"the network computes {name}, which is not compared with a graph")
        params = OPERATIONS[name].to_json(step.params, step.shape)
        match name:
            case "max_pool2d":
                return self.structure.pool("max", inputs[0], pool_geometry(before, name, params))
            case "avg_pool2d" | "adaptive_avg_pool2d":
                return self.structure.pool("average", inputs[0], pool_geometry(before, name, params))
            case "mean" if params["axes"] == [1, 2] and len(before) == 3:
                windows = pool_geometry(before, "adaptive_avg_pool2d", {"output_size": (1, 1)})
                return self.structure.reshape(self.structure.pool("average", inputs[0], windows), shape)
            case "concatenate":
                return self.structure.add(Operation(name, inputs, shape, (params["axis"],)))
            case "getitem":
                return self.structure.add(Operation(name, inputs, shape, sliced(step.params["index"], before)))
            case "pad":
                return self.structure.add(Operation(name, inputs, shape, tuple(map(tuple, params["widths"]))))
            case "clip":
                return self.structure.add(Operation(name, inputs, shape, (params["low"], params["high"])))
        raise UsageError(f"the network computes {name}, which is not compared with a graph")

    def _weighted(self, step: Step, inputs: tuple[int, ...], shape: tuple[int, ...]) -> int:
        held = {role: array for role, array in zip(ROLES[step.name], step.inputs[1:], strict=False)
                if array is not None}
        if "scale" in held:
            raise UsageError("the network's weights are on levels; convert compares float networks")
        names = {role: self.names.get(id(array), "") for role, array in held.items()}
        label = (names.get("weight") or names.get("mean") or step.name).rpartition(".")[0]
        if step.name == "conv2d":
            options = conv_json(step.params)
            pads = (*options["padding"], *options["padding"])
            params = tuple(options["stride"]), pads, tuple(options["dilation"]), options["groups"]
            return self.structure.add(Operation(CONV, inputs, shape, params, held, names, label))
        if step.name == "linear":
            return self.structure.add(Operation(LINEAR, inputs, shape, (), held, names, label))
        held["epsilon"] = np.asarray(step.params["eps"], np.float64)
        return self.structure.add(Operation(NORM, inputs, shape, (), held, names, label))

    def _affine(self, step: Step, x: int) -> int:
        constant = next(a for a in step.inputs if type(a) is not Value)
        values = channel_values(constant, self.structure.shape_of(x))
        pair = None if values is None else affine_of(step.name, values, type(step.inputs[0]) is Value)
        if pair is None:
            raise UsageError(f"the network computes {step.name} with a constant, which is not compared with a graph")
        return self.structure.affine(x, *pair)


def sliced(index: object, before: tuple[int, ...]) -> tuple[tuple[int, int, int], ...]:
    """Return (start, number, step) of slices for each axis of a sample; index: with the batch axis."""
    parts = (index if isinstance(index, tuple) else (index,))[1:]
    parts = (*parts, *[slice(None)] * (len(before) - len(parts)))
    taken = [range(size)[part] for part, size in zip(parts, before, strict=True)]
    return tuple((each.start, len(each), each.step if len(each) > 1 else 1) for each in taken)
