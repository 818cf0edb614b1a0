"""Writing that training does not depend on: a disk that fails is told of, and training goes on."""
from collections.abc import Callable

from tinyq.errors import CannotCreate, InputOutputError


class Attempts:
    """Calls what writes to the disk; a failure is said once as long as it lasts and its reason stays the same."""

    def __init__(self, say: Callable[[str], None], meanwhile: str = "training goes on, and older checkpoints stay"):
        """say: takes a line; meanwhile: its end."""
        self._say, self._meanwhile, self._said = say, meanwhile, None

    def __call__(self, write: Callable[[], None]) -> bool:
        """Whether `write` succeeded; other errors than those of a disk are not held back."""
        try:
            write()
        except (CannotCreate, InputOutputError) as error:
            if str(error) != self._said:
                self._say(f"tinyq: {error}; {self._meanwhile}")
            self._said = str(error)
            return False
        self._said = None                       # the next failure is another one
        return True
