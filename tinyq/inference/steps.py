"""The steps of an evaluation, and the values between them."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:                       # running a packed network needs no Tensors
    from tinyq.autodiff import Tensor

PRODUCT = "product"         # a step of inputs (x, w, scale, shift[, added]) and params: options and relu of Product


@dataclass(frozen=True)
class Value:
    """An array that depends on the network's input. step: number of the step that computes it; -1 is the input."""

    step: int


@dataclass(eq=False)
class Step:
    """One call of a function of arrays. inputs: Values, constant arrays or None.

    tensors: {position: Tensor} of the constant inputs that were Tensors, such as a Parameter or an effective weight.
    """

    name: str
    run: Callable | None                # None for a product until it is prepared
    inputs: tuple
    shape: tuple[int, ...]              # of the output
    params: dict = field(default_factory=dict)
    tensors: "dict[int, Tensor]" = field(default_factory=dict)


def readers_of(steps: Sequence[Step | None], result: Value) -> dict[Value, list[int]]:
    """Return {Value: numbers of the steps that read it}; -1 is the reader of the result."""
    readers = {result: [-1]}
    for i, step in enumerate(steps):
        for a in step.inputs if step else ():
            if type(a) is Value:
                readers.setdefault(a, []).append(i)
    return readers
