"""Print lines: all that tinyq prints passes through `say` or `tell`, so that no value acts on a terminal."""
import json
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from tinyq.output.quoting import shown

GAP = "  "                              # between the figures of a line
_shown_at = time.monotonic()            # when anything was shown last
_told, _telling = set[str](), threading.Lock()           # by tell_once
_print_above: Callable[[str, IO], object] | None = None         # prints above a bar while one is drawn


def say(*lines: str) -> None:
    """Print each text as one line on standard output and flush it."""
    _print("\n".join(map(shown, lines)), sys.stdout)


def say_folded(*lines: str) -> None:
    """Print sentences as `say` does; a terminal that is narrower gets them folded at spaces."""
    say(*folded(lines, output_width()))


def say_json(value: object, indent: int | None = 2) -> None:
    """Print a value as JSON: in ASCII, with every control character escaped."""
    print(json.dumps(value, indent=indent), flush=True)


def tell(*lines: str) -> None:
    """Print each text as one line on standard error; a failure, as on a full disk, is ignored."""
    try:
        _print("\n".join(map(shown, lines)), sys.stderr)
    except OSError:
        forget(sys.stderr)


def tell_once(text: str) -> None:
    """Print a text on standard error, unless it was printed before by any thread."""
    with _telling:
        known = text in _told
        _told.add(text)
    if not known:
        tell(text)


def forget(stream: IO) -> None:
    """Discard buffered output, which would fail again at exit with Python's own message and code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def note_shown() -> None:
    """Remember that something was shown now, such as the next state of a bar."""
    global _shown_at
    _shown_at = time.monotonic()


def seconds_of_silence() -> float:
    """Return the seconds since anything was shown."""
    return time.monotonic() - _shown_at


@contextmanager
def lines_above(write: Callable[[str, IO], object]) -> Iterator[None]:
    """Print lines with write(text, stream) while a bar is drawn, which they would break."""
    global _print_above
    before, _print_above = _print_above, write
    try:
        yield
    finally:
        _print_above = before


def width_of(stream: IO) -> int | None:
    """Return the columns of the terminal that a stream leads to, 80 where it does not say; None for no terminal."""
    try:
        return (os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
    except (AttributeError, OSError, ValueError):       # closed, or a stand-in without a descriptor
        return None


def output_width() -> int | None:
    """Return the columns of the terminal that standard output leads to; None for no terminal."""
    return width_of(sys.stdout)


def fitted(figures: Sequence[str], width: int | None) -> list[str]:
    """Join figures to lines of at most this width and cut none; the lines after the first are indented."""
    lines = [figures[0]] if figures else []
    for figure in figures[1:]:
        if width is None or len(lines[-1]) + len(GAP) + len(figure) <= width:
            lines[-1] += GAP + figure
        else:
            lines.append(GAP + figure)
    return lines


def folded(lines: Iterable[str], width: int | None) -> list[str]:
    """Fold sentences that are wider than a terminal at their spaces; the lines after the first are indented."""
    if width is None:
        return list(lines)
    return [part for line in lines for part in (textwrap.wrap(
        line, width, subsequent_indent=GAP, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
        if len(line) > width else [line])]


def _print(text, stream):
    if _print_above:
        _print_above(text, stream)
    else:
        print(text, file=stream, flush=True)
    note_shown()
