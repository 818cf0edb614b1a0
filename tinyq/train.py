"""`python -m tinyq.train`: train a network whose weights are constrained to a few values."""
import shlex
import sys
from pathlib import Path

from tinyq.command_line import naming_flags
from tinyq.errors import UsageError, exit_code_of
from tinyq.output.terminal import folded, output_width, say
from tinyq.run.settings import plugins
from tinyq.run.settings.config import converted
from tinyq.run.settings.flags import given, named_plugins, train_parser
from tinyq.run.settings.resolve import check_code, resolve, to_toml
from tinyq.run.settings.toml_file import checked, read_flat


def train(**settings: object) -> Path:
    """Train a network as the command does, and return the run folder.

    settings: flags without dashes, with underscores: model="lenet", pretrain_epochs=2, **{"cbp.period": 5}. The rest
    comes from the first recipe that agrees, and the defaults. Raises UsageError for an unknown or unsuitable setting,
    BadInput for unusable data.
    """
    from tinyq.audit import observers_for
    from tinyq.run import session

    plugins.use(converted("plugin", settings["plugin"], "plugin ") if settings.get("plugin") else None)
    _, folder = session.start(resolve(settings), observers_for)
    return folder


def run_command(argv: list[str]) -> None:
    """Train, resume, or print the settings or the plan."""
    plugins.use(named_plugins(argv))                    # first: their methods and data have flags
    settings, actions = given(train_parser().parse(argv))
    _check_actions(settings, actions)
    trust = actions.pop("trust", False)
    if "resume" in actions:
        return _resume(actions["resume"], settings, trust)
    if trust:
        raise UsageError("--trust works only with --resume; to train your own network, name it with --model")
    file = _file(actions["config"], settings) if "config" in actions else {}
    if "seeds" in actions:
        return _train_seeds(actions["seeds"], settings, file, argv)
    resolved = resolve(settings, file)
    if actions.get("print_config"):
        say(*to_toml(resolved).removesuffix("\n").split("\n"))
        return None
    from tinyq.run import dry_run, session
    from tinyq.run.observers.observer import log

    log(f"recipe {resolved.config.recipe}: {dry_run.headline(resolved.config)}")
    if actions.get("dry_run"):
        say(*dry_run.plan(resolved.config))
        return None
    if actions.get("lr_find"):
        from tinyq.tuning import rate_range

        say(*rate_range.as_lines(rate_range.find_rate(resolved.config)))
        return None
    from tinyq.audit import observers_for

    _report(*session.start(resolved, observers_for))
    return None


def _file(path: str, flags: dict) -> dict:
    """Read the settings of --config; BadInput where they name code that no flag names, before any name is looked up."""
    settings = read_flat(path)
    check_code({key: value for key, value in settings.items() if key not in flags})
    return checked(path, settings)


def _check_actions(settings: dict, actions: dict) -> None:
    """Raise UsageError for actions that exclude each other."""
    alone = [name for name in ("resume", "seeds", "print_config", "dry_run", "lr_find") if name in actions]
    others = [*alone[1:], *(["config"] if alone[:1] == ["resume"] and "config" in actions else [])]
    if others:
        flags = ["--" + name.replace("_", "-") for name in (alone[0], others[0])]
        raise UsageError(f"{flags[0]} cannot be combined with {flags[1]}; give one of them")
    if "seeds" in actions and "seed" in settings:
        raise UsageError("--seeds cannot be combined with --seed; give one of them")


def _train_seeds(text: str, settings: dict, file: dict, argv: list[str]) -> None:
    from tinyq.audit import observers_for
    from tinyq.run.session import RESUMABLE
    from tinyq.tuning import seeds

    wanted = seeds.parse_seeds(text)
    folder = seeds.folder_for(resolve({**settings, "seed": wanted[0]}, file).config)
    output = [] if "output" in settings else ["--output", str(folder)]
    say(*seeds.train_seeds(
        wanted, folder, lambda seed, run: resolve({**settings, "seed": seed, "output": run}, file),
        {key: settings[key] for key in RESUMABLE if key in settings}, observers_for,
        shlex.join(["python", "-m", "tinyq.train", *argv, *output])))


def _resume(folder: str, settings: dict, trust: bool) -> None:
    from tinyq.audit import observers_for
    from tinyq.run import session

    _report(*session.resume(folder, settings, observers_for, trust))


def _report(outcome: dict, folder: Path) -> None:
    from tinyq.run import result
    from tinyq.run.observers.observer import log

    log(*folded(result.summary(outcome), output_width()), *result.remedy(outcome, folder))
    if "ledger_head" in outcome:
        head = f"ledger head {outcome['ledger_head']} (keep it elsewhere: it stands for every record)"
        log(*folded([head], output_width()))
    log(f"written to {folder}; next:", *(f"  {command}" for command in result.next_commands(outcome, folder)))


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(naming_flags(run_command, train_parser), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
