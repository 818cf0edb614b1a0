"""The float network that a run's last phase starts from: saved as float.h5 and measured."""
from collections.abc import Callable
from pathlib import Path

from tinyq.files import weights as weight_files
from tinyq.files.weights import Weights
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.observers.best_effort import BestEffort
from tinyq.run.observers.metrics_journal import MetricsJournal
from tinyq.run.observers.observer import Observer
from tinyq.run.observers.signals import StopRequest
from tinyq.run.phases import FLOAT_PHASE, Phase, config_after
from tinyq.saved import model_file
from tinyq.saved.measure import measure
from tinyq.saved.run_folder import FLOAT_FILE
from tinyq.tasks.task import in_words


def is_due(job: Job, phase: Phase) -> bool:
    """Return True if the network before this phase is a float network that the run's result is compared with."""
    return phase is job.phases[-1] and (len(job.phases) > 1 or bool(job.config.weights) and not job.starts_on_levels)


def weights_of(job: Job) -> Weights:
    """Return the contents of float.h5."""
    attributes = model_file.describe(config_after(job.config, FLOAT_PHASE), job.bundle)
    return model_file.weights_of(job.model, attributes, model_file.probe_inputs(job.bundle))


def test_figures(job: Job, before_batch: Callable[[], None] | None = None) -> dict | None:
    """Return the network's figures on the test split, None without one; before_batch: as for measure."""
    bundle = job.bundle
    if bundle.test is None:
        return None
    return measure(job.model, bundle.test, bundle.num_classes, bundle.input_shape, before_batch,
                   loss=job.loss).figures


class FloatBaseline(Observer):
    """Save and measure the network once, before the last phase, if it is a trained float network."""

    def __init__(self, observers: Observer, metrics: MetricsJournal, request: StopRequest):
        """observers: to notify; metrics: takes the test figures; request: may stop the measurement."""
        self._observers, self._metrics, self._request = observers, metrics, request

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Store the run."""
        self._job, self._folder, self._attempt = job, folder, BestEffort(self.log)

    def before_phase(self, phase: Phase, position: Position) -> None:
        """Save and measure before the last phase."""
        job = self._job
        if is_due(job, phase):
            self._measure(position)
        elif job.starts_on_levels and phase is job.phases[-1]:
            self.log(f"starts from {job.config.weights}, which is constrained already: "
                     "no float network to compare with")

    def _measure(self, position: Position) -> None:
        weights = weights_of(self._job)
        figures = test_figures(self._job, lambda: self._request.check(self._folder, position.steps))
        position.test_float = figures
        self._observers.measured_float(position, weights.state, figures)
        is_saved = self._save(weights, position)
        if figures is not None:
            self._metrics.append(position, {"record": "float", "step": position.steps, **{
                f"test_{name}": value for name, value in figures.items()}})
            where = f"saved as {self._folder / FLOAT_FILE}" if is_saved else "not saved"
            self.log(f"float network: test {in_words(figures)}, {where}")

    def _save(self, weights: Weights, position: Position) -> bool:
        path = self._folder / FLOAT_FILE
        return (self._attempt(lambda: weight_files.write(path, weights))
                and self._attempt(lambda: self._observers.saved(path, position)))
