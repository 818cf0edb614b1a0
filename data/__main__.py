"""`python -m tinyq.data`: fetch, verify and locate the datasets that do not come with tinyq."""
import argparse
import os
import shlex
import sys

from tqdm import tqdm

from tinyq.data.download.fetch import DATASETS, fetch
from tinyq.data.download.transfer import Downloader
from tinyq.data.local.roots import data_root
from tinyq.data.sources import cifar10, mnist
from tinyq.errors import BadInput, UsageError, did_you_mean, exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import lines_above, note_shown, say

_OFFLINE = "TINYQ_OFFLINE"
_EXAMPLE = """\
The folder is --data-path, else the environment variable TINYQ_DATA, else ~/.cache/tinyq/data.
An interrupted download continues when the same command is run again.

example:
  python -m tinyq.data fetch mnist --data-path datasets
  python -m tinyq.train --model lenet --data mnist --data-path datasets
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}; see {self.prog} --help")


def run(argv: list[str]) -> None:
    """Fetch, verify or locate datasets; BadInput if `verify` finds a missing or wrong file."""
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise UsageError(f"tinyq.data {argv[0]}: no such command; {did_you_mean(argv[0], COMMANDS)}")
    arguments, others = _parser().parse_known_args(argv)
    if others:
        raise UsageError(f"{others[0]}: {'no such flag' if others[0].startswith('-') else 'unexpected'}; see --help")
    if not hasattr(arguments, "command"):
        raise UsageError(f"tinyq.data: give a command; {did_you_mean('', COMMANDS)}")
    arguments.command(arguments)


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(run, sys.argv[1:] if argv is None else argv)


def _parser():
    parser = _Parser(prog="python -m tinyq.data", description=(__doc__ or "").partition(": ")[2], epilog=_EXAMPLE,
                     formatter_class=HelpFormatter, allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, (function, about) in COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        command.add_argument("datasets", nargs="*", metavar="DATASET",
                             help=" or ".join(DATASETS))
        command.add_argument("--data-path", metavar="DIR", help="folder of the datasets")
        command.set_defaults(command=function)
        if name == "fetch":
            command.add_argument("--mirror", action="append", default=[], metavar="URL",
                                 help="https address of a folder with the files; tried first, may be repeated")
            command.add_argument("--offline", action="store_true", default=_is_offline(),
                                 help="open no connection, only check the files on disk (also: TINYQ_OFFLINE=1)")
    return parser


def _is_offline():
    value = os.environ.get(_OFFLINE, "")
    if value not in ("", "0", "1"):
        raise UsageError(f"{_OFFLINE}={value}: must be 1, to open no connection, or 0")
    return value == "1"


def _chosen(arguments):
    unknown = [name for name in arguments.datasets if name not in DATASETS]
    if unknown:
        raise UsageError(f"cannot fetch or verify {unknown[0]!r}; choose from: {', '.join(DATASETS)}")
    return {name: DATASETS[name] for name in arguments.datasets or DATASETS}


def _fetch(arguments):
    if not arguments.datasets:
        raise UsageError(f"tinyq.data fetch: name the datasets; {did_you_mean('', DATASETS)}")
    root = data_root(arguments.data_path)
    for name, dataset in _chosen(arguments).items():
        with tqdm(unit="B", unit_scale=True, disable=None, leave=False, desc=name) as bar:
            with lines_above(lambda text, stream: tqdm.write(text, file=stream)):
                fetch(dataset, root, Downloader(progress=lambda *state, bar=bar: _show(bar, *state)),
                      arguments.mirror, arguments.offline, say=say)
        say(f"{name}: complete and verified in {dataset.folder(root)}")


def _show(bar, received, total):
    bar.total = total
    bar.update(received - bar.n)
    note_shown()


def _verify(arguments):
    root = data_root(arguments.data_path)
    chosen = _chosen(arguments)
    if not arguments.datasets:
        chosen = {name: dataset for name, dataset in chosen.items() if dataset.folder(root).is_dir()}
    if not chosen:
        raise BadInput(f"{str(root)!r}: no dataset here to verify; choose another --data-path, or fetch one")
    problems = {name: dataset.problems(root) for name, dataset in chosen.items()}
    for name, found in problems.items():
        for problem in found:
            say(f"{name}: {'missing' if problem.missing else 'WRONG'}, {problem.path}")
        if not found:
            say(f"{name}: verified, {chosen[name].folder(root)}")
    if bad := [name for name, found in problems.items() if found]:
        missing = [problem.missing for found in problems.values() for problem in found]
        option = f" --data-path {shlex.quote(arguments.data_path)}" if arguments.data_path else ""
        raise BadInput(f"{str(root)!r}: files missing: {missing.count(True)}, wrong: {missing.count(False)}; "
                       f"fetch them: python -m tinyq.data fetch {' '.join(bad)}{option}")


def _where(arguments):
    root = data_root(arguments.data_path)
    for name, dataset in _chosen(arguments).items():
        place = dataset.folder(root) if dataset.is_there(root) else _place(name, root)
        say(f"{name}: {place or dataset.folder(root)} ({'there' if place else 'missing'})")


def _place(name, root):
    """Return where another program left a dataset, as training would find it; None where it did not."""
    try:
        return {"mnist": mnist.located, "cifar10": cifar10.located}[name](root)
    except BadInput:
        return None


COMMANDS = {"fetch": (_fetch, "download a dataset, or its missing files, and check the SHA-256"),
            "verify": (_verify, "check the SHA-256 of the files on disk"),
            "where": (_where, "print where datasets are searched for, and which are there")}


if __name__ == "__main__":
    sys.exit(main())
