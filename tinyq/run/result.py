"""Result of a run: result.json, and the table printed at its end."""
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyq import kernels, levels
from tinyq.data import Dataset
from tinyq.files.weights import Weights, weights_sha256
from tinyq.methods import METHODS
from tinyq.nn import Module
from tinyq.output.text_table import table
from tinyq.own_code import code_in
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.figures import curves
from tinyq.run.settings import plugins
from tinyq.saved.layer_sizes import Size, on_levels, sizes
from tinyq.saved.measure import measure
from tinyq.saved.model_file import views
from tinyq.saved.run_folder import PACKED_FILE, code_flags, resume_command
from tinyq.tasks.task import FIGURE_NAMES, SPLITS, figure_text, shown_of

# what may end a run
EARLY_STOPPING, METHOD, EPOCHS, MAX_STEPS = "early_stopping", "method", "epochs", "max_steps"
FAR = 0.1                               # mean distance from the levels, in their least gaps, of what has not converged


def outcome(job: Job, position: Position, weights: Weights, moved: float | None,
            before_batch: Callable[[], None] | None = None) -> dict:
    """Make result.json of a finished run; figures are of the saved weights, None where the split is missing.

    moved: distance_from_levels before the method finished; before_batch: as for measure.
    """
    config, bundle = job.config, job.bundle
    layers = sizes(job.model)
    test, validation = (_figures(job, part, before_batch) for part in (bundle.test, bundle.validation))
    test_float = position.test_float if views(job.model) else test
    return {
        "model": config.model, "data": config.data, "method": config.method, "levels": config.levels,
        "constrain": config.constrain, "keep": config.keep, "loss": config.loss, "recipe": config.recipe,
        "seed": config.seed,
        "steps": position.steps, "ended_by": _ended_by(job, position),
        "method_stepped": position.epoch > 0 or position.batch > 0,
        "seconds": round(position.seconds, 1),
        **{layout.format(name): None if found is None else found[name]
           for (layout, _), found in zip(SPLITS, (validation, test_float, test), strict=True)
           for name in job.loss.task.figures},
        "on_levels": on_levels(job.model), "moved_by_finish": moved,
        "constrained_weights": sum(size.count for size in layers if size.set_name),
        "sets": sets_of(layers),
        "parameters": sum(size.count for size in layers if size.trained),
        "bytes_float": sum(size.bytes_float for size in layers),
        "bytes_packed": sum(size.bytes_packed for size in layers),
        "weights_sha256": weights_sha256(weights.state),
        **({"plugin": config.plugin} if config.plugin else {}),
        "samples": {name: len(part) for name in ("train", "validation", "test")
                    if (part := getattr(bundle, name)) is not None},
        "skipped": bundle.skipped,
        "data_sha256": bundle.manifest["sha256"],
    }


def sets_of(layers: list[Size]) -> dict[str, dict]:
    """Return the set, the bits of a code and the number of weights of each constrained parameter, by dotted name."""
    return {size.name: {"levels": size.set_name, "bits": size.bits, "weights": size.count}
            for size in layers if size.set_name}


def weights_by_set(sets: dict[str, dict]) -> dict[str, int]:
    """Return the number of weights on each set of levels, by its name; sets: of sets_of."""
    counts: dict[str, int] = {}
    for one in sets.values():
        counts[one["levels"]] = counts.get(one["levels"], 0) + one["weights"]
    return counts


def histograms(model: Module) -> dict:
    """Histograms of the latent weights of each constrained layer, by name."""
    parameters = dict(model.named_parameters())
    return {name: curves.histogram_of(view.normalised(parameters[name].data), view.level_set.values)
            for name, view in views(model).items()}


def _ended_by(job: Job, position: Position) -> str:
    """Say what ended the run."""
    phase = job.phases[position.phase]
    if phase.stopping.done:
        return EARLY_STOPPING
    if phase is job.phases[-1] and phase.method.done:
        return METHOD
    return EPOCHS if phase is job.phases[-1] and position.epoch >= phase.epochs else MAX_STEPS


def distance_from_levels(model: Module) -> float | None:
    """Return the mean distance of the constrained weights from their levels, in scales; None without such weights."""
    parameters, total, count = dict(model.named_parameters()), 0.0, 0
    for name, view in views(model).items():
        distances = view.level_set.distance(view.normalised(parameters[name].data))
        total, count = total + kernels.sum(distances.reshape(-1), (0,)).item(), count + distances.size
    return total / count if count else None


def has_converged(outcome: dict) -> bool:
    """Return False if the method pulls weights to their levels, and they were far from them at its end."""
    moved = outcome["moved_by_finish"]
    if moved is None or not _stronger_pull(outcome["method"]):
        return True
    gaps = [(one["weights"], min(np.diff(levels.parse(one["levels"]).of(name).values)))
            for name, one in outcome["sets"].items()]
    return moved * sum(count for count, _ in gaps) <= FAR * sum(count * gap for count, gap in gaps)


def _stronger_pull(method: str) -> str:
    return getattr(METHODS.get(method), "stronger_pull", "")


def summary(outcome: dict) -> list[str]:
    """Make the lines of the table at the end of a run; they say if the method took no step."""
    stepped = outcome["method_stepped"]
    name = "float" if stepped or outcome["on_levels"] is not None else "initial, no step taken"
    figures = shown_of(outcome, "test_{}")
    heads = ["network", *(f"test {FIGURE_NAMES[figure]}" for figure in figures), "bytes"]
    rows = [[name, *(figure_text(figure, outcome[f"test_{figure}_float"]) for figure in figures),
             outcome["bytes_float"]]]
    count = sum(outcome["skipped"].values())
    skipped = [f"unreadable images left out: {count}"] if count else []
    if outcome["on_levels"] is None:
        return [*table(heads, rows), *skipped]
    name = f"{outcome['levels']} ({outcome['method']}{'' if stepped else ', no step taken'})"
    rows.append([name, *(figure_text(figure, outcome[f"test_{figure}"]) for figure in figures),
                 outcome["bytes_packed"]])
    share = outcome["bytes_float"] / outcome["bytes_packed"]
    lines = [*table(heads, rows),
             f"{outcome['on_levels']:.2%} of {outcome['constrained_weights']:,} constrained weights are exactly on "
             f"their levels{_by_set(outcome)}; packed {share:.1f} times smaller",
             f"finish moved them by {outcome['moved_by_finish']:.2%} of their scale on average"]
    if outcome.get("bytes_packed_file"):
        lines.append(f"model.tq.h5: {outcome['bytes_packed_file']:,} bytes with all that describes the network")
    return [*lines, *skipped]


def _by_set(outcome: dict) -> str:
    """Return the number of weights on each set, where there are several."""
    counts = weights_by_set(outcome["sets"])
    return f": {', '.join(f'{count:,} {name}' for name, count in counts.items())}" if len(counts) > 1 else ""


def remedy(outcome: dict, folder: str | Path) -> list[str]:
    """Return a line of advice where the method has not converged."""
    if has_converged(outcome):
        return []
    method = outcome["method"]
    if outcome["ended_by"] == MAX_STEPS:
        return [f"{method} has not converged, because --max-steps ended it; to continue: {resume_command(folder)} "
                "--max-steps N"]
    flag = f"--{method}.{_stronger_pull(method).replace('_', '-')}"
    longer = (f"train for more epochs ({resume_command(folder)} --epochs N), or start again with a larger {flag}"
              if outcome["ended_by"] != EARLY_STOPPING else
              f"start again with a larger --early-stopping, or with a larger {flag}")
    return [f"{method} has not converged: its weights were far from their levels; {longer}"]


def next_commands(outcome: dict, folder: str | Path) -> list[str]:
    """Return the commands that a user may want next."""
    run, code = str(folder), code_in(outcome)
    network = code_flags(folder, code, ("model", "plugin"))
    own = code_flags(folder, code, ("data",))
    split = [] if "test" in outcome["samples"] else ["--split", *[
        name for name in ("validation", "train") if name in outcome["samples"]][:1]]
    commands = [["evaluate", run, *network, *own, *split]]
    if (Path(folder) / PACKED_FILE).is_file():
        reader = code_flags(folder, code, ("plugin",)) if plugins.adds("data", outcome["data"]) else []
        commands.append(["infer", str(Path(folder) / PACKED_FILE), *(own or ["--data"]), *split, *reader])
    if "ledger_head" in outcome:
        commands.append(["audit", "verify", run, *(["--trust"] if code else [])])
    return [shlex.join(["python", "-m", f"tinyq.{name}", *rest]) for name, *rest in commands]


def _figures(job: Job, dataset: Dataset | None, before_batch: Callable[[], None] | None) -> dict | None:
    if dataset is None:
        return None
    return measure(job.model, dataset, job.bundle.num_classes, job.bundle.input_shape, before_batch,
                   loss=job.loss).figures
