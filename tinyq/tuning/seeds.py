"""One setting with several seeds: independent runs in one folder, each resumable, and a summary of their figures."""
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from tinyq.compare.comparison_tables import as_lines, as_markdown, figures_json, tables_of
from tinyq.compare.groups import Group
from tinyq.compare.overlay import overlay
from tinyq.compare.run_record import Run, read_runs
from tinyq.errors import BadInput, CannotCreate, Diverged, UsageError
from tinyq.files.atomic import make_folder, make_numbered_folder, temporaries, write_text
from tinyq.files.lock import locked, removed_if_empty
from tinyq.files.own_folder import check_not_shared, check_own_folder
from tinyq.files.read import read_file
from tinyq.output.terminal import folded, output_width
from tinyq.own_code.code_names import code_in, copy_names
from tinyq.run import checkpoint, session
from tinyq.run.observers.observer import log
from tinyq.run.observers.signals import Stopped
from tinyq.run.result import summary
from tinyq.run.session import RESUMABLE, ObserversFor
from tinyq.run.settings.config import FIELDS, Config, converted
from tinyq.run.settings.resolve import Resolved
from tinyq.run.settings.toml_file import read_flat
from tinyq.saved.run_folder import CHECKPOINTS, CONFIG_FILE, anchored

SUMMARY_FILE, TABLES_FILE, CURVES_FILE = "seeds.json", "seeds.md", "seeds.svg"
MAX_SEEDS = 1000

ResolvedFor = Callable[[int, str], Resolved]        # of a seed and the folder of its run


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of "0,1,2"; UsageError where they are none, or one is given twice."""
    seeds = [converted("seed", part.strip(), "--seeds ") for part in text.split(",")]
    if len(set(seeds)) < len(seeds) or len(seeds) > MAX_SEEDS:
        raise UsageError(f"--seeds {text}: give each seed once, and at most {MAX_SEEDS} of them")
    return seeds


def folder_for(config: Config) -> Path:
    """Return the folder of the runs, made if it is missing; CannotCreate where it holds something else."""
    if not config.output:
        model = Path(str(config.model).partition(":")[0]).stem
        return make_numbered_folder("runs", f"{model}-{Path(config.data).stem}-{config.method}-seeds")
    folder = Path(config.output)
    if folder.is_dir():
        check_not_shared(folder)
        check_own_folder(folder)
        ours = {".lock", SUMMARY_FILE, TABLES_FILE, CURVES_FILE, *(path.name for path in temporaries(folder))}
        if any(path.name not in ours and not path.name.startswith("seed-") for path in folder.iterdir()):
            raise CannotCreate(f"{folder}: holds something else than the runs of --seeds; choose another --output")
    return make_folder(folder)


def train_seeds(seeds: Sequence[int], folder: Path, resolved_for: ResolvedFor, changes: dict,
                observers_for: ObserversFor, command: str) -> list[str]:
    """Train what is missing of a run for each seed; return the summary's lines, which files in the folder say too.

    changes: settings for runs that are resumed. command: continues all of it, for messages. Raises UsageError for a run
    in the folder with other settings; a run that diverges does not stop the others, and Diverged names it at the end.
    """
    diverged = []
    with removed_if_empty(folder), locked(folder):
        for number, seed in enumerate(seeds, 1):
            run = folder / f"seed-{seed}"
            log(f"seed {seed}, {number} of {len(seeds)}: {run}")
            try:
                outcome = _train(run, resolved_for(seed, str(run)), changes, observers_for)
                log(*folded(summary(outcome), output_width()))
            except Diverged as error:
                log(f"tinyq: seed {seed}: {error}; the other seeds go on")
                diverged.append(seed)
            except Stopped as error:
                raise Stopped(error.exit_code - 128, f"seed {seed} stopped; go on with: {command}") from error
        lines = _summarise(folder)
    if diverged:
        named = ", ".join(map(str, diverged))
        raise Diverged(f"{folder}: the runs of seed {named} diverged, and are not in the summary")
    return lines


def _train(run: Path, resolved: Resolved, changes: dict, observers_for: ObserversFor) -> dict:
    """Start the run, or continue it where it has a checkpoint; return its result."""
    if not checkpoint.any_in(run / CHECKPOINTS):
        return session.start(resolved, observers_for)[0]
    config = anchored(resolved).config
    _check_same_settings(run, config)
    return session.resume(run, changes, observers_for, trust=_has_the_same_code(run, config))[0]


def _check_same_settings(run: Path, config: Config) -> None:
    """Raise UsageError where a run has other settings, but for those that change no bit."""
    given = {key: value for key in FIELDS if (value := getattr(config, key)) is not None}
    given |= {f"{name}.{key}": value for name, values in config.options.items() for key, value in values.items()
              if value is not None}
    held, moving = read_flat(run / CONFIG_FILE), (*RESUMABLE, "output", "recipe")
    differing = [f"{key} is {held.get(key, 'not set')} there, {given.get(key, 'not set')} here"
                 for key in {**held, **given} if key not in moving and held.get(key) != given.get(key)]
    if differing:
        raise UsageError(f"--seeds: {run} has other settings ({'; '.join(differing)}); give those, or another --output")


def _has_the_same_code(run: Path, config: Config) -> bool:
    """Return True if the run has code of the user's own, and its copies are the files that the command line names."""
    names = copy_names(code_in(vars(config)))
    for path, name in names.items():
        if read_file(path) != read_file(run / name):
            raise BadInput(f"{run / name}: differs from {path}, which the command line names; restore that, or choose "
                           "another --output")
    return bool(names)


def _summarise(folder: Path) -> list[str]:
    """Write the summary of all finished runs in the folder, in three forms; return it as lines."""
    runs = [run for run in read_runs([folder]) if run.result]
    if not runs:
        return []
    group = Group(1, _headline(runs), runs)
    tables = tables_of([group])
    write_text(folder / CURVES_FILE, str(overlay([group])))
    write_text(folder / TABLES_FILE, as_markdown(tables, CURVES_FILE))
    figures = {"seeds": [run.result.get("seed") for run in runs], **figures_json(group, runs)}
    write_text(folder / SUMMARY_FILE, json.dumps(figures, indent=2) + "\n")
    return [*as_lines(tables, output_width()), f"written: {folder / SUMMARY_FILE}, {TABLES_FILE} and {CURVES_FILE}"]


def _headline(runs: list[Run]) -> str:
    settings = runs[0].settings
    return ", ".join(settings[key] for key in ("model", "data", "method", "levels") if key in settings)
