"""`python -m tinyq.doctor`: show versions, and what the kernels use of this machine."""
import importlib.metadata
import platform
import sys
import time

from tinyq import __version__
from tinyq.command_line import Parser
from tinyq.errors import exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json, tell

EXAMPLES = """examples:
  python -m tinyq.doctor
  python -m tinyq.doctor --warm-up                 # compile all kernels now, not in the first run"""


def examine(argv: list[str]) -> None:
    """Print the findings; TinyqError where the machine does not compute as the kernels need it."""
    arguments = _parser().parse(argv)
    if arguments.warm_up:
        _warm_up()
    found = {"tinyq": __version__, "python": platform.python_version(), "machine": platform.machine(),
             **{name: _version(name) for name in ("numpy", "h5py", "pillow", "tqdm")}, **_kernels()}
    if arguments.json:
        say_json(found)
    else:
        say(*(f"{k:<22} {v}" for k, v in found.items()))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(examine, sys.argv[1:] if argv is None else argv)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _kernels() -> dict[str, str | int]:
    """Describe what the kernels use; TinyqError where the arithmetic is not IEEE-754."""
    from tinyq.kernels import verify_arithmetic
    from tinyq.kernels.jit.availability import numba_is_there

    if not numba_is_there():
        return {"numba": "not installed: packed networks run, nothing is trained", "integer kernels": "numpy"}
    from tinyq.kernels import capability

    verify_arithmetic()
    return {**capability.describe(), "arithmetic": "IEEE-754, subnormal numbers kept"}


def _warm_up() -> None:
    from tinyq.audit import observers_for
    from tinyq.run.warm_up import warm_up

    began = time.perf_counter()
    warm_up(lambda name: tell(f"tinyq: warming up: {name}"), observers_for)
    tell(f"tinyq: all kernels are compiled; it took {time.perf_counter() - began:.0f} s")


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.doctor", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("--warm-up", action="store_true", help="compile all kernels now")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
