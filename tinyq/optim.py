"""Optimisers with torch's semantics and defaults: SGD, Adam, AdamW (their schedules: schedules.py).

Everything here is elementwise + - * / sqrt in the parameter's own dtype, which IEEE-754 fixes to the bit;
hyper-parameters are Python floats, so that float32 stays float32. Parameters and buffers change in place.
"""
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tinyq import kernels
from tinyq.autodiff import Tensor
from tinyq.errors import BadInput, UsageError, did_you_mean

Group: TypeAlias = dict[str, Any]        # "params", a list of tensors, and hyper-parameters by name
Memory: TypeAlias = dict[str, Any]       # arrays and floats by name

_NON_NEGATIVE = ("lr", "momentum", "weight_decay", "eps")


def groups_by_decay(parameters: Iterable[Tensor], weight_decay: float) -> list[Group]:
    """Make two groups: weights (two axes or more), which decay, and biases and norm parameters, which do not."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


class Optimizer:
    """Groups of parameters with their hyper-parameters, and the state of each parameter.

    `params` holds tensors, or dicts {"params": tensors, "lr": ...} whose other keys override the
    defaults. The values in `groups` may be changed between steps; a schedule starts from `base_lr`.
    """

    arrays: tuple[str, ...] = ()        # what is remembered of a parameter, in its shape and dtype
    numbers: tuple[str, ...] = ()       # and as a Python float

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], **defaults: Any) -> None:
        """Check and store the hyper-parameters; nothing is allocated before the first step."""
        listed: list[Any] = list(params)
        if not listed:
            raise UsageError(f"{type(self).__name__}: there are no parameters to optimise")
        given = listed if isinstance(listed[0], dict) else [{"params": listed}]
        self.groups = [self._group(group, defaults) for group in given]
        self._memory: dict = {p: {} for p in self._parameters()}
        if len(self._memory) != len(self._parameters()):
            raise UsageError(f"{type(self).__name__}: a parameter is listed twice")

    def step(self, grads: Mapping[Tensor, np.ndarray] | None = None,
             where: Mapping[Tensor, np.ndarray] | None = None) -> None:
        """Update every parameter that has a gradient, in place.

        grads: {tensor: array}, used instead of the tensor's own .grad. where: {tensor: bool array}; where
        it is False the parameter, its momentum and its moments keep their bits.
        """
        grads, where = grads or {}, where or {}
        for group in self.groups:
            for p in group["params"]:
                g = grads.get(p, p.grad)
                if g is not None:
                    assert g.shape == p.shape and g.dtype == p.dtype, (g.shape, p.shape, g.dtype, p.dtype)
                    if p in where:
                        self._update_part(p.data, g, self._memory[p], group, where[p])
                    else:
                        self._update(p.data, g, self._memory[p], group)
                    p.changed()

    def memory_of(self, p: Tensor) -> Memory:
        """Return a parameter's state by name, arrays without a copy and numbers; {} before its first step."""
        return dict(self._memory[p])

    def zero_grad(self) -> None:
        """Forget the gradients, so that the next backward pass starts from none."""
        for p in self._parameters():
            p.grad = None

    def scale_lr(self, factor: float) -> None:
        """Multiply the learning rate of every group, and the one its schedule starts from."""
        for group in self.groups:
            group["lr"] *= factor
            group["base_lr"] *= factor

    def state(self) -> dict[str, Any]:
        """Return what a bit-exact resume needs: {"groups/0/lr": number, "params/0/momentum": array, ...}."""
        state = {f"groups/{i}/{key}": np.array(value) if isinstance(value, tuple) else value
                 for i, group in enumerate(self.groups) for key, value in group.items() if key != "params"}
        for j, p in enumerate(self._parameters()):
            for key, value in self._memory[p].items():
                state[f"params/{j}/{key}"] = value.copy() if key in self.arrays else value
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore a `state`; BadInput lists every difference."""
        self._check_state(state)
        for i, group in enumerate(self.groups):
            for key, value in group.items():
                if key != "params":
                    group[key] = _like(value, state[f"groups/{i}/{key}"])
        for j, p in enumerate(self._parameters()):
            kept = {key: f"params/{j}/{key}" for key in (*self.arrays, *self.numbers) if f"params/{j}/{key}" in state}
            self._memory[p] = {key: np.array(state[name]) if key in self.arrays else float(state[name])
                               for key, name in kept.items()}

    def _update(self, w: np.ndarray, g: np.ndarray, memory: Memory, group: Group) -> None:
        """Update the array w and its state arrays in place, given its gradient g."""
        raise NotImplementedError

    def _update_part(self, w: np.ndarray, g: np.ndarray, memory: Memory, group: Group, mask: np.ndarray) -> None:
        """Update only the entries under the mask: gather them, update, write them back."""
        assert w.flags.c_contiguous and mask.shape == w.shape and mask.dtype == bool
        index = np.flatnonzero(mask)
        part = {key: value.take(index) if key in self.arrays else value for key, value in memory.items()}
        chosen = w.take(index)
        self._update(chosen, g.take(index), part, group)
        w.reshape(-1)[index] = chosen
        for key, value in part.items():
            if key in self.numbers:
                memory[key] = value
                continue
            if key not in memory:
                memory[key] = np.zeros_like(w)
            memory[key].reshape(-1)[index] = value

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.groups for p in group["params"]]

    def _group(self, given: Group, defaults: Group) -> Group:
        for key in given:
            if key not in ("params", *defaults):
                raise UsageError(f"{type(self).__name__}: no hyper-parameter {key!r}; {did_you_mean(key, defaults)}")
        group = {key: _like(value, given.get(key, value)) for key, value in defaults.items()}
        for key in _NON_NEGATIVE:
            if not 0 <= group.get(key, 0) < math.inf:
                raise UsageError(f"{type(self).__name__}: {key} is {group[key]}; it must be a number from 0 up")
        if not all(0 <= beta < 1 for beta in group.get("betas", ())):
            raise UsageError(f"{type(self).__name__}: betas are {group['betas']}; each must be in [0, 1)")
        return {"params": list(given["params"]), **group, "base_lr": group["lr"]}

    def _check_state(self, state: Mapping[str, Any]) -> None:
        expected, problems = set(), []
        for i, group in enumerate(self.groups):
            names = {f"groups/{i}/{key}" for key in group if key != "params"}
            expected |= names
            problems += [f"missing {name}" for name in sorted(names - state.keys())]
        for j, p in enumerate(self._parameters()):
            names = {f"params/{j}/{key}" for key in (*self.arrays, *self.numbers)}
            expected |= names
            if names & state.keys():            # a parameter that never had a gradient has no memory
                problems += [f"missing {name}" for name in sorted(names - state.keys())]
            for name in (f"params/{j}/{key}" for key in self.arrays if f"params/{j}/{key}" in state):
                value = np.asarray(state[name])
                if (value.shape, value.dtype) != (p.shape, p.dtype):
                    problems.append(f"{name} is {value.dtype}{value.shape}, the parameter {p.dtype}{p.shape}")
        problems += [f"unexpected {name}" for name in sorted(state.keys() - expected)]
        if problems:
            raise BadInput(f"the state does not fit this {type(self).__name__}: " + "; ".join(problems))


class SGD(Optimizer):
    """Stochastic gradient descent: b <- momentum b + (1 - dampening) g, then w <- w - lr b.

    The first step takes b = g. With Nesterov's momentum the step is g + momentum b.
    """

    arrays = ("momentum",)

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        """Set torch's hyper-parameters and defaults; weight_decay adds weight_decay * w to the gradient."""
        super().__init__(params, lr=float(lr), momentum=float(momentum), dampening=float(dampening),
                         weight_decay=float(weight_decay), nesterov=bool(nesterov))
        for group in self.groups:
            if group["nesterov"] and (not group["momentum"] or group["dampening"]):
                raise UsageError("SGD: nesterov needs a momentum above 0 and no dampening")

    def _update(self, w: np.ndarray, g: np.ndarray, memory: Memory, group: Group) -> None:
        share, factor = 1 - group["dampening"], group["momentum"]
        if factor and "momentum" not in memory:
            memory["momentum"], share = np.zeros(w.shape, w.dtype), 1.0
        kernels.sgd(w, g, memory.get("momentum") if factor else None, group["lr"], share, group["weight_decay"],
                    group["nesterov"], factor)


class Adam(Optimizer):
    """Kingma and Ba's Adam: w <- w - lr * mean / (sqrt(square) + eps), both moments corrected for bias.

    The corrections 1 - beta**t come from a running product per parameter, because a power has different bits
    on different machines.
    """

    arrays = ("mean", "square")
    numbers = ("beta1_power", "beta2_power")
    decoupled = False

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        """Set torch's hyper-parameters and defaults; weight_decay adds weight_decay * w to the gradient."""
        super().__init__(params, lr=float(lr), betas=tuple(map(float, betas)), eps=float(eps),
                         weight_decay=float(weight_decay))

    def _update(self, w: np.ndarray, g: np.ndarray, memory: Memory, group: Group) -> None:
        if not memory:
            memory.update(mean=np.zeros_like(w), square=np.zeros_like(w), beta1_power=1.0, beta2_power=1.0)
        (beta1, beta2), lr = group["betas"], float(group["lr"])
        memory["beta1_power"] *= beta1
        memory["beta2_power"] *= beta2
        decay = group["weight_decay"]
        kernels.adam(w, g, memory["mean"], memory["square"], beta1, beta2,
                     0.0 if self.decoupled else decay, 1 - lr * decay if self.decoupled else 1.0,
                     math.sqrt(1 - memory["beta2_power"]), group["eps"], lr / (1 - memory["beta1_power"]))


class AdamW(Adam):
    """Loshchilov and Hutter's AdamW: the decay shrinks the weight itself and stays out of the moments."""

    decoupled = True

    def __init__(self, params: Iterable[Tensor] | Iterable[Group], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2) -> None:
        """Set torch's hyper-parameters and defaults."""
        super().__init__(params, lr, betas, eps, weight_decay)


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def _like(example, value):
    """`value` as the Python type of `example`: float, bool or a tuple of floats."""
    return tuple(map(float, value)) if isinstance(example, tuple) else type(example)(value)
