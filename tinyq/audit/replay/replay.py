"""Repeat recorded steps on the real data and compare every digest; name the first difference."""
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tinyq.audit.ledger.hash_chain import FIXED, Line
from tinyq.audit.ledger.history import Checkpoint
from tinyq.audit.ledger.records import records_of
from tinyq.audit.replay.comparison import Comparison, Examiner
from tinyq.audit.replay.rerun import Source, rerun
from tinyq.errors import AuditMismatch, UsageError
from tinyq.output.counting import counted
from tinyq.output.work import Work


@dataclass(frozen=True)
class Replayed:
    """The result of a replay without a difference: numbers of what was compared, all of which agreed."""

    wanted: int                         # steps asked for
    compared: int                       # steps, including those on the way
    records: int                        # records of phases, epochs and float networks
    checkpoints: int                    # whose whole state was compared
    checks: int                         # in float64, made again

    def __add__(self, other: "Replayed") -> "Replayed":
        """Sum two stretches."""
        return Replayed(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def summary(self) -> str:
        """Numbers of all that was compared, in words."""
        return (f"{counted(self.compared, 'step')}, {counted(self.records, 'record')} of phases and epochs, "
                f"{counted(self.checkpoints, 'checkpoint')}, {counted(self.checks, 'check')}")


NOTHING = Replayed(0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Stretch:
    """Records to repeat: from a start to the last step, and to the end of the ledger if `whole`."""

    start: Checkpoint | None
    wanted: tuple[int, ...]             # steps, ascending
    last: int
    whole: bool                         # also compare what follows the last step: its epoch, its checkpoints


def replay(source: Source, steps: Iterable[int], examine: Examiner | None = None,
           from_the_first: bool = False) -> Replayed:
    """Repeat these steps from the nearest checkpoints and compare all records on the way.

    examine: called with each of these steps, captured, before it is compared. from_the_first: start at the first step
    instead, and skip none. Raises AuditMismatch for the first difference, naming the tensor and the primitive, or
    where not every step could be compared.
    """
    wanted = sorted(set(steps))
    check_recorded(source, wanted)
    done, stretches = NOTHING, _stretches([None] if from_the_first else source.starts, wanted, source.history.steps)
    with Work("replay", sum(one.last - (one.start.step if one.start else 0) for one in stretches)) as work:
        for stretch in stretches:
            done += replay_stretch(source, stretch, examine, work.advance)
    return done


def replay_stretch(source: Source, stretch: Stretch, examine: Examiner | None = None,
                   on_step: Callable[[], None] = lambda: None) -> Replayed:
    """Repeat one stretch; AuditMismatch for a difference, or where not all of it could be compared.

    on_step: called after each step.
    """
    first = stretch.start.step if stretch.start else 0
    expected = expected_records(source, stretch)
    comparison = Comparison(source.history.begin.record["audit"], expected, set(stretch.wanted), examine, on_step)
    if not comparison.is_done:
        rerun(source, stretch.start, comparison)
    if comparison.steps != stretch.last - first:
        raise AuditMismatch(f"{source.folder}: only {comparison.steps} of the {stretch.last - first} steps after step "
                            f"{first} were compared")
    return Replayed(len(stretch.wanted), comparison.steps, comparison.others, comparison.checkpoints, comparison.checks)


def stretches_of_all(source: Source) -> list[Stretch]:
    """Cut the whole run at its checkpoints; each stretch but the last ends by comparing the state of the next start.

    Together the stretches compare every record that depends on the configuration and the data.
    """
    starts, last = source.starts, source.history.steps
    ends = [*(start.step for start in starts[1:] if start is not None), last]
    return [Stretch(start, tuple(range((start.step if start else 0) + 1, end + 1)), end, True)
            for start, end in zip(starts, ends, strict=True)]


def random_steps(source: Source, count: int) -> list[int]:
    """Draw `count` different steps of the ledger from the system's randomness, so that nobody can predict them."""
    last = source.history.steps
    return sorted(secrets.SystemRandom().sample(range(1, last + 1), min(count, last)))


def check_recorded(source: Source, steps: list[int]) -> None:
    """Raise UsageError unless every step is on record."""
    last = source.history.steps
    unknown = [step for step in steps if not 1 <= step <= last]
    if unknown or not steps:
        what = f"step {unknown[0]} is not on record" if unknown else "no step is named"
        raise UsageError(f"{what}; " + (f"the ledger has steps 1 to {last}" if last else "it has none"))


def _stretches(starts: list[Checkpoint | None], steps: list[int], last: int) -> list[Stretch]:
    """Group steps by the nearest start before them; last: the last step on record."""
    found: dict[int, list[int]] = {}
    for step in steps:
        nearest = max(i for i, start in enumerate(starts) if (start.step if start else 0) < step)
        found.setdefault(nearest, []).append(step)
    return [Stretch(starts[i], tuple(wanted), wanted[-1], wanted[-1] == last) for i, wanted in found.items()]


def expected_records(source: Source, stretch: Stretch) -> Iterator[dict]:
    """Yield the records of a stretch: up to its last step, or to the next start's checkpoint."""
    history = source.history
    steps, ended = stretch.start.step if stretch.start else 0, False
    for line in records_of(source.folder, history.first_line_after(stretch.start)):
        if ended and _is_behind(line, stretch):
            return
        yield line.record
        steps = line.record["step"] if line.kind == "step" else steps
        ended = steps == stretch.last


def _is_behind(line: Line, stretch: Stretch) -> bool:
    """Return True for a line after the last step that this stretch does not repeat."""
    return line.kind in ("step", "check") or not stretch.whole and line.kind in FIXED
