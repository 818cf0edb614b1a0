"""The flags of the audit's commands, and their help."""

from tinyq.command_line import Parser
from tinyq.output.help_format import HelpFormatter

# Command -> what it does.
ABOUT = {
    "verify": "check the chain, the rules of the method at every step, checkpoints and model",
    "replay": "re-run steps on the real data and compare every digest",
    "check": "compare a step with float64 and take its update apart",
    "compare": "find the first step at which two runs part, and name what differs",
    "explain": "take the gradient and the update of one weight apart",
    "report": "write the checks and curves of every tensor as one HTML page",
    "show": "print records, filtered",
    "head": "print the SHA-256 of the last record, which depends on every record before it",
}

# Arguments, and what they do.
EXAMPLES = {
    "verify runs/a": "check the chain, the rules and every file",
    "replay runs/a --random 20": "re-run twenty random steps",
    "replay runs/a --all --final": "re-run all of it and measure its network",
    "check runs/a --step 1000": "compare a step with float64",
    "explain runs/a --step 700 --weight 'conv2.weight[0,0,0,0]'": "take one gradient apart",
    "compare runs/a runs/b": "find the step at which two runs part",
    "report runs/a -o audit.html": "write one page about everything",
    "show runs/a --record epoch": "print the records of epochs",
    "head runs/a": "print the SHA-256 of the last record"}


def command_parser(command: str, *folders: tuple[str, str, str]) -> Parser:
    """Make the parser of a command; folders: (name, metavar, help) of its run folders, one by default."""
    parser = _parser(command, ABOUT[command], _examples(command))
    for name, metavar, text in folders or (("run", "RUN", "the folder of a run"),):
        parser.add_argument(name, metavar=metavar, help=text)
    return parser


def any_command_parser(about: str) -> Parser:
    """Make the parser that shows the help of all commands."""
    listed = "".join(f"\n  {name:<10}{text}" for name, text in ABOUT.items())
    return _parser("COMMAND", about, f"{_examples()}\n\ncommands:{listed}")


def add_machine_flags(parser: Parser) -> None:
    """Add the flags of a command that repeats steps."""
    parser.add_argument("--threads", type=int, metavar="N",
                        help="number of threads; the results do not depend on it")
    parser.add_argument("--data-path", metavar="PATH",
                        help="where the run's data are now, if they were moved")
    parser.add_argument("--model", metavar="FILE.py:FUNCTION",
                        help="run this file as the network of the run")
    add_trust_flag(parser)


def add_trust_flag(parser: Parser) -> None:
    """Add the flag that lets the copy of a user's own network run."""
    parser.add_argument("--trust", action="store_true", help="run the copy of its own network in the run folder, which "
                        "is code; its SHA-256 must be the recorded one")


def _parser(command, about, epilog):
    return Parser(prog=f"python -m tinyq.audit {command}", description=about, epilog=epilog, allow_abbrev=False,
                  formatter_class=HelpFormatter)


def _examples(command=None):
    """List the examples of one command, or of all."""
    shown = [f"  python -m tinyq.audit {example:<29}  {text}" for example, text in EXAMPLES.items()
             if command in (None, example.split()[0])]
    return "\n".join(["examples:", *shown])
