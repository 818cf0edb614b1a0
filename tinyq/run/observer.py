"""What may watch a run: the loop and the session tell it of all that happens, and know nothing else of it."""
from contextlib import contextmanager


class Observer:
    """Is told of everything, changes nothing, may stop the run by raising; this one takes no notice.

    head: what is to be remembered of everything told so far, in checkpoints and in model.h5; None for nothing.
    say: takes a line for whoever watches the run.
    """

    head: str | None = None
    say = staticmethod(print)

    def begin(self, job, folder, position) -> None:
        """A run starts in its folder, or is resumed at a Position other than the first."""

    def begin_phase(self, phase, position, resumed: bool) -> None:
        """The phase's method has begun; `resumed`: from a checkpoint in its middle."""

    @contextmanager
    def step(self, phase, position, batches):
        """Around the method's step on a list of batches; the position is the one before it."""
        yield

    def end_epoch(self, phase, position, figures: dict) -> None:
        """An epoch is over, and the method's end of it; figures: those of its record."""

    def sync(self) -> None:
        """See to it that what was told so far survives a power cut; InputOutputError when that fails.

        Called before a file is written that `head` goes into.
        """

    def saved(self, path, position) -> None:
        """A checkpoint or a weight file was written."""

    def finish(self, position, state: dict) -> dict:
        """Training is over and the network is `state`, name -> array; returns attributes for model.h5."""
        return {}

    def close(self) -> None:
        """The run has ended, well or not."""
