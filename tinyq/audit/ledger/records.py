"""The kinds of records, the fields of each, and which of them an audit compares with something else.

Every field here is recomputed by `verify` or `replay`, or listed in UNAUDITED.
"""
import math
from collections.abc import Iterator
from pathlib import Path

from tinyq.audit.ledger.digests import KINDS
from tinyq.audit.ledger.hash_chain import Line, chain, check_format
from tinyq.errors import AuditMismatch, BadInput
from tinyq.files.journal import LEDGER_FILE
from tinyq.inputs.targets import CLASSES
from tinyq.run.checkpoint import path_of
from tinyq.saved.run_folder import no_run
from tinyq.tasks.task import Task, task_of

# kind -> {field: type}; fields of OPTIONAL may be missing.
FIELDS: dict[str, dict[str, type]] = {
    "begin": {"format": str, "audit": str, "environment": dict, "config_sha256": str, "settings": dict, "data": dict,
              "print_freq": int, "weights_file": str},
    "phase": {"step": int, "phase": str, "epoch": int, "method": str, "optimizer": str, "tensors": dict,
              "buffers": dict, "constrained": list, "w": str, "w_of": str, "metrics": dict},
    "step": {"step": int, "phase": str, "epoch": int, "batch": int, "lr": list, "skipped": int, "ids": str, "x": str,
             "ops": str, "ops_of": str, "vjps": str, "vjps_of": str, "g": str, "g_of": str, "w": str, "w_of": str,
             "metrics": dict},
    "epoch": {"step": int, "phase": str, "epoch": int, "measured": dict, "w": str, "w_of": str, "metrics": dict},
    "float": {"step": int, "weights_sha256": str, "figures": dict},
    "checkpoint": {"step": int, "phases_done": int, "epochs_done": int, "batches_done": int, "state_sha256": str},
    "resume": {"step": int, "repeated": int, "head": str, "environment": dict, "print_freq": int},
    "extension": {"step": int, "epochs": int},
    "check": {"step": int, "counts": dict, "faults": list, "surrogates": dict, "largest_error": float},
    "exception": {"step": int, "message": str},
    "end": {"step": int, "weights_sha256": str},
    "file": {"step": int, "file": str, "sha256": str},
    "result": {"step": int, "figures": dict},
}
GRADIENT_FIELDS = ("ops", "ops_of", "vjps", "vjps_of", "g", "g_of")
OPTIONAL = {"step": ("skipped", *GRADIENT_FIELDS), "float": ("figures",), "begin": ("weights_file",)}
UNAUDITED_FIGURES = {"seconds", "ledger_head"}          # of result.json: a time, and a head that is compared itself
# Compared with nothing: an auditor has only the word of the run's owner.
UNAUDITED = {
    "environment": "machine and versions of begin and resume (a replay here gives the same bits or it does not)",
    "seconds": "durations, in result.json, metrics.jsonl and checkpoints",
    "bookkeeping": "`records` and `skipped` of checkpoints, which no replay uses; names for viewers in model.h5",
    "deleted checkpoints": "which checkpoints there were and the SHA-256 of their files, once these are gone",
    "--weights": "the name of the file that a run started from; its SHA-256 is on record",
    "files of no sample": "`passed_over` in the data's facts, the files of the folder that no part of the data uses",
    "interruptions": "how often a run was killed: `repeated` and `head` of resume, the message of exception",
    "settings without effect on any bit": "in config.toml the comments, threads, workers, print_freq, "
                                          "tensorboard, checkpoint_minutes, max_steps, data_path, output and recipe",
}


def records_of(run: str | Path, after: Line | None = None) -> Iterator[Line]:
    """Yield the lines of a run's ledger one at a time, each record with the fields of its kind.

    after: a line of this ledger to continue after. Raises BadInput where there is no ledger, AuditMismatch where the
    chain is broken or a record is malformed.
    """
    path = Path(run) / LEDGER_FILE
    if not Path(run).exists():
        raise BadInput(f"{run}: no such folder; give the folder of a run, such as one in runs/")
    if not path.is_file():
        raise no_run(run, f"no {LEDGER_FILE} here; give the folder of a run trained without --audit off")
    line = None
    for line in chain(path, after):
        if line.number == 1:
            check_format(path, line)
        if line.number == 1 and str(line.record.get("audit")) not in KINDS:
            raise AuditMismatch(f"{path}: line 1: the digests are of no kind that this version of tinyq knows")
        if fault := _malformed(line):
            raise AuditMismatch(f"{path}: line {line.number}: {fault}")
        yield line
    if line is None and after is None:
        check_format(path, None)


def checkpoint_file(steps: int) -> str:
    """Return the name in a ledger of the file of a checkpoint."""
    return path_of("checkpoints", steps).as_posix()


def task_of_record(begin: dict) -> Task:
    """Return the task of a run, from its loss and the targets of its data; classification for a foreign record."""
    return task_of(str(begin["settings"].get("loss")), str(begin["data"].get("targets", CLASSES)))


def number_of(value: object) -> object:
    """Return the number that a ledger writes as hexadecimal text, None for one that is not finite."""
    if not isinstance(value, str):
        return value
    try:
        number = float.fromhex(value)
    except (ValueError, OverflowError):
        return value
    return number if math.isfinite(number) else None


def _malformed(line: Line) -> str:
    """Return what is wrong with the fields of a record, or ""."""
    record, fields = line.record, FIELDS.get(line.kind)
    if fields is None or (line.number > 1) == (line.kind == "begin"):
        return f"a record of kind {line.kind!r} does not belong here"
    optional = OPTIONAL.get(line.kind, ())
    wrong = [name for name, kind in fields.items()
             if (name in record or name not in optional) and type(record.get(name)) is not kind]
    if wrong:
        return f"{line.kind} without {', '.join(wrong)}"
    unknown = record.keys() - fields.keys() - {"prev", "record"}
    return f"{line.kind} has the unknown field {min(unknown)}" if unknown else ""
