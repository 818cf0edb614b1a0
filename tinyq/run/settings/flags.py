"""The command line of `tinyq.train`, generated from the settings' table and the methods' constructors."""
import argparse
import inspect

from tinyq.errors import UsageError, did_you_mean
from tinyq.run.settings import config
from tinyq.run.settings.config import FIELDS, KINDS
from tinyq.run.settings.recipes import RECIPES

EXAMPLES = """examples:
  python -m tinyq.train                                        a small CNN on the embedded digits, to ternary
  python -m tinyq.train --data mnist --data-path DIR --levels binary
  python -m tinyq.train --model mlp:100 --data digits --method backprop --epochs 5
  python -m tinyq.train --resume runs/digits_cnn-digits-cbp-001

recipes (--recipe; --print-config shows what one says):
  """


class Parser(argparse.ArgumentParser):
    """argparse that reports through UsageError and names the nearest flag."""

    def __init__(self, **options):
        """Those of argparse.ArgumentParser; every command also has --debug, which errors.exit_code_of reads."""
        super().__init__(**options)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error too")

    def error(self, message):
        """Raise what exit_code_of turns into one line and exit code 2."""
        if "expected one argument" in message and "levels" in message:
            message += " (write --levels=-1,0,1 when the first level is negative)"
        raise UsageError(f"{message}; see --help")

    def parse_known_and_refuse_others(self, argv):
        """The namespace; UsageError names the flag that was probably meant."""
        known, others = self.parse_known_args(argv)
        if others:
            if not others[0].startswith("-"):
                raise UsageError(f"{others[0]}: unexpected argument; see --help")
            name = others[0].partition("=")[0]
            flags = [flag for action in self._actions for flag in action.option_strings]
            near = did_you_mean(name, flags).partition("?")
            hint = f"{near[0]}?" if near[1] else "see --help"
            raise UsageError(f"{others[0]}: no such flag; {hint}")
        return known


def train_parser() -> Parser:
    """Every setting as a flag; only flags that were given appear in the namespace."""
    parser = Parser(prog="python -m tinyq.train", usage="python -m tinyq.train [--flag value ...]",
                    argument_default=argparse.SUPPRESS, allow_abbrev=False,
                    description="Train a network whose weights are constrained to a few values.",
                    epilog=EXAMPLES + "\n  ".join(RECIPES), formatter_class=argparse.RawDescriptionHelpFormatter)
    groups = {title: parser.add_argument_group(title) for title in (f.metadata["group"] for f in FIELDS.values())}
    for name, setting in FIELDS.items():
        rule, names = setting.metadata, _names_of(name)
        text = f"{rule['help']}: {', '.join(names)}" if names else rule["help"]
        _add(groups[rule["group"]], name, config.kind_of(KINDS[name]), setting.default, text, rule["short"])
    _add_owners(parser)
    _add_actions(parser.add_argument_group("files and actions"))
    return parser


def given(namespace) -> tuple[dict, dict]:
    """The namespace as (settings, actions)."""
    values = {name.replace("-", "_"): value for name, value in vars(namespace).items()}
    actions = {name: values.pop(name) for name in ("config", "resume", "print_config", "dry_run") if name in values}
    return values, actions


def _names_of(setting):
    """The names a setting can take, where a table somewhere has them."""
    from tinyq import data, methods, models, optim, schedules

    return list({"model": models.REGISTRY, "data": data.READERS, "method": methods.METHODS, "opt": optim.OPTIMIZERS,
                 "schedule": schedules.SCHEDULES}.get(setting, ()))


def _add(group, name, kind, default, text, short=None):
    flags = [*filter(None, [short]), "--" + name.replace("_", "-")]
    shown = "" if default is None else f" (default: {default})"
    text = text.replace("%", "%%") + shown
    if kind is bool:
        group.add_argument(*flags, dest=name, action=argparse.BooleanOptionalAction, help=text)
    else:
        metavar = "PATH" if name in config.PATHS else {int: "N", float: "X", str: "NAME"}[kind]
        group.add_argument(*flags, dest=name, metavar=metavar, help=text)


def _add_owners(parser):
    for owner, maker in config.owners().items():
        parameters = config.own_parameters(owner)
        group = parser.add_argument_group(f"of {owner} alone", inspect.getdoc(maker)) if parameters else None
        for name, parameter in parameters.items():
            _add(group, f"{owner}.{name}", config.kind_of_parameter(parameter), parameter.default, "")


def _add_actions(group):
    group.add_argument("--config", metavar="FILE.toml", help="read settings from a file; flags beat it")
    group.add_argument("--resume", metavar="RUN", help="go on with an interrupted run, bit for bit; its own "
                       "settings hold, and only --max-steps, --threads, -j, --print-freq, --checkpoint-minutes and "
                       "--data-path (data that were moved) may be given anew")
    group.add_argument("--print-config", action="store_true", help="print the settings as TOML and stop")
    group.add_argument("--dry-run", action="store_true", help="print the plan and stop")
