"""Present the check of a step as text; raise on its faults."""
from pathlib import Path

from tinyq.audit.capture.capture import Captured
from tinyq.audit.step import dump
from tinyq.audit.step.step_check import Checked
from tinyq.audit.step.update_terms import TERMS
from tinyq.errors import AuditMismatch, CannotCreate, InputOutputError
from tinyq.files.own_folder import check_own_folder
from tinyq.output.text_table import table

SHOWN_FAULTS, SHOWN_KINKS = 5, 3
FOLDER = "audit"                        # of a run, for the arrays of steps that failed their check


def as_lines(checked: Checked) -> list[str]:
    """Return counts, kinks, surrogates and faults as lines, and the norms of the update as a table."""
    counts = ", ".join(f"{number} {what}" for what, number in checked.counts.items())
    lines = [f"step {checked.step}: checked {counts}",
             f"  the largest rounding error reached {checked.largest_error:.1%} of its bound"]
    if checked.kinks:
        more = f" and {len(checked.kinks) - SHOWN_KINKS} more" if len(checked.kinks) > SHOWN_KINKS else ""
        lines.append(f"  kinks, where the loss is not differentiable: {'; '.join(checked.kinks[:SHOWN_KINKS])}{more}")
    for name, cosine in checked.surrogates.items():
        agreement = "one of the two is 0" if cosine is None else f"cosine {cosine:.6f} with the true gradient"
        lines.append(f"  {name} gets a surrogate gradient: {agreement}")
    if checked.terms:
        used = [term for term in TERMS if any(term in norms for norms in checked.terms.values())]
        rows = [[name, *(f"{norms[term]:.3g}" if term in norms else "" for term in used)]
                for name, norms in checked.terms.items()]
        lines.extend(table(["norms of the update", *used], rows))
    lines.append(f"  {len(checked.faults)} faults" if checked.faults else "  no fault")
    return lines


def check_record(checked: Checked) -> dict:
    """Return the record of a check for the ledger."""
    return {"record": "check", "step": checked.step, "counts": checked.counts, "faults": checked.faults,
            "surrogates": checked.surrogates, "largest_error": float(checked.largest_error)}


def raise_faults(checked: Checked, run: str | Path, captured: Captured) -> None:
    """Raise AuditMismatch if there are faults, and save all arrays of the step in the run folder."""
    if checked.faults:
        path = Path(run) / FOLDER / f"step-{checked.step:09d}.h5"
        try:
            check_own_folder(run)               # `check` takes the folders of others, which may hold links
            dump.write(path, captured, faults="; ".join(checked.faults))
            saved = f"; the arrays of the step are in {path}"
        except (CannotCreate, InputOutputError) as error:               # the faults are what matters
            saved = f"; the arrays of the step could not be saved: {error}"
        more = f" and {len(checked.faults) - SHOWN_FAULTS} more" if len(checked.faults) > SHOWN_FAULTS else ""
        raise AuditMismatch(f"{run}: step {checked.step}: {'; '.join(checked.faults[:SHOWN_FAULTS])}{more}{saved}")
