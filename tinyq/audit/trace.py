"""Which primitives and pulls a step went through, in order, and which layer's parameter each of them is about."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """One application of a primitive, or one pull of it."""

    primitive: str
    about: str                          # the parameter that enters it, or ""
    inputs: tuple
    output: tuple[int, ...]
    position: int | None = None         # of the input whose gradient it made, for a pull

    def __str__(self):
        """Such as "conv2d of conv2.weight, output float32 (16, 6, 28, 28)"."""
        about = f" of {self.about}" if self.about else ""
        what = "output" if self.position is None else f"gradient at input {self.position}"
        return f"{'' if self.position is None else 'the pull of '}{self.primitive}{about}, {what} {tuple(self.output)}"


class Trace:
    """The calls of a step; parameters are known by their arrays, also through the view that a method installs."""

    def __init__(self, model, optimizer):
        """Nothing was called yet."""
        self.calls, self.pulls = [], []
        self._names = {id(p.data): name for name, p in model.named_parameters()}
        self._nodes, self._kept = {}, []        # arrays are kept while their ids are used

    def note(self, primitive, inputs, params, output):
        """What tape.traced tells."""
        about = next((self._names[id(a)] for a in inputs if id(a) in self._names), "")
        if primitive.name in ("straight_through", "part_frozen"):
            self._names[id(output.data)] = about
        self._kept.append(output.data)
        shapes = tuple(None if a is None else a.shape for a in inputs)
        self.calls.append(Call(primitive.name, about, shapes, output.shape))
        if output.node is not None:
            self._nodes[output.node] = self.calls[-1]

    def note_pull(self, node, position, parent, g, gx):
        """What tape.traced_pulls tells."""
        call = self._nodes.get(node)
        self.pulls.append(Call(node.primitive.name, call.about if call else "", call.inputs if call else (),
                               gx.shape, position))
