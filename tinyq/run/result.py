"""Result of a run: result.json, and the table printed at its end."""
from collections.abc import Callable

from tinyq.data import Dataset
from tinyq.files.weights import Weights, weights_sha256
from tinyq.nn import Module
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.figures import curves
from tinyq.saved.layer_sizes import on_levels, sizes
from tinyq.saved.measure import measure
from tinyq.saved.model_file import views
from tinyq.saved.text_table import table


def outcome(job: Job, position: Position, weights: Weights, before_batch: Callable[[], None] | None = None) -> dict:
    """Make result.json of a finished run; accuracies are of the saved weights, None where the split is missing.

    before_batch: as for measure.
    """
    config, bundle = job.config, job.bundle
    layers = sizes(job.model)
    test, validation = (_accuracy(job, part, before_batch) for part in (bundle.test, bundle.validation))
    return {
        "model": config.model, "data": config.data, "method": config.method, "levels": config.levels,
        "constrain": config.constrain, "recipe": config.recipe, "seed": config.seed,
        "steps": position.steps, "method_stepped": position.epoch > 0 or position.batch > 0,
        "seconds": round(position.seconds, 1),
        "validation_accuracy": validation,
        "test_accuracy_float": position.test_accuracy_float if views(job.model) else test,
        "test_accuracy": test,
        "on_levels": on_levels(job.model),
        "constrained_weights": sum(size.count for size in layers if size.set_name),
        "parameters": sum(size.count for size in layers if size.trained),
        "bytes_float": sum(size.bytes_float for size in layers),
        "bytes_packed": sum(size.bytes_packed for size in layers),
        "weights_sha256": weights_sha256(weights.state),
        "samples": {name: len(part) for name in ("train", "validation", "test")
                    if (part := getattr(bundle, name)) is not None},
        "skipped": bundle.skipped,
        "data_sha256": bundle.manifest["sha256"],
    }


def histograms(model: Module) -> dict:
    """Histograms of the latent weights of each constrained layer, by name."""
    parameters = dict(model.named_parameters())
    return {name: curves.histogram_of(view.normalised(parameters[name].data), view.level_set.values)
            for name, view in views(model).items()}


def summary(outcome: dict) -> list[str]:
    """Make the lines of the table at the end of a run; they say if the method took no step."""
    stepped = outcome["method_stepped"]
    name = "float" if stepped or outcome["on_levels"] is not None else "initial, no step taken"
    rows = [[name, _percent(outcome["test_accuracy_float"]), outcome["bytes_float"]]]
    count = sum(outcome["skipped"].values())
    skipped = [f"unreadable images left out: {count}"] if count else []
    if outcome["on_levels"] is None:
        return [*table(["network", "test accuracy", "bytes"], rows), *skipped]
    name = f"{outcome['levels']} ({outcome['method']}{'' if stepped else ', no step taken'})"
    rows.append([name, _percent(outcome["test_accuracy"]), outcome["bytes_packed"]])
    share = outcome["bytes_float"] / outcome["bytes_packed"]
    lines = [*table(["network", "test accuracy", "bytes"], rows),
             f"{outcome['on_levels']:.2%} of {outcome['constrained_weights']:,} constrained weights are exactly on "
             f"their levels; packed {share:.1f} times smaller"]
    if outcome.get("bytes_packed_file"):
        lines.append(f"model.tq.h5: {outcome['bytes_packed_file']:,} bytes with all that describes the network")
    return [*lines, *skipped]


def _accuracy(job: Job, dataset: Dataset | None, before_batch: Callable[[], None] | None) -> float | None:
    if dataset is None:
        return None
    return measure(job.model, dataset, job.bundle.num_classes, job.bundle.input_shape, before_batch).accuracy


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2%}"
