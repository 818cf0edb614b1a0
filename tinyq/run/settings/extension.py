"""Extend the epochs in a run's config.toml, which keeps the line from before: the file as it was can be restored."""
import re

_EXTENDED = re.compile(r"^epochs = (\d+)  # extended after step (\d+); before: (epochs = .*)$", re.MULTILINE)
_EPOCHS = re.compile(r"^epochs = (\d+)\b.*$", re.MULTILINE)


def extended(text: str, epochs: int, step: int) -> str:
    """Return the configuration with this number of epochs, from a step of the run on."""
    return _EPOCHS.sub(lambda line: f"epochs = {epochs}  # extended after step {step}; before: {line[0]}", text, 1)


def restored(text: str) -> tuple[str, list[tuple[int, int]]]:
    """Return the configuration that the run began with, and its extensions: (step, epochs from there on)."""
    extensions = []
    while found := _EXTENDED.search(text):
        extensions.append((int(found[2]), int(found[1])))
        text = text[:found.start()] + found[3] + text[found.end():]
    return text, extensions[::-1]


def epochs_in(text: str) -> int | None:
    """Return the epochs that a configuration sets; None where it sets none."""
    found = _EPOCHS.search(text)
    return int(found[1]) if found else None


def before(text: str, epochs: int) -> str:
    """Return the configuration without its last extensions, back to this number of epochs."""
    while epochs_in(text) != epochs and (found := _EXTENDED.search(text)):
        text = text[:found.start()] + found[3] + text[found.end():]
    return text
