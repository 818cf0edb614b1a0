"""The parser of every command's flags: errors of one line, with the flag that was probably meant."""
import argparse
import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn

from tinyq.errors import UsageError, nearest
from tinyq.kernels.jit.variables import check_variables

MAX_COUNT = 2**31 - 1
_NEGATIVE_LIST = re.compile(r"-[0-9.][0-9.eE+-]*(,[0-9.eE+-]*)+")
_FLAG = re.compile(r"--[a-z][a-z0-9.-]*")


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError and suggests the nearest flag."""

    def __init__(self, **options: Any):
        """options: of argparse.ArgumentParser. Each command also has --debug, which errors.exit_code_of reads."""
        super().__init__(**options)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error too")

    def error(self, message: str) -> NoReturn:
        """Raise UsageError, which exit_code_of turns into one line and exit code 2."""
        raise UsageError(f"{message}; see --help")

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """Parse the arguments; UsageError for an unknown one, with the flag that was probably meant.

        UsageError also for an environment variable that the kernels cannot use: the command has not yet begun.
        """
        known, others = self.parse_known_intermixed_args(_attached(argv))       # flags between images, say
        if others:
            if not others[0].startswith("-"):
                raise UsageError(f"{others[0]}: unexpected argument; see --help")
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            near = nearest(others[0].partition("=")[0], flags)
            raise UsageError(f"{others[0]}: no such flag; {f'did you mean {near!r}?' if near else 'see --help'}")
        for action in self._actions:
            self._check_not_empty(action, getattr(known, action.dest, None))
        check_variables()
        return known

    def checks_later(self, action: argparse.Action) -> bool:
        """Return True for a flag whose value is checked where it is used, an empty one too."""
        return False

    def _check_not_empty(self, action: argparse.Action, value: object) -> None:
        """Refuse an empty text: as a path it is the working folder."""
        if value in ("", [""]) and action.const != "" and not self.checks_later(action):
            shown = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
            raise UsageError(f"{shown}: is empty; give a value, or leave it out")


class Joined(argparse.Action):
    """Join the values of a flag that is given several times, with commas between."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        """Add a value; an empty one is kept alone, to be refused."""
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{values}" if before and values else values)


def add_plugin_flag(parser: Parser) -> None:
    """Add the flag that names the plug-ins of a network."""
    parser.add_argument("--plugin", metavar="FILE.py", action=Joined, help="Python file of your own that adds its "
                        "model or data; a weight file cannot choose which code runs")


def naming_flags(command: Callable[[list[str]], None], parser: Callable[[], Parser]) -> Callable[[list[str]], None]:
    """Wrap a command so that a UsageError which begins with a parameter's name begins with its flag instead.

    "levels x: no such set" becomes "--levels x: no such set", where the parser has that flag.
    """
    @functools.wraps(command)
    def run(argv: list[str]) -> None:
        try:
            command(argv)
        except UsageError as error:
            name, space, rest = str(error).partition(" ")
            colon = ":" * name.endswith(":")
            flag = "--" + name.removesuffix(":").replace("_", "-")
            if any(flag in action.option_strings for action in parser()._actions):
                raise UsageError(f"{flag}{colon}{space}{rest}") from error
            raise
    return run


def count_of(flag: str, text: str | None) -> int | None:
    """Return the number from 1 up that a flag was given; None where it was not given."""
    if text is None:
        return None
    try:
        count = int(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: must be a whole number") from None
    if count < 1:
        raise UsageError(f"{flag} {text}: must be at least 1")
    if count > MAX_COUNT:
        raise UsageError(f"{flag} {text[:40]}: must be at most {MAX_COUNT}")
    return count


def _attached(argv: list[str]) -> list[str]:
    """Attach a list that begins with a minus to the flag before it: --levels -1,0,1 is --levels=-1,0,1."""
    attached: list[str] = []
    for word in argv:
        if _NEGATIVE_LIST.fullmatch(word) and attached and _FLAG.fullmatch(attached[-1]):
            attached[-1] += f"={word}"
        else:
            attached.append(word)
    return attached
