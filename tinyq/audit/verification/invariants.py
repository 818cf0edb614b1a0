"""Rules from record to record of a ledger alone: steps follow each other, and each method's own rules hold."""
from tinyq.audit.methods.method_audit import Rules
from tinyq.audit.methods.method_table import audit_of


def broken(lines) -> list[str]:
    """Every rule that the records of a ledger break, each with its place; [] where all hold."""
    found: list[str] = []
    rules: Rules | None = None
    begin = lines[0].record
    next_step = begin["step"] + 1
    for number, line in enumerate(lines, 1):
        record, faults = line.record, list[str]()
        if line.kind == "phase":
            rules = audit_of(record["method"]).rules(begin, record)
            rules.whole = record["step"] == next_step - 1 and begin["step"] == 0
        elif line.kind in ("step", "epoch") and rules is None:
            faults = ["comes before any phase"]
        elif line.kind == "step" and rules is not None:
            faults = list(rules.step(record))
            if record["step"] != next_step:
                faults.append(f"follows step {next_step - 1}")
            next_step = record["step"] + 1
        elif line.kind == "epoch" and rules is not None:
            faults = list(rules.epoch(record))
        found += [f"line {number}, {'end of epoch, ' if line.kind == 'epoch' else ''}step {record['step']}: {what}"
                  for what in faults]
    return found
