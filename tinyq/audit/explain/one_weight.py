"""Name one weight of a network, as in conv2.weight[0,0,0,0]."""
import re
from dataclasses import dataclass

from tinyq.audit.methods.method_audit import Record
from tinyq.errors import AuditMismatch, UsageError, did_you_mean

Index = tuple[int, ...]


@dataclass(frozen=True)
class OneWeight:
    """One entry of a parameter. index: from 0, one number per axis."""

    name: str
    index: Index
    shape: Index

    def __str__(self) -> str:
        return f"{self.name}[{','.join(map(str, self.index))}]"


def weight_of(text: str, phases: list[Record]) -> OneWeight:
    """Read the name of a weight and its index; UsageError names the nearest name, or the shape.

    phases: records of the run's ledger, which hold the shapes of all tensors.
    """
    name, _, rest = text.partition("[")
    shapes = {name: shape for phase in phases for name, shape in phase["tensors"].items()}
    if name not in shapes:
        raise UsageError(f"weight {name}: no such tensor; {did_you_mean(name, shapes)}")
    shape = shapes[name]
    if not isinstance(shape, list) or not all(type(n) is int and n > 0 for n in shape):
        raise AuditMismatch(f"the ledger gives {name} a shape that is none")
    zeros = ",".join("0" * len(shape))
    example = f"{name} has shape {tuple(shape)}; give one index per axis from 0, as in {name}[{zeros}]"
    if not re.fullmatch(r" *\d{1,9}( *, *\d{1,9})* *\]", rest, re.ASCII):
        raise UsageError(f"weight {text}: {example}")
    index = tuple(int(number) for number in rest.rstrip("] ").split(","))
    if len(index) != len(shape) or any(i >= n for i, n in zip(index, shape, strict=True)):
        raise UsageError(f"weight {text}: {example}")
    return OneWeight(name, index, tuple(shape))
