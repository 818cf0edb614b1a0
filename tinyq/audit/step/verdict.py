"""What a check of a step found, for people: its counts, its surrogates, the norms of the update's parts, its faults."""
from pathlib import Path

from tinyq.audit.step import dump
from tinyq.errors import AuditMismatch, CannotCreate, InputOutputError
from tinyq.saved.text_table import table

PARTS = ("true", "surrogate", "constraint", "clip", "decay", "momentum", "step", "projection")
SHOWN_FAULTS, SHOWN_KINKS = 5, 3
BUNDLES = "audit"                       # folder of what is needed to look at a step that failed its check


def as_text(checked) -> str:
    """Lines and a table."""
    counts = ", ".join(f"{number} {what}" for what, number in checked.counts.items())
    lines = [f"step {checked.step}: examined {counts}",
             f"  the largest rounding error took {checked.closest:.1%} of its bound"]
    if checked.kinks:
        more = f" and {len(checked.kinks) - SHOWN_KINKS} more" if len(checked.kinks) > SHOWN_KINKS else ""
        lines.append(f"  kinks, where the loss has no derivative: {'; '.join(checked.kinks[:SHOWN_KINKS])}{more}")
    for name, cosine in checked.surrogates.items():
        agreement = "one of them is 0" if cosine is None else f"cosine {cosine:.6f} with the true gradient"
        lines.append(f"  {name} gets a surrogate gradient: {agreement}")
    if checked.parts:
        used = [part for part in PARTS if any(part in norms for norms in checked.parts.values())]
        rows = [[name, *(f"{norms[part]:.3g}" if part in norms else "" for part in used)]
                for name, norms in checked.parts.items()]
        lines.append(table(["norms of the update", *used], rows))
    lines.append(f"  {len(checked.faults)} faults" if checked.faults else "  nothing is wrong")
    return "\n".join(lines)


def refuse_faults(checked, run, captured) -> None:
    """AuditMismatch, naming them, if there are faults; the Captured step is left as a bundle in the run folder."""
    if checked.faults:
        path = Path(run) / BUNDLES / f"step-{checked.step:09d}.h5"
        try:
            dump.write(path, captured, faults="; ".join(checked.faults))
            bundle = f"; all of the step is in {path}"
        except (CannotCreate, InputOutputError) as error:               # the faults are what matters
            bundle = f"; the step could not be kept: {error}"
        more = f" and {len(checked.faults) - SHOWN_FAULTS} more" if len(checked.faults) > SHOWN_FAULTS else ""
        raise AuditMismatch(f"{run}: step {checked.step}: {'; '.join(checked.faults[:SHOWN_FAULTS])}{more}{bundle}")
