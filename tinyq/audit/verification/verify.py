"""Verify a run folder: the chain of its ledger, the rules of its method, and every file the ledger records."""
import json
from pathlib import Path

import numpy as np

from tinyq.audit.ledger.digests import KINDS, digest_of
from tinyq.audit.ledger.hash_chain import FIXED, LEDGER_FILE, Line, check_format, read
from tinyq.audit.verification.invariants import broken
from tinyq.errors import AuditMismatch, BadInput, TinyqError
from tinyq.files import hdf5
from tinyq.files import weights as weight_files
from tinyq.files.read import sha256_of
from tinyq.models import names_code
from tinyq.packed.file import format as packed_format
from tinyq.run import checkpoint
from tinyq.saved.run_folder import CONFIG_FILE, MODEL_FILE, PACKED_FILE, RESULT_FILE

# The fields that a record of each kind must have, and their types.
FIELDS = {
    "begin": {"format": str, "audit": str, "step": int, "environment": dict, "config_sha256": str,
              "settings": dict, "data": dict},
    "phase": {"phase": str, "step": int, "method": str, "tensors": dict, "buffers": dict, "constrained": list,
              "w": str, "w_of": str, "metrics": dict},
    "step": {"step": int, "phase": str, "epoch": int, "batch": int, "lr": list, "ids": str, "x": str, "w": str,
             "w_of": str, "metrics": dict},
    "epoch": {"step": int, "phase": str, "epoch": int, "measured": dict, "w": str, "w_of": str, "metrics": dict},
    "file": {"step": int, "file": str, "sha256": str}, "end": {"step": int, "weights_sha256": str},
    "resume": {"step": int, "repeated": int, "head": str, "environment": dict},
    "exception": {"step": int, "message": str},
    "check": {"step": int, "counts": dict, "faults": list},
}


def open_ledger(run: str | Path) -> list[Line]:
    """Read the ledger of a run and check the kind and fields of every record.

    Raises BadInput where there is no ledger, AuditMismatch where the chain is broken or a record is malformed.
    """
    path = Path(run) / LEDGER_FILE
    if not path.is_file():
        raise BadInput(f"{run}: no {LEDGER_FILE} here; give the folder of a run trained without --audit off")
    lines = read(path)
    check_format(path, lines)
    if lines[0].record.get("audit") not in KINDS:
        raise AuditMismatch(f"{path}: line 1: the digests are of no kind that this version of tinyq knows")
    for number, line in enumerate(lines, 1):
        fields = FIELDS.get(line.kind)
        if fields is None or number > 1 and line.kind == "begin":
            raise AuditMismatch(f"{path}: line {number}: a record of kind {line.kind!r} does not belong here")
        wrong = [name for name, kind in fields.items() if not isinstance(line.record.get(name), kind)]
        if wrong:
            raise AuditMismatch(f"{path}: line {number}: {line.kind} without {', '.join(wrong)}")
    return lines


def verify(run: str | Path, head: str | None = None) -> list[str]:
    """Verify a run folder and return the results, one line each; AuditMismatch names every fault.

    head: an earlier head of the ledger, kept elsewhere; the ledger must contain it.
    """
    run = Path(run)
    lines = open_ledger(run)
    if head is not None and all(line.head != head for line in lines):
        raise AuditMismatch(f"{run / LEDGER_FILE}: contains no line with SHA-256 {head}; it is "
                            "another ledger, or was rewritten")
    steps = sum(line.kind == "step" for line in lines)
    found = [f"chain: {len(lines)} records, {steps} steps, head {lines[-1].head}"]
    faults: list[str] = []
    for what, examine in (("rules", _rules), ("configuration", _config), ("files", _files),
                          ("checkpoints", _checkpoints), ("model", _model), ("packed", _packed), ("result", _result)):
        try:
            result = examine(run, lines)
            found += [f"{what}: {result}"] if result else []
        except AuditMismatch as error:
            faults.append(str(error))
        except (TinyqError, KeyError, ValueError, TypeError, OverflowError, IndexError) as error:
            faults.append(f"{what}: cannot be checked ({type(error).__name__}: {error})")
    if faults:
        raise AuditMismatch(f"{run}: " + "; ".join(faults))
    return found


def _rules(run, lines):
    faults = broken(lines)
    if faults:
        raise AuditMismatch("; ".join(faults[:3]) + (f" and {len(faults) - 3} more" if len(faults) > 3 else ""))
    methods = [line.record["method"] for line in lines if line.kind == "phase"]
    return f"the rules of {', '.join(methods)} hold at every step" if methods else ""


def _config(run, lines):
    _check(_sha256(run / CONFIG_FILE) == lines[0].record["config_sha256"],
             f"{CONFIG_FILE} differs from the one the run began with")
    settings = lines[0].record["settings"]
    if names_code(str(settings.get("model"))):              # the user's own network, which is not run here
        network = Path(str(settings["model"]).rpartition(":")[0]).name
        _check(_sha256(run / network) == settings.get("model_sha256"),
               f"{network} differs from the network that the run began with")
    return "unchanged since the beginning"


def _files(run, lines):
    """Compare every file with its last record; a file from before the last resume may be gone."""
    recorded = {line.record["file"]: line.record["sha256"] for line in lines if line.kind == "file"}
    checkpoints = sorted(name for name in recorded if name.startswith("checkpoints/"))
    resumed = max((i for i, line in enumerate(lines) if line.kind == "resume"), default=0)
    since = {line.record["file"] for line in lines[resumed:] if line.kind == "file"}        # of the last resume
    needed = since - set(checkpoints) | set(checkpoints[-1:])
    for name, sha256 in recorded.items():
        if (run / name).is_file():
            _check(_sha256(run / name) == sha256, f"{name} differs from the file on record")
        else:
            _check(name not in needed, f"{name} is on record, but missing")
    for path in sorted((run / "checkpoints").glob("*.h5")):
        _check(f"checkpoints/{path.name}" in recorded, f"checkpoints/{path.name} is not on record")
    return ", ".join(name for name in recorded if (run / name).is_file())


def _checkpoints(run, lines):
    """Check that each checkpoint names a head of its own step and has the weights recorded there.

    The last record of a file counts.
    """
    count, last = 0, {line.record["file"]: number for number, line in enumerate(lines) if line.kind == "file"}
    for name, number in last.items():
        line = lines[number]
        if name.startswith("checkpoints/") and (run / name).is_file():
            position, states = checkpoint.load(run / name)
            _check(position.ledger_head in _heads_before(lines, number) and position.steps == line.record["step"],
                     f"{name} was not written at the step on record")
            _check(_weights_digest(lines, number, states["model"]) == _last(lines[:number], "w"),
                     f"{name} has other weights than those recorded at step {position.steps}")
            count += 1
    return f"{count} have the weights recorded at their steps"


def _heads_before(lines, number):
    """Return the heads that a file recorded on this line may name: back to the last step, epoch or phase."""
    last = next((i for i in range(number - 1, -1, -1) if lines[i].kind in FIXED), 0)
    return {line.head for line in lines[last:number]}


def _weights_digest(lines, number, state):
    phase = next(line.record for line in reversed(lines[:number]) if line.kind == "phase")
    return digest_of(lines[0].record["audit"], [state[name] for name in (*phase["tensors"], *phase["buffers"])]).root


def _last(lines, field):
    return next(line.record[field] for line in reversed(lines) if field in line.record)


def _model(run, lines):
    """Check that model.h5 names the ledger's end, has the weights recorded there, and has them on their levels."""
    ends = [line for line in lines if line.kind == "end"]
    if not ends:
        return "missing, because the run is not finished"
    attributes = weight_files.read_attributes(run / MODEL_FILE)
    _check(attributes.get("ledger_head") == ends[-1].head, f"{MODEL_FILE} does not name this ledger's end")
    held = weight_files.read(run / MODEL_FILE)              # builds no network: its code would have to be trusted
    _check(attributes["weights_sha256"] == ends[-1].record["weights_sha256"],
             f"{MODEL_FILE} has other weights than those recorded at the end")
    phase = next(line.record for line in reversed(lines) if line.kind == "phase")
    shapes = {name: list(array.shape) for name, array in held.state.items()}
    _check(shapes == {**phase["tensors"], **phase["buffers"]}, f"{MODEL_FILE} has other tensors than the run did")
    _check(set(held.scales) == set(phase["constrained"]), f"{MODEL_FILE} constrains other weights than the run did")
    on_levels = sum(held.state[name].size for name in held.scales)
    return f"names this ledger's end; {on_levels:,} constrained weights equal scale * level bit for bit"


def _result(run, lines):
    if not (run / RESULT_FILE).is_file():
        return ""
    result = json.loads((run / RESULT_FILE).read_text())
    ends = [line.record["weights_sha256"] for line in lines if line.kind == "end"]
    _check(ends and result.get("weights_sha256") == ends[-1], f"{RESULT_FILE} names other weights")
    later = _after(lines, result.get("ledger_head"))
    _check(later is not None and (not later or later[0].kind == "resume"), f"{RESULT_FILE} names another head")
    return "names this ledger's head"


def _packed(run, lines):
    """Check that the packed file names the ledger's end and decodes to the weights of model.h5."""
    if not (run / PACKED_FILE).is_file():
        return ""
    ends, packed = [line for line in lines if line.kind == "end"], packed_format.read(run / PACKED_FILE)
    _check(ends and packed.meta.get("ledger_head") == ends[-1].head,
             f"{PACKED_FILE} does not name this ledger's end")
    with hdf5.Reader(run / MODEL_FILE) as file:
        specs = file.specs()
        names = [name for name, t in packed.tensors.items() if t.levels is not None and f"{name}/weight" in specs]
        weights = file.read({f"{name}/weight": specs[f"{name}/weight"] for name in names}, allow_extra=True)
    other = [name for name in names if not np.array_equal(packed.tensors[name].effective(), weights[f"{name}/weight"])]
    _check(not other, f"{PACKED_FILE} has other weights than {MODEL_FILE}: {', '.join(other)}")
    return f"names this ledger's end; the weights of {len(names)} layers equal those of {MODEL_FILE}"


def _after(lines, head):
    """Return the lines after the one with this SHA-256; None where there is no such line."""
    return next((lines[i + 1:] for i, line in enumerate(lines) if line.head == head), None)


def _check(condition, fault):
    if not condition:
        raise AuditMismatch(fault)


def _sha256(path):
    try:
        return sha256_of(path)
    except OSError as error:
        raise AuditMismatch(f"{path.name}: cannot be read ({error.strerror})") from error
