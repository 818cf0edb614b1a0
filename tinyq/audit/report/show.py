"""The records of a ledger as text: those that the filters leave."""
import json
from dataclasses import dataclass

from tinyq.errors import shown
from tinyq.saved.text_table import table

# Columns of the table, and where each is found in a record: the first of these names that is there.
COLUMNS = {"record": ("record",), "step": ("step",), "phase": ("phase",), "epoch": ("epoch",),
           "objective": ("objective", "train_objective"), "loss": ("loss",), "g": ("g",), "flips": ("flips",),
           "frozen": ("fraction",), "moves": ("moves",), "weights": ("w", "weights_sha256"), "of": ("file", "what")}
SHORT = 12                              # characters of a digest


@dataclass(frozen=True)
class Filter:
    """Which records are wanted; None for any."""

    kind: str | None = None
    phase: str | None = None
    epoch: int | None = None
    first: int | None = None            # steps
    last: int | None = None

    def wants(self, record: dict) -> bool:
        """Whether a record is among them."""
        step = record["step"]
        return all((self.kind in (None, record["record"]), self.phase in (None, record.get("phase")),
                    self.epoch in (None, record.get("epoch")), self.first is None or step >= self.first,
                    self.last is None or step <= self.last))


def as_table(lines) -> str:
    """One row a record, without the columns that none of them fills."""
    rows = [["" if (value := _found(line.record, names)) is None else value for names in COLUMNS.values()]
            for line in lines]
    used = [i for i in range(len(COLUMNS)) if any(row[i] != "" for row in rows)]
    return table(["head", *(list(COLUMNS)[i] for i in used)],
                 [[line.head[:SHORT], *(shown(str(row[i])) for i in used)]
                  for line, row in zip(lines, rows, strict=True)])


def as_json(lines) -> str:
    """The records as they are in the file."""
    return "\n".join(json.dumps(line.record) for line in lines)


def _found(record, names):
    merged = {**record, **record.get("measured", {}), **record.get("figures", {})}
    merged.update({key: record[key] for key in ("w", "g") if key in record and names == ("w", "weights_sha256")})
    return next((_text(merged[name]) for name in names if name in merged), None)


def _text(value):
    if isinstance(value, list):
        return str(len(value))
    if isinstance(value, str) and value.lower().removeprefix("-").startswith("0x"):
        return f"{float.fromhex(value):.6g}"
    return value[:SHORT] if isinstance(value, str) and len(value) in (32, 64) else value
