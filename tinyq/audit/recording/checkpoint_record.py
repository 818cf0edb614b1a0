"""The record of a checkpoint, and whether a checkpoint is the one on record."""
from pathlib import Path

from tinyq.audit.ledger.hash_chain import Line, differing_keys
from tinyq.errors import AuditMismatch
from tinyq.run.checkpoint import Position, load_position, path_of, state_sha256


def checkpoint_record(position: Position, states: dict[str, dict]) -> dict:
    """Return the record of a checkpoint: its place in the run, the SHA-256 of all that the next step depends on."""
    return {"record": "checkpoint", "step": position.steps, "phases_done": position.phase,
            "epochs_done": position.epoch, "batches_done": position.batch,
            "state_sha256": state_sha256(position, states)}


def file_of(folder: str | Path, line: Line) -> Path | None:
    """Return the file of the checkpoint recorded on this line; None where it is gone, or another has its name."""
    path = path_of(Path(folder) / "checkpoints", line.record["step"])
    return path if path.is_file() and load_position(path).ledger_head == line.head else None


def check_state(folder: str | Path, position: Position, states: dict[str, dict], line: Line) -> None:
    """Raise AuditMismatch unless this position and these states are those of the record on this line."""
    path = path_of(Path(folder) / "checkpoints", position.steps)
    differing = [key for key in differing_keys(line.record, checkpoint_record(position, states)) if key != "prev"]
    if differing:
        raise AuditMismatch(f"{path}: is not the checkpoint on record ({', '.join(differing)}); the file was exchanged "
                            "or changed after it was written: put the original back, or start a new run")
