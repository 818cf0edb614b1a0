"""Verify a run folder: the chain of its ledger, the rules of its method, and every file and figure it holds."""
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tinyq import kernels
from tinyq.audit.ledger.hash_chain import Line
from tinyq.audit.ledger.history import History, read_history
from tinyq.audit.ledger.records import UNAUDITED, records_of
from tinyq.audit.verification.evidence import Evidence
from tinyq.audit.verification.invariants import MALFORMED, Invariants
from tinyq.audit.verification.metrics import MetricsComparison
from tinyq.audit.verification.run_files import EXAMINATIONS
from tinyq.errors import AuditMismatch, BadInput, TinyqError, UnknownName
from tinyq.files.journal import LEDGER_FILE
from tinyq.output.counting import counted
from tinyq.own_code import RunCode
from tinyq.run.result import EARLY_STOPPING
from tinyq.run.settings import plugins
from tinyq.run.settings.toml_file import read_flat
from tinyq.saved.run_folder import CONFIG_FILE

MAX_SHOWN = 3                           # faults of one kind in a message


def verify(run: str | Path, head: str | None = None, trust: bool = False) -> list[str]:
    """Verify a run folder and return the results, one line each; AuditMismatch names every fault.

    head: an earlier head of the ledger, kept elsewhere; the ledger must contain it. trust: run the copy of the user's
    own network in the folder, to derive the finished network with it.
    """
    run = Path(run)
    trust = _run_plugins(run, trust)
    invariants, metrics, since = Invariants(), MetricsComparison(run), _SinceHead(head)

    def examine_line(line: Line) -> None:
        for observer in (invariants, metrics, since):
            observer.add(line)

    history = read_history(run, examine_line)
    invariants.finish()
    metrics.finish(history.end is not None)
    evidence = Evidence(history, trust)
    _check_names_known(evidence)
    examinations: dict[str, Callable[[], str]] = {
        "head": lambda: since.told(run), "rules": lambda: _rules(invariants),
        "checks while training": lambda: _checks(history), "metrics": lambda: _metrics(metrics),
        **{what: partial(examine, evidence) for what, examine in EXAMINATIONS.items()}}
    with kernels.without_numba():
        found, faults = _results(examinations)
    if faults:
        raise AuditMismatch(f"{run}: " + "; ".join(faults))
    return [f"chain: {counted(history.last.number, 'record')}, {counted(history.steps, 'step')}, head "
            f"{history.last.head}", *found, *_notes(history, evidence),
            f"not audited, the owner's word: {', '.join(UNAUDITED)}"]


def _run_plugins(run: Path, trust: bool) -> bool:
    """Make the rules of the run's plug-ins known, if they are trusted; return False where their copies cannot run.

    An examination then says what is wrong with the copies.
    """
    plugins.activate(())
    recorded = next(records_of(run)).record["settings"].get("code")
    try:
        plugins.activate(RunCode.trusted(run, read_flat(run / CONFIG_FILE), True, recorded).plugins if trust else ())
    except (TinyqError, OSError):
        return False
    return trust


def _check_names_known(evidence: Evidence) -> None:
    """Raise BadInput where a config.toml, which is the recorded one, names what is not known here."""
    try:
        evidence.config             # noqa: B018    the examination of the configuration says what else is wrong
    except UnknownName as error:
        if evidence.is_as_recorded:
            raise BadInput(f"{error}; what it names is no part of this tinyq, and no plug-in of the run has it, so the "
                           "run cannot be verified here") from error
    except (TinyqError, OSError, *MALFORMED):
        pass


def _results(examinations: dict[str, Callable[[], str]]) -> tuple[list[str], list[str]]:
    """Run each examination; return (results, faults)."""
    found, faults = [], []
    for what, examine in examinations.items():
        try:
            result = examine()
            found += [f"{what}: {result}"] if result else []
        except AuditMismatch as error:
            faults.append(str(error))
        except (TinyqError, OSError, *MALFORMED) as error:
            faults.append(f"{what}: cannot be checked ({type(error).__name__}: {error})")
    return found, faults


class _SinceHead:
    """Count the records after a head that was kept elsewhere."""

    def __init__(self, head: str | None):
        self.head, self.found, self.since = head, False, Counter[str]()

    def add(self, line: Line) -> None:
        if self.found:
            self.since[line.kind] += 1
        self.found |= line.head == self.head

    def told(self, run: Path) -> str:
        if self.head is None:
            return ""
        if not self.found:
            raise AuditMismatch(f"{run / LEDGER_FILE}: contains no line with SHA-256 {self.head}; it is another "
                                "ledger, or was rewritten")
        kinds = ", ".join(f"{number} {kind}" for kind, number in self.since.items())
        after = f"{counted(self.since.total(), 'record')} came" if kinds else "no record came"
        return f"{self.head[:12]} is on record; {after} after it{kinds and f': {kinds}'}"


def _rules(invariants: Invariants) -> str:
    if invariants.faults:
        more = f" and {invariants.count - MAX_SHOWN} more" if invariants.count > MAX_SHOWN else ""
        raise AuditMismatch("; ".join(invariants.faults[:MAX_SHOWN]) + more)
    held = [f"the rules of {', '.join(invariants.methods)} hold at every step"] if invariants.methods else []
    return "; ".join(held + [f"no rules known for {name}: {why}" for name, why in invariants.without_rules.items()])


def _checks(history: History) -> str:
    """A check on record that found a fault is a fault of the run."""
    if history.failed_checks:
        first = history.failed_checks[0]
        raise AuditMismatch(f"{len(history.failed_checks)} checks during training found faults; the first, at "
                            f"step {first['step']}: {first['faults'][0]}")
    count = history.counts["check"]
    return f"{count} on record, none found a fault; replay repeats them" if count else ""


def _metrics(metrics: MetricsComparison) -> str:
    if metrics.faults:
        raise AuditMismatch("; ".join(metrics.faults))
    return f"{counted(metrics.compared, 'record')} of metrics.jsonl agree with the ledger"


def _notes(history: History, evidence: Evidence) -> list[str]:
    """Return remarks on the run that break no rule."""
    planned, done = evidence.config.pretrain_epochs + evidence.config.epochs, len(history.epochs)
    notes = [f"exception: step {record['step']}: {record['message']}" for record in history.exceptions]
    if history.resumes:
        steps = ", ".join(str(record["step"]) for record in history.resumes[:20])
        notes.append(f"resumed {counted(len(history.resumes), 'time')}, at step {steps}: replay --all compares the "
                     "checkpoint there")
    notes += [f"extended at step {record['step']} to {record['epochs']} epochs of {evidence.config.method}"
              for record in history.extensions]
    if history.superseded_ends:
        notes.append(f"{counted(history.superseded_ends, 'earlier end')} on record; only the last end is derived")
    if history.result and history.result.record["figures"].get("ended_by") == EARLY_STOPPING:
        notes.append(f"ended by early stopping after {done} of {counted(planned, 'epoch')}: "
                     f"{counted(evidence.config.early_stopping, 'epoch')} without a better validation figure")
    elif done < planned:
        notes.append(f"{done} of the {planned} configured epochs are on record")
    return notes
