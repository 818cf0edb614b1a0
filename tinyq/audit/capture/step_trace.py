"""Trace a step: its primitives and vjps in order, and the parameter that each one uses."""
from dataclasses import dataclass

from tinyq.autodiff.tape import Node
from tinyq.autodiff.tensors import Tensor


@dataclass(frozen=True)
class Call:
    """One application of a primitive, or one vjp of it."""

    primitive: str
    about: str                          # the parameter that enters it, or ""
    inputs: tuple
    output: tuple[int, ...]
    position: int | None = None         # of the input whose gradient it made, for a vjp
    between: tuple[str, ...] = ()       # primitives since the last call, which are not digested

    def __str__(self):
        """Such as "conv2d of conv2.weight, output (16, 6, 28, 28) (or relu just before)"."""
        about = f" of {self.about}" if self.about else ""
        what = "output" if self.position is None else f"gradient at input {self.position}"
        before = f" (or {', '.join(self.between)} just before)" if self.between else ""
        vjp = "" if self.position is None else "the vjp of "
        return f"{vjp}{self.primitive}{about}, {what} {tuple(self.output)}{before}"


# Primitives that move as many bytes as a product and compute next to nothing: digesting what they make would double the
# ledger's cost. A fault in one of them shows in the next that is digested, which then names them too.
PASSED_OVER = ("relu", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "reshape", "flatten")


def is_digested(primitive) -> bool:
    """Return True if the ledger digests this primitive's output."""
    return primitive.name not in PASSED_OVER


def is_vjp_digested(node, parent) -> bool:
    """Return True if the ledger digests this vjp's gradient; a parameter's gradient is digested separately."""
    return isinstance(parent, Node) and is_digested(node.primitive)


def parameter_of(x):
    """The parameter that an input of a primitive is, or whose effective weight it is; another Tensor is itself."""
    return (x.parameter or x) if isinstance(x, Tensor) else None


class Trace:
    """The calls of a step that the ledger digests, each named by the parameter or effective weight that enters it."""

    def __init__(self, model, optimizer):
        """Nothing was called yet."""
        self.calls, self.vjps = [], []
        self._names = {p: name for name, p in model.named_parameters()}
        self._latents = {p for p in self._names if p.parametrization is not None}
        self._between, self._vjps_between = [], []
        self._nodes = {}

    def note(self, primitive, inputs, params, output):
        """Receive a primitive from tape.traced."""
        about = next((self._names[p] for p in map(parameter_of, inputs) if p in self._names), "")
        quantises = any(x in self._latents for x in inputs[:1] if isinstance(x, Tensor))   # a weight before its layer
        shapes = tuple(None if a is None else a.shape for a in inputs)
        between = () if quantises else tuple(self._between)
        call = Call(primitive.name, about, shapes, output.shape, None, between)
        if not is_digested(primitive):
            self._between.append(primitive.name)
        else:
            self.calls.append(call)
            self._between = self._between if quantises else []
        if output.node is not None:
            self._nodes[output.node] = call
        return call

    def note_vjp(self, node, position, parent, g, gx):
        """Receive a vjp from tape.traced_vjps."""
        if not is_vjp_digested(node, parent):
            if not is_digested(node.primitive):
                self._vjps_between.append(node.primitive.name)
            return
        call, between, self._vjps_between = self._nodes.get(node), tuple(self._vjps_between), []
        self.vjps.append(Call(node.primitive.name, call.about if call else "", call.inputs if call else (),
                               gx.shape, position, between))
