"""Run the command `tinyq`: `tinyq train ...` is `python -m tinyq.train ...`, and so on for the other commands."""
import importlib
import sys

from tinyq import __version__
from tinyq.errors import UsageError, did_you_mean, exit_code_of
from tinyq.output.terminal import say

COMMANDS = {
    "train": ("tinyq.train", "train a network whose weights are constrained to a few values"),
    "evaluate": ("tinyq.evaluate", "measure a trained network on a dataset"),
    "pack": ("tinyq.pack", "pack a trained network at 1 to 3 bits per weight, or write it as C"),
    "infer": ("tinyq.infer", "run a packed network on images or on a dataset"),
    "convert": ("tinyq.convert", "convert weight files of other programs to tinyq's format, and back"),
    "summary": ("tinyq.summary", "list the layers of a network with their sizes and cost"),
    "compare": ("tinyq.compare.__main__", "compare the settings, figures and curves of runs"),
    "doctor": ("tinyq.doctor", "show versions and what the kernels use; --warm-up compiles them"),
    "audit": ("tinyq.audit.__main__", "check a run against its ledger: verify, replay and more"),
    "data": ("tinyq.data.__main__", "fetch and verify datasets"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the command named first; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--debug"]:                         # allowed before the command too
        argv = [*argv[1:], *argv[:1]]
    if argv and argv[0] in COMMANDS:
        return exit_code_of(lambda _: importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:]), argv)
    return exit_code_of(_without_command, argv)


def _without_command(argv):
    if argv in (["--version"], ["-V"]):
        say(f"tinyq {__version__}")
    elif not argv or argv[0] in ("-h", "--help", "help"):
        say("usage: tinyq COMMAND ... [--debug] (tinyq COMMAND --help says more)", "",
            *(f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()))
    else:
        raise UsageError(f"{argv[0]}: no such command; {did_you_mean(argv[0], COMMANDS)}")


if __name__ == "__main__":
    sys.exit(main())
