"""Faults of a run folder, as its examinations raise them where something does not hold."""
from pathlib import Path

from tinyq.audit.ledger.hash_chain import differing_keys
from tinyq.audit.verification.evidence import Evidence
from tinyq.errors import AuditMismatch
from tinyq.files.read import sha256_of
from tinyq.run.settings.config import Config
from tinyq.saved import model_file
from tinyq.saved.attributes import shape_of
from tinyq.saved.run_folder import CONFIG_FILE


def check(condition: bool, fault: str) -> None:
    """Raise AuditMismatch with this fault unless the condition holds."""
    if not condition:
        raise AuditMismatch(fault)


def sha256_on_disk(path: Path) -> str:
    """Return the SHA-256 of a file; AuditMismatch where it cannot be read."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise AuditMismatch(f"{path.name}: cannot be read ({error.strerror})") from error


def check_description(evidence: Evidence, name: str, attributes: dict, config: Config, whole: bool = False) -> None:
    """Check the attributes that follow from the configuration and the data on record; whole: there are no others."""
    data = evidence.history.begin.record["data"]
    described = model_file.description(config, shape_of(attributes), data["class_names"], data)
    differing = [key for key in differing_keys(described, attributes) if whole or key in described]
    check(not differing, f"{name} says another {', '.join(differing)} than the ledger and {CONFIG_FILE}")
