"""The float network that a run's last phase starts from: saved as float.h5 and measured."""
import dataclasses
from pathlib import Path

from tinyq.data import Dataset
from tinyq.files import weights as weight_files
from tinyq.run.build import Job, Phase
from tinyq.run.checkpoint import Position
from tinyq.run.observers.best_effort import BestEffort
from tinyq.run.observers.metrics_journal import MetricsJournal
from tinyq.run.observers.observer import Observer
from tinyq.run.observers.signals import StopRequest
from tinyq.saved import model_file
from tinyq.saved.measure import measure
from tinyq.saved.run_folder import FLOAT_FILE


class FloatBaseline(Observer):
    """Saves and measures the network once, before the last phase, if it is a trained float network."""

    def __init__(self, observers: Observer, metrics: MetricsJournal, request: StopRequest):
        """observers: to notify of the file; metrics: takes the test accuracy; request: may stop the measurement."""
        self._observers, self._metrics, self._request = observers, metrics, request

    def begin(self, job: Job, folder: Path, position: Position) -> None:
        """Store the run."""
        self._job, self._folder, self._attempt = job, folder, BestEffort(self.log)

    def before_phase(self, phase: Phase, position: Position) -> None:
        """Save and measure before the last phase."""
        job = self._job
        if phase is not job.phases[-1] or (len(job.phases) == 1 and not job.config.weights):
            return
        if len(job.phases) == 1 and job.starts_on_levels:
            self.log(f"starts from {job.config.weights}, which is constrained already: "
                     "no float network to compare with")
            return
        is_saved = self._save(position)
        if job.bundle.test is not None:
            where = f"saved as {self._folder / FLOAT_FILE}" if is_saved else "not saved"
            self._measure(job.bundle.test, position, where)

    def _save(self, position: Position) -> bool:
        job, path = self._job, self._folder / FLOAT_FILE
        attributes = model_file.describe(dataclasses.replace(job.config, method="backprop", levels=None), job.bundle)
        weights = model_file.weights_of(job.model, attributes, model_file.probe_inputs(job.bundle))
        return (self._attempt(lambda: weight_files.write(path, weights))
                and self._attempt(lambda: self._observers.saved(path, position)))

    def _measure(self, test: Dataset, position: Position, where: str) -> None:
        bundle = self._job.bundle
        scores = measure(self._job.model, test, bundle.num_classes, bundle.input_shape,
                         before_batch=lambda: self._request.check(self._folder, position.steps))
        position.test_accuracy_float = scores.accuracy
        self._metrics.append(position, {"record": "float", "step": position.steps, "test_accuracy": scores.accuracy})
        self.log(f"float network: test error {1 - scores.accuracy:.2%}, {where}")
