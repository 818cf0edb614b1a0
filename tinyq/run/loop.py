"""The training loop: phases of epochs of steps. Observers record, show, save and stop a run.

The loop knows Method (methods/base.py) and no method by name. Everything random is keyed by epoch, step and sample, so
the position and the states of model, optimiser, schedule and method are all that a checkpoint needs.
"""
import math
from collections.abc import Iterable, Iterator, Sequence

from tinyq.data import Batch, Dataset
from tinyq.errors import Diverged
from tinyq.inputs.targets import NUMBERS
from tinyq.run import divergence
from tinyq.run.build import Job, steps_are_used_up
from tinyq.run.checkpoint import Position
from tinyq.run.observers.observer import Observer
from tinyq.run.phases import FLOAT_PHASE, Phase
from tinyq.saved.measure import measure
from tinyq.tasks.scores import Scores


class Loop:
    """Train a job from a position to its end."""

    def __init__(self, job: Job, position: Position, observers: Observer):
        """position: updated at each step; observers: receives the events, an Observers where there are several."""
        self.job, self.position, self.observers = job, position, observers

    def run(self, states: dict | None = None) -> None:
        """Train through all phases; states: of a checkpoint, for the phase it was taken in.

        A run whose steps are used up before the last phase ends within the phase it is in. The method of the phase
        reached is left unfinished, so that its latent weights can still be read.
        """
        while True:
            phase = self.job.phases[self.position.phase]
            self.begin(phase, states)
            self._train(phase)
            if phase is self.job.phases[-1] or steps_are_used_up(self.job, self.position):
                return
            phase.method.finish()
            self.position.to_next_phase()
            states = None

    def begin(self, phase: Phase, states: dict | None) -> None:
        """Start the phase, or continue it from the states."""
        job, method_state = self.job, None
        if states is None:
            self.observers.before_phase(phase, self.position)
        else:
            job.model.load_state_dict(states["model"], source="the checkpoint")
            phase.optimizer.load_state(states["optimizer"])
            phase.schedule.load_state(states.get("schedule", {}))
            phase.stopping.load_state(states.get("stopping", {}))
            method_state = states.get("method", {})
        phase.method.begin(job.model, phase.optimizer, job.training_data, job.streams, state=method_state)
        self.observers.begin_phase(phase, self.position, resumed=states is not None)

    def _train(self, phase: Phase) -> None:
        job, position = self.job, self.position
        while (position.epoch < phase.epochs and not phase.method.done and not phase.stopping.done
               and not steps_are_used_up(job, position)):
            self._epoch(phase)
            if not steps_are_used_up(job, position):
                self._end_epoch(phase)

    def _epoch(self, phase: Phase) -> None:
        """Train the rest of the epoch, or up to the last step that the run may take."""
        job, position = self.job, self.position
        epoch = phase.first_epoch + position.epoch
        job.model.train()
        for batches in _in_groups(job.loader.epoch(epoch, start=position.batch), job.config.accumulate):
            seen = [batch for batch in batches if len(batch.y)]         # all images of a batch may have been skipped
            if seen:
                try:
                    self._step(phase, epoch, seen, len(batches))
                except Diverged as error:
                    raise self._located(phase, epoch, seen, error) from error
            else:
                position.batch += len(batches)
            if steps_are_used_up(job, position):
                return

    def _step(self, phase: Phase, epoch: int, seen: list[Batch], count: int) -> None:
        """Take one step on the batches seen; count: batches it stands for, empty ones included."""
        job, position = self.job, self.position
        phase.schedule.apply(phase.optimizer, position.epoch + position.batch / len(job.loader))
        job.model.key_step(job.streams, epoch, position.batch)
        with self.observers.step(phase, position, seen):
            objective = phase.method.step(seen)
        if not math.isfinite(objective):
            raise Diverged(f"the objective is {objective}: try a lower learning rate")
        position.batch += count
        position.steps += 1
        self.observers.end_step(phase, position, objective)

    def _located(self, phase: Phase, epoch: int, seen: Sequence[Batch], error: Diverged) -> Diverged:
        """Add to the error the step, the first operation that failed, and what the observers know."""
        job, position = self.job, self.position
        known = self.observers.diverged(phase, position, seen)
        job.model.key_step(job.streams, epoch, position.batch)
        first = divergence.first_in(job.model, seen, lambda: phase.method.step(seen))
        flag = " (--pretrain-lr)" if phase.name == FLOAT_PHASE else " (--lr)"
        return Diverged(f"{phase.name} phase, step {position.steps + 1}: {error}{flag}; first NaN or infinity: {first}"
                        + (f"; {known}" if known else ""))

    def _end_epoch(self, phase: Phase) -> None:
        position, number = self.position, phase.epoch_number(self.position.epoch)
        validation, test = self._validation(phase), self._watched_test(phase)
        if validation:                      # after both: a run stopped during one repeats both
            figure = validation[f"validation_{self.job.loss.task.best}"]
            phase.schedule.observe(figure)
            phase.stopping.observe(figure)
        lr = phase.optimizer.groups[0]["lr"]                # before the method may change it for the next epoch
        method = phase.method.end_epoch(validation or None)
        accuracy = method.pop("train_accuracy", None)
        training = {"loss": method.pop("train_loss", None)}
        if self.job.loss.task.kind != NUMBERS:
            training |= {"accuracy": accuracy, "error": None if accuracy is None else 1 - accuracy}
        position.epoch, position.batch = position.epoch + 1, 0
        self.observers.end_epoch(phase, number, position, {**training, **validation, **test, **method, "lr": lr})

    def _validation(self, phase: Phase) -> dict:
        """Measure the validation split, which the schedule and the method may use."""
        scores = self._measure(phase, self.job.bundle.validation)
        return {} if scores is None else {f"validation_{name}": value for name, value in scores.recorded.items()}

    def _watched_test(self, phase: Phase) -> dict:
        """Measure the test split if `watch_test` is set; nothing in the run uses the result."""
        scores = self._measure(phase, self.job.bundle.test) if self.job.config.watch_test else None
        return {} if scores is None else {f"test_{name}": value for name, value in scores.recorded.items()}

    def _measure(self, phase: Phase, split: Dataset | None) -> Scores | None:
        if split is None:
            return None
        bundle = self.job.bundle
        return measure(self.job.model, split, bundle.num_classes, bundle.input_shape,
                       before_batch=lambda: self.observers.measuring(phase, self.position), loss=self.job.loss)


def _in_groups(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Yield lists of `size` batches; the last may be shorter."""
    group = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
