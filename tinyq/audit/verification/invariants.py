"""Rules from record to record of a ledger alone: positions follow each other, and each method's own rules hold."""
from collections.abc import Iterable

from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.methods.method_audit import Rules
from tinyq.audit.methods.method_table import AUDITS, audit_of, is_known, own_audit
from tinyq.audit.verification.chronology import Chronology
from tinyq.audit.verification.ending import Ending
from tinyq.own_code.code_names import PLUGIN

MAX_FAULTS = 100                        # kept; the rest are counted
MALFORMED = (KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError, RecursionError)


class Invariants:
    """Apply the rules to each line of a ledger in turn."""

    def __init__(self) -> None:
        """Start before the first line."""
        self.faults: list[str] = []
        self.count = 0
        self.methods: list[str] = []    # whose rules were applied, by class name
        self.without_rules: dict[str, str] = {}         # why the others have none, by class name
        self._chronology: Chronology | None = None
        self._ending: Ending | None = None
        self._rules: Rules | None = None
        self._begin: dict = {}

    def add(self, line: Line) -> None:
        """Take in the next line; note every rule that it breaks, with its place."""
        try:
            for fault in self._examine(line):
                self._note(line, fault)
        except MALFORMED as error:
            self._note(line, f"cannot be checked ({type(error).__name__}: {error})")

    def finish(self) -> None:
        """Note the faults that only the whole ledger shows."""
        for fault in self._chronology.at_the_end() if self._chronology else ():
            self._add(fault)

    def _examine(self, line):
        if line.kind == "begin":
            self._begin, self._chronology, self._ending = line.record, Chronology(line.record), Ending(line.record)
        if self._chronology is None or self._ending is None:    # the first line was malformed, which is noted
            return
        yield from self._chronology.faults(line)
        yield from self._ending.faults(line)
        if line.kind == "phase":
            yield from self._begin_phase(line.record)
        elif line.kind == "step" and self._rules is not None:
            yield from self._rules.step(line.record)
        elif line.kind == "epoch" and self._rules is not None:
            yield from self._rules.epoch(line.record)

    def _begin_phase(self, record):
        self._rules = None
        name = record["method"]
        if not is_known(name):
            if self._begin["settings"].get(PLUGIN) is None:
                yield f"the method {name} is unknown here, so its rules cannot be applied"
            self.without_rules[name] = "the plug-in of the run has them: --trust"
            return
        self._rules = audit_of(name).rules(self._begin, record)
        if name in AUDITS or own_audit(name):
            self.methods.append(name)
        else:
            self.without_rules[name] = "its class has no audit; the sums of its epochs hold"

    def _note(self, line, fault):
        what = "end of epoch, " if line.kind == "epoch" else "" if line.kind == "step" else f"{line.kind}, "
        self._add(f"line {line.number}, {what}step {line.record.get('step', 0)}: {fault}")

    def _add(self, fault):
        self.count += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


def broken(lines: Iterable[Line]) -> list[str]:
    """Every rule that the records of a ledger break, each with its place; [] where all hold."""
    invariants = Invariants()
    for line in lines:
        invariants.add(line)
    invariants.finish()
    return invariants.faults
