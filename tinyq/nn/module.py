"""Module: a tree of layers found by walking attributes, with torch's names for what it holds.

An attribute that is a Module is a child, one that is a Parameter is trained, one that is an array is a
buffer (saved, not trained). Nothing is registered and a subclass need not call a constructor of ours.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tinyq.errors import BadInput
from tinyq.nn.parameter import Parameter


class Module:
    """A layer or a network; a subclass assigns its parts to attributes and defines `forward`.

    Its weights are zeros until `initialise(streams)`: model = Net().initialise(tinyq.Streams(seed)).
    """

    training = True
    draws: str | None = None            # the purpose of its random stream, for a layer that needs one each step

    def forward(self, x):
        """The layer's function, Tensor to Tensor."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def training_outputs(self, x):
        """(logits, [(share, logits)]): what a training step takes its loss of.

        The list is of auxiliary classifiers, of whose losses a share is added; a network that has them says so here.
        """
        return self(x), []

    def __call__(self, *inputs, **options):
        """Run `forward`."""
        return self.forward(*inputs, **options)

    def reset(self, key):
        """Set this module's own parameters and buffers to their initial values.

        key(name) is the random stream of the parameter `name`.
        """

    # ---- the tree ----

    def named_modules(self, prefix=""):
        """(dotted name, module) for this module ("") and all below it, parents first, each once."""
        found, seen, pending = [], set(), [(prefix, self)]
        while pending:
            name, module = pending.pop()
            if id(module) not in seen:
                seen.add(id(module))
                found.append((name, module))
                pending += reversed([(_dotted(name, child), value) for child, value in vars(module).items()
                                     if isinstance(value, Module)])
        return found

    def named_parameters(self):
        """(dotted name, Parameter), in order of assignment, each once."""
        return self._named(Parameter)

    def named_buffers(self):
        """(dotted name, array): what is saved and not trained."""
        return self._named(np.ndarray)

    def parameters(self):
        """All parameters."""
        return [p for _, p in self.named_parameters()]

    def constrained_parameters(self):
        """(dotted name, Parameter) of those that a method constrains to levels."""
        return [(name, p) for name, p in self.named_parameters() if p.constrained]

    def _named(self, kind):
        found: dict = {}
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, kind):
                    found.setdefault(id(value), (_dotted(prefix, name), value))
        return list(found.values())

    # ---- modes, dtype, randomness ----

    def train(self, mode=True):
        """Switch to training (or, with False, to evaluation); returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self):
        """Switch to evaluation: batch norm uses its running statistics, dropout does nothing."""
        return self.train(False)

    def astype(self, dtype):
        """Convert parameters and floating-point buffers, in place; returns the module."""
        for p in self.parameters():
            p.data, p.grad = p.data.astype(dtype), None
        for _, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                    setattr(module, name, value.astype(dtype))
        return self

    def initialise(self, streams):
        """Draw all initial values; each depends on the seed and its own dotted name, on nothing else."""
        for prefix, module in self.named_modules():
            module.reset(lambda name, prefix=prefix: streams.key("init", _dotted(prefix, name)))
        return self

    def key_step(self, streams, epoch, step):
        """Give every layer that draws random numbers its stream for this step."""
        for name, module in self.named_modules():
            if module.draws:
                module.stream = streams.key(module.draws, name, epoch, step)

    # ---- state ----

    def state_dict(self):
        """{dotted name: copy of the array} of every parameter and buffer."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def load_state_dict(self, state, strict=True, source="the state"):
        """Copy arrays in by name; BadInput lists every difference at once, and nothing is changed then.

        Without `strict`, missing and extra names are returned instead of refused. `source` names the file
        in the message.
        """
        own = self._arrays()
        state = {name: np.asarray(array) for name, array in state.items()}
        absent = [f"missing {name}" for name in own if name not in state]
        absent += [f"extra {name}" for name in state if name not in own]
        wrong = [f"{name} is {_kind(state[name])}, the model's {_kind(array)}" for name, array in own.items()
                 if name in state and _kind(state[name]) != _kind(array)]
        differences = (absent if strict else []) + wrong
        if differences:
            raise BadInput(f"{source} does not fit this {type(self).__name__}: " + "; ".join(differences))
        for name, array in own.items():
            if name in state:
                array[...] = state[name]
        return absent

    def _arrays(self):
        """Parameters and buffers by name: module by module, parameters first, as torch orders them."""
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        order = {name: i for i, (name, _) in enumerate(self.named_modules())}
        names = sorted([*parameters, *buffers], key=lambda name: order[name.rpartition(".")[0]])
        return {name: parameters[name].data if name in parameters else buffers[name] for name in names}

    # ---- display ----

    def describe(self):
        """The layer's sizes, as shown in its repr."""
        return ""

    def __repr__(self):
        """The tree, one module a line."""
        lines = [f"{type(self).__name__}({self.describe()})"]
        for name, value in vars(self).items():
            if isinstance(value, Module):
                lines += [f"  {line}" for line in f"{name}: {value!r}".split("\n")]
        return "\n".join(lines)


@contextmanager
def evaluating(model: Module) -> Iterator[Module]:
    """Switch to evaluation inside, and put each module's own mode back afterwards."""
    modes = [(module, module.training) for _, module in model.named_modules()]
    try:
        yield model.eval()
    finally:
        for module, training in modes:
            module.training = training


def _dotted(prefix, name):
    return f"{prefix}.{name}" if prefix else name


def _kind(array):
    return f"{array.dtype} {array.shape}"
