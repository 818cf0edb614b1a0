"""The command `tinyq`: `tinyq train ...` is `python -m tinyq.train ...`, and likewise for the other commands."""
import importlib
import sys

from tinyq import __version__
from tinyq.errors import UsageError, did_you_mean, exit_code_of

COMMANDS = {
    "train": ("tinyq.train", "train a network whose weights are constrained to a few values"),
    "evaluate": ("tinyq.evaluate", "how well a trained network does on a dataset"),
    "pack": ("tinyq.pack", "a trained network packed at 1 to 3 bits a weight, or as C"),
    "infer": ("tinyq.infer", "what a packed network makes of images, or of a dataset"),
    "convert": ("tinyq.convert", "weight files of other programs to tinyq's, and back"),
    "summary": ("tinyq.summary", "layers, sizes and cost of a network"),
    "doctor": ("tinyq.doctor", "versions, what the kernels use of this machine; --warm-up compiles them"),
    "audit": ("tinyq.audit.__main__", "check a run against its ledger: verify, replay and more"),
    "data": ("tinyq.data.__main__", "fetch and verify datasets"),
}


def main(argv: list[str] | None = None) -> int:
    """Hand the arguments to the command named first; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--debug"]:                         # as good in front of the command as behind it
        argv = [*argv[1:], *argv[:1]]
    if argv and argv[0] in COMMANDS:
        return importlib.import_module(COMMANDS[argv[0]][0]).main(argv[1:])
    return exit_code_of(_without_command, argv)


def _without_command(argv):
    if argv in (["--version"], ["-V"]):
        print(f"tinyq {__version__}")
    elif not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: tinyq COMMAND ... [--debug] (tinyq COMMAND --help says more)\n")
        print("\n".join(f"  {name:<10}{text}" for name, (_, text) in COMMANDS.items()))
    else:
        raise UsageError(f"{argv[0]}: no such command; {did_you_mean(argv[0], COMMANDS)}")


if __name__ == "__main__":
    sys.exit(main())
