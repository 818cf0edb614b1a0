"""Say that a command of tinyq is not in the runtime alone: the wheel of build_wheel.py has this file in its place."""
import sys
from typing import NoReturn

from tinyq.errors import UsageError, exit_code_of, needs_all_of_tinyq

assert __spec__ is not None
NAME = __spec__.name.removesuffix(".__main__")


def main(argv: list[str] | None = None) -> int:
    """Refuse any arguments; returns the exit code of a usage error."""
    return exit_code_of(_refuse, sys.argv[1:] if argv is None else argv)


def _refuse(argv: list[str]) -> NoReturn:
    raise UsageError(needs_all_of_tinyq(NAME))


def __getattr__(name: str) -> NoReturn:
    """Refuse every import of a name."""
    if name.startswith("_"):                        # asked for by Python
        raise AttributeError(name)
    raise ImportError(needs_all_of_tinyq(NAME))


if __name__ == "__main__":
    sys.exit(main())
