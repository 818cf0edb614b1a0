"""Writing that training does not depend on: a disk that fails is told of, and training goes on."""
from collections.abc import Callable

from tinyq.errors import CannotCreate, InputOutputError


class Attempts:
    """Calls what writes to the disk; a failure is said once as long as its reason stays the same."""

    def __init__(self, say: Callable[[str], None]):
        """say: takes a line."""
        self._say, self._said = say, None

    def __call__(self, write: Callable[[], None]) -> bool:
        """Whether `write` succeeded; other errors than those of a disk are not held back."""
        try:
            write()
        except (CannotCreate, InputOutputError) as error:
            if str(error) != self._said:
                self._say(f"tinyq: {error}; training goes on, and older checkpoints stay")
            self._said = str(error)
            return False
        return True
