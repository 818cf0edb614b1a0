"""Module: a layer or a tree of layers, with torch's names for its parts.

The attributes of a module are its parts: a Module is a child, a Parameter is trained, an array is a buffer, which is
saved but not trained. Parts may also lie in lists, tuples and dicts that are attributes: `blocks.0.weight`,
`heads.left.bias`. There is no registration and no base constructor to call.
"""
from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

import tinyq
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, TinyqError, check_parameters
from tinyq.nn.hooks import Hook
from tinyq.nn.parameter import Parameter
from tinyq.streams import Stream, Streams

T = TypeVar("T")
SHOWN = 12                              # differences in a message


class Module:
    """Layer or network; a subclass assigns its parts to attributes and defines `forward`.

    Weights are zeros until `initialise`: model = Net().initialise(tinyq.Streams(seed)).
    """

    training = True
    draws: str | None = None            # purpose of the random stream of a layer that draws at each step
    stream: Stream | None = None        # the stream for the current step; key_step sets it
    hooks: tuple[Callable[..., Tensor], ...] = ()       # around each call, the latest is the outermost; see hooked

    def __new__(cls, *inputs: Any, **options: Any) -> Self:
        """Check the names of the options; UsageError says which was meant."""
        own = inspect.signature(cls.__init__).parameters if options else {}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            check_parameters(cls.__name__, options, own)
        return super().__new__(cls)

    def forward(self, x: Tensor) -> Tensor:
        """Map the input Tensor to the output Tensor; a subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def training_outputs(self, x: Tensor) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        """Return (logits, [(share, auxiliary logits)]); a network with auxiliary classifiers overrides it.

        The training loss is that of the logits plus share * the loss of each auxiliary classifier.
        """
        return self(x), []

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Run `forward` inside the hooks. An error of tinyq names the layer, by its name from the outermost call on."""
        call = self.forward
        for hook in self.hooks:
            call = partial(hook, self, call)
        try:
            return call(*inputs, **options)
        except TinyqError as error:
            _locate(error, self)
            raise

    def register_forward_hook(self, hook: Callable[[Self, tuple[Any, ...], Tensor], Tensor | None]) -> Hook:
        """Call hook(module, inputs, output) after each call; a Tensor that it returns replaces the output.

        remove() of the result takes the hook off.
        """
        def around(module: Self, call: Callable[..., Tensor], *inputs: Any, **options: Any) -> Tensor:
            y = call(*inputs, **options)
            replaced = hook(module, inputs, y)
            return y if replaced is None else replaced

        return Hook(self, around)

    def register_backward_hook(self, hook: Callable[[Self, np.ndarray], np.ndarray | None]) -> Hook:
        """Call hook(module, g) in each backward with the gradient at the output; an array that it returns replaces g.

        remove() of the result takes the hook off.
        """
        def watch(module: Self, inputs: tuple[Any, ...], y: Tensor) -> None:
            if y.requires_grad:
                y.register_hook(partial(hook, module))

        return self.register_forward_hook(watch)

    def reset(self, key: Callable[[str], Stream]) -> None:
        """Set the parameters and buffers of this module, without its children, to their initial values.

        key(name): random stream for the parameter `name`.
        """

    # ---- the tree ----

    def named_modules(self, prefix: str = "") -> list[tuple[str, Module]]:
        """Return (dotted name, module) of this module ("") and all below it, parents first, each once."""
        found: list[tuple[str, Module]] = []
        seen: set[int] = set()
        pending: list[tuple[str, Module]] = [(prefix, self)]
        while pending:
            name, module = pending.pop()
            if id(module) not in seen:
                seen.add(id(module))
                found.append((name, module))
                pending += reversed([(_dotted(name, child), value) for child, value in module._parts()
                                     if isinstance(value, Module)])
        return found

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Return (dotted name, Parameter) in order of assignment, each once."""
        return self._named(Parameter)

    def named_buffers(self) -> list[tuple[str, np.ndarray]]:
        """Return (dotted name, array) of the arrays that are saved but not trained."""
        return self._named(np.ndarray)

    def parameters(self) -> list[Parameter]:
        """Return all parameters in order of assignment, each once."""
        return [p for _, p in self.named_parameters()]

    def constrained_parameters(self) -> list[tuple[str, Parameter]]:
        """Return (dotted name, Parameter) of the parameters that a method constrains to levels."""
        return [(name, p) for name, p in self.named_parameters() if p.constrained]

    def _named(self, kind: type[T]) -> list[tuple[str, T]]:
        found: dict[int, tuple[str, T]] = {}
        for prefix, module in self.named_modules():
            for name, value in module._parts():
                if isinstance(value, kind):
                    found.setdefault(id(value), (_dotted(prefix, name), value))
        return list(found.values())

    def _parts(self) -> Iterator[tuple[str, object]]:
        """Yield (name, value) of each attribute, then of each entry of the lists, tuples and dicts among them."""
        attributes = vars(self)
        yield from attributes.items()
        for name, value in attributes.items():
            if isinstance(value, list | tuple | dict):
                yield from _entries(name, value, ())

    # ---- modes, dtype, randomness ----

    def train(self, mode: bool = True) -> Self:
        """Switch to training, or with mode=False to evaluation; return the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation; return the module. Batch norm uses its running statistics, dropout does nothing."""
        return self.train(False)

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert parameters and floating-point buffers in place; return the module."""
        for p in self.parameters():
            p.data, p.grad = p.data.astype(dtype), None
        for _, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    setattr(module, name, value.astype(dtype))
        return self

    def initialise(self, streams: Streams) -> Self:
        """Draw all initial values, each by the seed and its dotted name alone; return the module."""
        for prefix, module in self.named_modules():
            module.reset(partial(_initial_stream, streams, prefix))
        return self

    def key_step(self, streams: Streams, epoch: int, step: int) -> None:
        """Set the stream of each layer that draws random numbers, by epoch and step."""
        for name, module in self.named_modules():
            if module.draws:
                module.stream = streams.key(module.draws, name, epoch, step)

    # ---- state ----

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return {dotted name: copy of the array} of all parameters and buffers."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray], strict: bool = True,
                        source: str = "the state") -> list[str]:
        """Copy arrays in by name. If they do not fit, BadInput lists the first differences and nothing is changed.

        strict: refuse missing and extra names; otherwise return "missing NAME" and "extra NAME" for each.
        source: name of the file in the message.
        """
        own = self._arrays()
        state = {name: np.asarray(array) for name, array in state.items()}
        absent = [f"missing {name}" for name in own if name not in state]
        absent += [f"extra {name}" for name in state if name not in own]
        wrong = [f"{name} is {_kind(state[name])}, the model's {_kind(array)}" for name, array in own.items()
                 if name in state and _kind(state[name]) != _kind(array)]
        differences = (absent if strict else []) + wrong
        if differences:
            more = [f"and {len(differences) - SHOWN} more"] if len(differences) > SHOWN else []
            raise BadInput(f"{source} does not fit this {type(self).__name__}: "
                           + "; ".join(differences[:SHOWN] + more))
        for name, array in own.items():
            if name in state:
                array[...] = state[name]
        for name, p in self.named_parameters():
            if name in state:
                p.initialised = True
                p.changed()
        return absent

    def _arrays(self) -> dict[str, np.ndarray]:
        """Return parameters and buffers by name in torch's order: module by module, parameters first."""
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        names = [_dotted(prefix, name) for prefix, module in self.named_modules()
                 for kind in (Parameter, np.ndarray)
                 for name, value in module._parts() if isinstance(value, kind)]
        return {name: parameters[name].data if name in parameters else buffers[name] for name in names
                if name in parameters or name in buffers}

    def save(self, path: str | Path) -> None:
        """Save all parameters and buffers in an HDF5 file, atomically; constrained weights with scale and levels."""
        tinyq.save_module(self, path)

    def load(self, path: str | Path) -> Self:
        """Load what `save` wrote, in place; return the module. BadInput if the file does not fit this network."""
        return tinyq.load_module(self, path)

    # ---- display ----

    def summary(self, input_shape: tuple[int, ...]) -> str:
        """Return a table of the layers with shapes, sizes and cost, as text; input_shape: of one sample."""
        return tinyq.summary_of(self, input_shape)

    def describe(self) -> str:
        """Return the sizes and options of the layer, for its repr."""
        return ""

    def __repr__(self) -> str:
        """Return the tree, with one line per module."""
        lines = [f"{type(self).__name__}({self.describe()})"]
        for name, value in self._parts():
            if isinstance(value, Module):
                lines += [f"  {line}" for line in f"{name}: {value!r}".split("\n")]
        return "\n".join(lines)


@contextmanager
def evaluating(model: Module) -> Iterator[Module]:
    """Switch to evaluation inside; restore the mode of each module afterwards."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        yield model.eval()
    finally:
        for module, training in modes:
            module.training = training


def _entries(name: str, value: object, inside: tuple[int, ...]) -> Iterator[tuple[str, object]]:
    """Yield (name, value), or those of the entries of a container; inside: ids of the containers around it."""
    if not isinstance(value, list | tuple | dict):
        yield name, value
    elif id(value) not in inside:                       # a container may contain itself
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _entries(f"{name}.{key}", entry, (*inside, id(value)))


def _locate(error: TinyqError, module: Module) -> None:
    """Begin the error with the layer that it came from: its name from `module` on, its class, the user's line."""
    if error.layer is None:
        frame = sys._getframe(2)
        while frame.f_back and frame.f_globals.get("__name__", "").startswith("tinyq.nn."):
            frame = frame.f_back
        own = frame.f_globals.get("__name__", "").startswith("tinyq.")
        line = "" if own else f", {Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        error.layer = module, line, str(error)
    layer, line, said = error.layer
    name = next((name for name, found in module.named_modules() if found is layer), "")
    if name:
        error.args = (f"{name} ({type(layer).__name__}{line}): {said}",)


def _initial_stream(streams: Streams, prefix: str, name: str) -> Stream:
    return streams.key("init", _dotted(prefix, name))


def _dotted(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
