"""Compute the size of each parameter, as float32 and packed."""
from dataclasses import dataclass

import numpy as np

from tinyq.levels import Levels
from tinyq.nn import Module
from tinyq.saved.model_file import shown_state, views

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Size:
    """One parameter or buffer."""

    name: str
    shape: tuple[int, ...]
    trained: bool
    set_name: str | None            # None: stays float
    bits: int
    scales: int                     # float32 numbers stored with the codes

    @property
    def count(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes_float(self) -> int:
        """Bytes as float32."""
        return FLOAT_BYTES * self.count

    @property
    def bytes_packed(self) -> int:
        """Bytes of the codes and their scales; a parameter that stays float keeps its float32 bytes."""
        return (self.bits * self.count + 7) // 8 + FLOAT_BYTES * self.scales


def sizes(model: Module, planned: Levels | None = None) -> list[Size]:
    """Return the size of every parameter and float buffer, in the model's order.

    planned: the levels planned for the constrained weights of a float model, with one scale per layer.
    """
    constrained, parameters = views(model), dict(model.named_parameters())
    found = []
    for name, array in model.state_dict().items():
        if array.dtype.kind != "f":                             # batch norm's counter, which inference does not use
            continue
        if name in constrained:
            view = constrained[name]
            found.append(Size(name, array.shape, True, view.level_set.name, view.level_set.bits, np.size(view.scale)))
        elif planned is not None and name in parameters and parameters[name].constrained:
            found.append(Size(name, array.shape, True, planned.of(name).name, planned.of(name).bits, 1))
        else:
            found.append(Size(name, array.shape, name in parameters, None, 8 * FLOAT_BYTES, 0))
    return found


def on_levels(model: Module) -> float | None:
    """Return the share of constrained weights that are exactly scale * level; None without constrained weights."""
    state, parameters, constrained = shown_state(model), dict(model.named_parameters()), views(model)
    total = sum(state[name].size for name in constrained)
    exact = sum(np.count_nonzero(parameters[name].data == state[name]) for name in constrained)
    return exact / total if total else None
