"""Print lines: all that tinyq prints passes through `say` or `tell`, so that no value acts on a terminal."""
import functools
import json
import os
import sys
from collections.abc import Callable
from typing import IO

from tinyq.output.quoting import shown


def say(*lines: str, write: Callable[[str], object] | None = None) -> None:
    """Print each text as one line on standard output and flush it; write: function that prints the lines instead."""
    text = "\n".join(map(shown, lines))
    write(text) if write else print(text, flush=True)


def say_json(value: object, indent: int | None = 2) -> None:
    """Print a value as JSON: in ASCII, with every control character escaped."""
    print(json.dumps(value, indent=indent), flush=True)


def tell(*lines: str) -> None:
    """Print each text as one line on standard error; a failure, as on a full disk, is ignored."""
    try:
        print("\n".join(map(shown, lines)), file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr)


@functools.cache
def tell_once(text: str) -> None:
    """Print a text on standard error, unless it was printed before."""
    tell(text)


def forget(stream: IO) -> None:
    """Discard buffered output, which would fail again at exit with Python's own message and code."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
