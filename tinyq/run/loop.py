"""The training loop: phases of epochs of steps, and what is recorded and saved between them.

It knows Method (methods/base.py) and no method by name. Everything random is keyed by epoch, step and sample, so the
loop's position and the states of model, optimiser, schedule and method are all there is to a checkpoint.
"""
import math
import time

from tinyq.errors import Diverged
from tinyq.files.atomic import NotSynced
from tinyq.run import checkpoint, divergence
from tinyq.run.best_effort import Attempts
from tinyq.run.build import FLOAT_PHASE, Job
from tinyq.run.checkpoint import Position
from tinyq.saved.measure import measure
from tinyq.saved.model_file import require_finite


class Loop:
    """Trains a job from a position on; `float_trained` is called once, between the float network and the last phase."""

    def __init__(self, job: Job, position: Position, folder, journal, progress, request, float_trained, observer):
        """folder: the run's; journal: for metrics; request: a StopRequest; observer: an Observer."""
        self.job, self.position, self.folder = job, position, folder
        self.journal, self.progress, self.request = journal, progress, request
        self.float_trained, self.observer, self._attempt = float_trained, observer, Attempts(progress.say)
        self._clock = self._saved_at = time.monotonic()

    def run(self, states: dict | None = None) -> None:
        """Train through all phases, the one in hand from the states of a checkpoint if given.

        The last phase's method is left unfinished, so that its latent weights can still be looked at.
        """
        while True:
            phase = self.job.phases[self.position.phase]
            self._begin(phase, states)
            self._train(phase)
            if phase is self.job.phases[-1]:
                return
            phase.method.finish()
            self._to_next_phase()
            states = None

    def _begin(self, phase, states):
        """Start the phase, or take it up where the states were saved."""
        job, method_state = self.job, None
        if states is not None:
            job.model.load_state_dict(states["model"], source="the checkpoint")
            phase.optimizer.load_state(states["optimizer"])
            phase.schedule.load_state(states.get("schedule", {}))
            method_state = states.get("method", {})
        elif phase is job.phases[-1]:
            self.float_trained()
        phase.method.begin(job.model, phase.optimizer, job.bundle.train, job.streams, state=method_state)
        self.observer.begin_phase(phase, self.position, resumed=states is not None)
        if phase.method.notice:
            self.progress.say(phase.method.notice)

    def _train(self, phase):
        position = self.position
        while position.epoch < phase.epochs and not phase.method.done and not self._out_of_steps():
            if self._epoch(phase):
                self._end_epoch(phase)

    def _epoch(self, phase) -> bool:
        """The rest of the epoch in hand; False if the run's steps ran out within it."""
        job, position = self.job, self.position
        epoch, total = phase.first_epoch + position.epoch, len(job.loader)
        job.model.train()
        for batches in _in_groups(job.loader.epoch(epoch, start=position.batch), job.config.accumulate):
            try:
                self._step(phase, epoch, batches, total)
            except Diverged as error:
                raise self._diverged(phase, epoch, batches, error) from error
            self._stop_if_asked(phase)
            if self._out_of_steps():
                self._save(phase)
                return False
            if self._save_is_due():
                self._save(phase)
        return True

    def _step(self, phase, epoch, batches, total):
        job, position = self.job, self.position
        seen = [batch for batch in batches if len(batch.y)]         # all images of a batch may have been skipped
        if not seen:
            position.batch += len(batches)
            return
        phase.schedule.apply(phase.optimizer, position.epoch + position.batch / total)
        job.model.key_step(job.streams, epoch, position.batch)
        with self.observer.step(phase, position, seen):
            objective = phase.method.step(seen)
        if not math.isfinite(objective):
            raise Diverged(f"the objective is {objective}: try a lower --lr")
        position.batch += len(batches)
        position.steps += 1
        self.progress.step(phase.name, phase.method.so_far())
        if job.config.print_freq and position.steps % job.config.print_freq == 0:
            lr = phase.optimizer.groups[0]["lr"]
            self._record(phase, {"record": "step", "objective": objective, "lr": lr})

    def _diverged(self, phase, epoch, batches, error):
        """The error with its place: step, operation, and the file in which the step is kept."""
        job, position = self.job, self.position
        seen = [batch for batch in batches if len(batch.y)]
        where = divergence.kept(self.folder, position, self._states(phase), seen)
        job.model.key_step(job.streams, epoch, position.batch)
        first = divergence.first_in(job.model, seen, lambda: phase.method.step(seen))
        flag = "; in this phase that is --pretrain-lr" if phase.name == FLOAT_PHASE else ""
        return Diverged(f"{phase.name} phase, step {position.steps + 1}: {error}{flag}; first: {first}; {where}")

    def _end_epoch(self, phase):
        position = self.position
        validation, test = self._validation(phase), self._watched_test(phase)
        lr = phase.optimizer.groups[0]["lr"]                # before the method may change it for the next epoch
        method = phase.method.end_epoch(validation or None)
        accuracy = method.pop("train_accuracy", None)
        own = {"loss": method.pop("train_loss", None), "accuracy": accuracy,
               "error": None if accuracy is None else 1 - accuracy}
        figures = {**own, **validation, **test, **method, "lr": lr}
        self._record(phase, {"record": "epoch", **figures})
        self.observer.end_epoch(phase, position, figures)
        position.epoch, position.batch = position.epoch + 1, 0
        self._save(phase, validation.get("validation_accuracy"))
        self.request.heed(self.folder, position.steps)

    def _validation(self, phase):
        """The figures that the schedule and the method may look at."""
        scores = self._measure(phase, self.job.bundle.validation)
        if scores is None:
            return {}
        phase.schedule.observe(scores.accuracy)
        return {"validation_loss": scores.loss, "validation_accuracy": scores.accuracy,
                "validation_error": 1 - scores.accuracy}

    def _watched_test(self, phase):
        """The figure that nothing may look at, if it was asked for."""
        scores = self._measure(phase, self.job.bundle.test) if self.job.config.watch_test else None
        return {} if scores is None else {"test_error": 1 - scores.accuracy}

    def _measure(self, phase, part):
        if part is None:
            return None
        bundle = self.job.bundle
        return measure(self.job.model, part, bundle.num_classes, bundle.input_shape,
                       before_batch=lambda: self._stop_if_asked(phase))

    def _record(self, phase, figures):
        position = self.position
        self._count_time()
        record = {"record": figures.pop("record"), "phase": phase.name, "epoch": phase.first_epoch + position.epoch,
                  "step": position.steps, **figures, "seconds": round(position.seconds, 3)}
        self._attempt(lambda: self.journal.append(record))
        self.progress.record(record)

    def _save(self, phase, accuracy=None):
        """Write a checkpoint; accuracy: of an epoch that ends here, of which the best is kept."""
        self._count_time()
        position = self.position
        best = position.best_steps, position.best_accuracy
        if accuracy is not None and accuracy > (-1 if best[1] is None else best[1]):
            position.best_steps, position.best_accuracy = position.steps, accuracy
        if self._attempt(lambda: self._write_checkpoint(phase)):
            self._attempt(lambda: checkpoint.remove_old(self.folder / "checkpoints", position))
        else:
            position.best_steps, position.best_accuracy = best
        self._saved_at = time.monotonic()

    def _write_checkpoint(self, phase):
        require_finite(self.job.model.state_dict())
        self.journal.sync()                     # a power cut must not leave fewer records than the checkpoint counts
        self.observer.sync()
        self.position.records, self.position.ledger_head = self.journal.records, self.observer.head
        self.position.skipped = self.job.bundle.skipped_samples()
        folder = self.folder / "checkpoints"
        try:
            path = checkpoint.save(folder, self.position, self._states(phase))
        except NotSynced:                       # it is there all the same, and lasts if the power does
            self.observer.saved(checkpoint.path_of(folder, self.position.steps), self.position)
            raise
        self.observer.saved(path, self.position)

    def _states(self, phase):
        return {"model": self.job.model.state_dict(), "optimizer": phase.optimizer.state(),
                "schedule": phase.schedule.state(), "method": phase.method.state()}

    def _save_is_due(self):
        minutes = self.job.config.checkpoint_minutes
        return minutes and time.monotonic() - self._saved_at >= 60 * minutes

    def _to_next_phase(self):
        position = self.position
        position.phase, position.epoch, position.batch = position.phase + 1, 0, 0
        position.best_steps = position.best_accuracy = None

    def _out_of_steps(self):
        """Whether the next step is not to be taken; an epoch whose steps are all taken is brought to its end."""
        most, position = self.job.config.max_steps, self.position
        return most is not None and position.steps >= most and position.batch < len(self.job.loader)

    def _stop_if_asked(self, phase):
        if self.request.number is not None:
            self._save(phase)
            self.request.heed(self.folder, self.position.steps)

    def _count_time(self):
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now


def _in_groups(batches, size):
    """Lists of `size` batches; the last may be shorter."""
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
