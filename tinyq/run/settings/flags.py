"""The command line of `tinyq.train`, generated from the table of settings and the docstrings of methods and readers."""
import argparse
from collections.abc import Iterable

from tinyq.command_line import Joined, Parser, add_plugin_flag
from tinyq.errors import UsageError
from tinyq.output.help_format import HelpFormatter
from tinyq.own_code.code_names import PLUGIN
from tinyq.run.settings import config
from tinyq.run.settings.config import FIELDS, KINDS
from tinyq.run.settings.docstrings import argument_texts
from tinyq.run.settings.recipes import RECIPES

EXAMPLES = """examples:
  python -m tinyq.train                                        train a small CNN on the embedded digits, to ternary
  python -m tinyq.train --data mnist --data-path DIR --levels binary
  python -m tinyq.train --model mlp:100 --data digits --method backprop --epochs 5
  python -m tinyq.train --resume runs/digits_cnn-digits-cbp-001

recipes (--print-config shows the settings of one):
  """


class _SettingsParser(Parser):
    """A parser that leaves the check of a setting's value to its rule in config.py."""

    def checks_later(self, action: argparse.Action) -> bool:
        """Return True for the flag of a setting."""
        return action.dest in FIELDS or "." in action.dest


def named_plugins(argv: list[str]) -> str | None:
    """Return the plug-ins that a command line names, with commas between, before its other flags are known."""
    parser = Parser(add_help=False, allow_abbrev=False)
    add_plugin_flag(parser)
    try:
        return parser.parse_known_args(argv)[0].plugin
    except UsageError:                                  # the command's own parser says so
        return None


def train_parser() -> Parser:
    """Make the parser with every setting as a flag; only flags that were given appear in the namespace."""
    parser = _SettingsParser(prog="python -m tinyq.train", usage="python -m tinyq.train [--flag value ...]",
                             argument_default=argparse.SUPPRESS, allow_abbrev=False,
                             description="Train a network whose weights are constrained to a few values.",
                             epilog=EXAMPLES + "\n  ".join(RECIPES) + _figures(),
                             formatter_class=HelpFormatter)
    groups = {title: parser.add_argument_group(title) for title in (f.metadata["group"] for f in FIELDS.values())}
    for name, setting in FIELDS.items():
        rule, names = setting.metadata, _names_of(name)
        text = f"{rule['help']} ({', '.join(names)})" if names else rule["help"]
        _add(groups[rule["group"]], name, config.kind_of(KINDS[name]), setting.default, text, rule["short"])
    _add_component_options(parser)
    _add_actions(parser.add_argument_group("files and actions"))
    return parser


def given(namespace: argparse.Namespace) -> tuple[dict, dict]:
    """Split the namespace into (settings, actions)."""
    values = {name.replace("-", "_"): value for name, value in vars(namespace).items()}
    names = ("config", "resume", "trust", "print_config", "dry_run", "lr_find", "seeds")
    actions = {name: values.pop(name) for name in names if name in values}
    return values, actions


def _figures() -> str:
    """Explain the figures of progress lines."""
    from tinyq.methods import METHODS
    from tinyq.methods.base import COMMON_COLUMNS

    own = (column for maker in METHODS.values() for column in getattr(maker, "columns", ()))
    columns = dict.fromkeys((*COMMON_COLUMNS, *own))
    lines = [f"  {column.label:<11} {column.meaning}" for column in columns]
    return "\n".join(["\n\nfigures on the screen (tinyq/run/README.md explains those of metrics.jsonl too):", *lines])


def _names_of(setting: str) -> list[str]:
    """The names that a setting can take, if a table has them."""
    from tinyq import data, methods, models, optim, schedules
    from tinyq.tasks import loss_choice, task

    tables: dict[str, Iterable[str]] = {
        "model": models.REGISTRY, "data": data.READERS, "method": methods.METHODS, "opt": optim.OPTIMIZERS,
        "schedule": schedules.SCHEDULES, "loss": (*task.LOSS_NAMES, *loss_choice.LOSSES)}
    return list(tables.get(setting, ()))


def _add(group: argparse._ArgumentGroup, name: str, kind: type, default: object, text: str,
         short: str | None = None) -> None:
    flags = [*filter(None, [short]), "--" + name.replace("_", "-")]
    shown = "" if default is None else f" (default: {default})"
    text = text.replace("%", "%%") + shown
    if kind is bool:
        group.add_argument(*flags, dest=name, action=argparse.BooleanOptionalAction, help=text)
    else:
        is_path = name in config.PATHS or name.endswith(".classes")
        metavar = "PATH" if is_path else {int: "N", float: "X", str: "NAME"}[kind]
        action = Joined if name == PLUGIN else "store"
        group.add_argument(*flags, dest=name, metavar=metavar, help=text, action=action)


def _add_component_options(parser: Parser) -> None:
    from tinyq.methods import METHODS

    for component, maker in config.components().items():
        options, texts = config.options_of(component), argument_texts(maker)
        if not options:
            continue
        group = parser.add_argument_group(f"options of --{'method' if component in METHODS else 'data'} {component}")
        for name, parameter in options.items():
            kind = config.kind_of_parameter(parameter)
            _add(group, f"{component}.{name}", kind, parameter.default, texts.get(name, "").rstrip("."))


def _add_actions(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--config", metavar="FILE.toml", help="read settings from a file; flags override it")
    group.add_argument("--resume", metavar="RUN", help="resume an interrupted run bit for bit with its own settings; "
                       "only --max-steps, --threads, --workers, --print-freq, --tensorboard, --checkpoint-minutes "
                       "and --data-path may be given again; --epochs with more epochs than it had extends the run, "
                       "which is put on record")
    group.add_argument("--trust", action="store_true", help="with --resume, run the copy of your own network in the "
                       "run folder, which is code; its SHA-256 must be the recorded one")
    group.add_argument("--print-config", action="store_true", help="print the settings as TOML and stop")
    group.add_argument("--dry-run", action="store_true", help="print the plan, with an estimate of the memory, and "
                       "stop")
    group.add_argument("--lr-find", action="store_true", help="test growing learning rates on the first phase, print "
                       "the curve of the loss and a suggestion, and stop; nothing is kept")
    group.add_argument("--seeds", metavar="N,N,...", help="train a run for each of these seeds, in one folder, and "
                       "summarise them; the same command with the same --output goes on with what is missing")
