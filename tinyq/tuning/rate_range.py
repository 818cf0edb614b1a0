"""The learning-rate range test: a few steps at growing rates, from which a rate is suggested; nothing is kept.

The test is that of L. N. Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3, with the
exponential growth, the smoothing and the end of S. Gugger, "How Do You Find A Good Learning Rate" (2018). The
suggestion is Gugger's: a tenth of the rate at which the smoothed loss is lowest, where it still falls well.
"""
import dataclasses
import math
from dataclasses import dataclass

from tinyq.errors import Diverged, UsageError
from tinyq.optim import Optimizer
from tinyq.output.work import Work
from tinyq.run.build import Job, build
from tinyq.run.checkpoint import Position
from tinyq.run.loop import Loop
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import FLOAT_PHASE, Phase
from tinyq.run.settings.config import Config
from tinyq.schedules import EarlyStopping, Schedule

FIRST, LAST, STEPS = 1e-7, 10.0, 100    # rates, and steps between them
SMOOTHING = 0.9                         # share of the average before in the next one
DIVERGED = 3.0                          # times the size of the lowest smoothed loss above it: the end of the test
LEAST_FALL = 0.02                       # share of the size of the first smoothed loss by which it must fall
ROWS, BAR = 25, 40                      # of the printed curve: lines, columns of the longest bar


@dataclass(frozen=True)
class RangeTest:
    """The result of a test.

    flag: that sets the rate. points: (rate, loss, smoothed loss) of each step. diverged: whether the loss grew out of
    bounds before the last rate.
    """

    phase: str
    flag: str
    points: list[tuple[float, float, float]]
    diverged: bool

    @property
    def lowest(self) -> tuple[float, float, float] | None:
        """The point with the lowest smoothed loss; None where no rate lowered it."""
        if not self.points:
            return None
        lowest, first = min(self.points, key=lambda point: point[2]), self.points[0][2]
        return lowest if first - lowest[2] > LEAST_FALL * abs(first) else None

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return self.lowest[0] / 10 if self.lowest else None


@dataclass
class Growth(Schedule):
    """A rate that grows by the same factor at each step, whatever the base."""

    step: int = 0

    def apply(self, optimizer: Optimizer, epoch: float) -> None:
        """Set the rate of this step."""
        for group in optimizer.groups:
            group["lr"] = self.now

    @property
    def now(self) -> float:
        """The rate of this step."""
        return FIRST * math.exp(math.log(LAST / FIRST) * self.step / (STEPS - 1))


class Curve(Observer):
    """Note the loss at each rate; raise Diverged where it has grown out of bounds."""

    def __init__(self, growth: Growth, work: Work):
        """growth: moved on after each step; work: counts the steps."""
        self.points: list[tuple[float, float, float]] = []
        self._growth, self._work, self._average = growth, work, 0.0

    def end_step(self, phase: Phase, position: Position, objective: float) -> None:
        """Note the step."""
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * objective
        smoothed = self._average / (1 - math.pow(SMOOTHING, len(self.points) + 1))      # as if it had begun there
        self.points.append((self._growth.now, objective, smoothed))
        self._growth.step += 1
        self._work.advance()
        lowest = min(point[2] for point in self.points)
        if smoothed - lowest > DIVERGED * abs(lowest):
            raise Diverged("the loss grows out of bounds")


def find_rate(config: Config) -> RangeTest:
    """Test the first phase of a run with this configuration; UsageError where its method follows no gradient."""
    job = build(config)
    phase = job.phases[0]
    if not phase.method.uses_gradients:
        raise UsageError(f"--lr-find: {phase.name} follows no gradient, so it has no learning rate")
    growth = Growth()
    tested = dataclasses.replace(phase, schedule=growth, epochs=STEPS, stopping=EarlyStopping())
    with Work("learning-rate range test", STEPS) as work:
        curve = Curve(growth, work)
        diverged = _train(_without_measuring(job, tested), curve)
    flag = "--pretrain-lr" if phase.name == FLOAT_PHASE else "--lr"
    return RangeTest(phase.name, flag, curve.points, diverged)


def as_lines(found: RangeTest) -> list[str]:
    """Return the curve as text, and the suggestion."""
    lines = [f"learning-rate range test of the {found.phase} phase: {len(found.points)} steps, nothing is kept", "",
             "     rate      loss"]
    shown = found.points[::max(1, -(-len(found.points) // ROWS))]
    most = max((point[2] for point in shown), default=1.0)
    lines += [f"{rate:9.2e}  {smoothed:8.4f}  {'#' * _length(smoothed, most)}" for rate, _, smoothed in shown]
    end = f"it grows out of bounds at {found.points[-1][0]:.2g}" if found.diverged and found.points else (
        f"it does not grow out of bounds up to {LAST:g}")
    if found.lowest is None:
        return [*lines, "", f"no rate lowers the loss; {end}; try another --opt, or look at the data"]
    return [*lines, "", f"the smoothed loss is lowest at {found.lowest[0]:.2g}; {end}",
            f"suggestion: {found.flag} {found.suggestion:.2g} (a tenth of the rate with the lowest loss)"]


def _train(job: Job, curve: Curve) -> bool:
    """Train until the steps are used up; return True where the loss grows out of bounds before."""
    try:
        Loop(job, Position(), curve).run()
    except Diverged:
        return True
    return False


def _without_measuring(job: Job, phase: Phase) -> Job:
    """Return the job with this phase alone, which measures no split between its epochs."""
    config = dataclasses.replace(job.config, max_steps=STEPS, watch_test=False)
    bundle = dataclasses.replace(job.bundle, validation=None)
    return dataclasses.replace(job, config=config, bundle=bundle, phases=[phase])


def _length(smoothed: float, most: float) -> int:
    return max(0, min(BAR, round(BAR * smoothed / most))) if most > 0 else 0
