"""Filter the records of a ledger and tabulate them."""
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from tinyq.audit.ledger.hash_chain import Line
from tinyq.errors import AuditMismatch
from tinyq.output.text_table import table

# Columns of the table, and the fields that fill each: the first one that the record has.
COLUMNS = {"record": ("record",), "step": ("step",), "phase": ("phase",), "epoch": ("epoch",),
           "objective": ("objective", "train_objective"), "loss": ("loss",), "g": ("g",), "flips": ("flips",),
           "frozen": ("fraction",), "moves": ("moves",), "weights": ("w", "weights_sha256"), "of": ("file", "message")}
SHORT = 12                              # characters of a digest


@dataclass(frozen=True)
class Filter:
    """The records to keep; None matches any."""

    kind: str | None = None
    phase: str | None = None
    epoch: int | None = None
    first: int | None = None            # step, inclusive
    last: int | None = None             # step, inclusive

    def wants(self, record: dict) -> bool:
        """Return whether to keep a record."""
        step = record.get("step", 0)
        return all((self.kind in (None, record["record"]), self.phase in (None, record.get("phase")),
                    self.epoch in (None, record.get("epoch")), self.first is None or step >= self.first,
                    self.last is None or step <= self.last))


    def __str__(self) -> str:
        """Name what is asked for, such as "kind step, phase cbp"."""
        asked = {"kind": self.kind, "phase": self.phase, "epoch": self.epoch, "steps from": self.first,
                 "steps up to": self.last}
        return ", ".join(f"{name} {value}" for name, value in asked.items() if value is not None)


def find(lines: Iterator[Line], wanted: Filter) -> tuple[list[Line], AuditMismatch | None]:
    """Return the lines with the wanted records, up to a break of the chain, and the break."""
    found: list[Line] = []
    try:
        found.extend(line for line in lines if wanted.wants(line.record))
    except AuditMismatch as error:
        return found, error
    return found, None


def as_table(lines: list[Line]) -> list[str]:
    """Return one row per record, without empty columns."""
    rows = [["" if (value := _found(line.record, names)) is None else value for names in COLUMNS.values()]
            for line in lines]
    used = [i for i in range(len(COLUMNS)) if any(row[i] != "" for row in rows)]
    return table(["head", *(list(COLUMNS)[i] for i in used)],
                 [[line.head[:SHORT], *(str(row[i]) for i in used)]
                  for line, row in zip(lines, rows, strict=True)])


def _found(record, names):
    merged = {**record, **record.get("measured", {}), **record.get("metrics", {})}
    merged.update({key: record[key] for key in ("w", "g") if key in record and names == ("w", "weights_sha256")})
    return next((_text(merged[name]) for name in names if name in merged), None)


def _text(value):
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, str) and value.lower().removeprefix("-").startswith("0x"):
        with suppress(ValueError, OverflowError):           # a foreign ledger may hold anything
            return f"{float.fromhex(value):.6g}"
    return value[:SHORT] if isinstance(value, str) and len(value) in (32, 64) else value
