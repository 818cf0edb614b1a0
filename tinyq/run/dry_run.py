"""Plan of a run: what a configuration would do."""
from tinyq import levels
from tinyq.data import DataBundle
from tinyq.data.local.filters import described
from tinyq.data.named_data import shown_name
from tinyq.output.counting import counted
from tinyq.output.quoting import shown
from tinyq.output.text_table import table
from tinyq.run.build import build
from tinyq.run.phases import BACKPROP
from tinyq.run.result import sets_of, weights_by_set
from tinyq.run.settings.config import Config
from tinyq.run.step_memory import memory_of
from tinyq.saved.layer_sizes import Size, sizes
from tinyq.saved.run_folder import PACKED_FILE


def headline(config: Config) -> str:
    """Name model, data, method, levels and seed in one line."""
    where = f" to {config.levels}" if config.method != BACKPROP else ""
    kept = f", {config.keep} float" if config.keep else ""
    data = shown_name(config.data, config.data_path)
    return f"{config.model} on {data}, {config.method}{where}{kept}, seed {config.seed}"


def splits(bundle: DataBundle) -> str:
    """List the number of samples of each split, and of the files that were passed over."""
    parts = {name: getattr(bundle, name) for name in ("train", "validation", "test")}
    text = ", ".join(f"{name} {len(part):,}" for name, part in parts.items() if part is not None)
    text += "" if bundle.validation is not None else " (no validation split: its samples train)"
    passed_over = bundle.read.get("passed_over")
    return f"{text}; passed over: {shown(described(passed_over))}" if passed_over else text


def not_packed(reason: str) -> str:
    """Say before training that the run will have no packed file."""
    return f"{reason}; the run trains and evaluates it, without a {PACKED_FILE}"


def plan(config: Config) -> list[str]:
    """Describe data, phases, steps, sizes and memory in lines; a few steps on smaller batches estimate the memory."""
    job = build(config)
    planned = levels.parse(config.levels) if config.levels else None
    layers = sizes(job.model, planned)
    steps = -(-len(job.loader) // config.accumulate)
    constrained = [size for size in layers if size.set_name]
    lines = [
        f"data         {splits(job.bundle)}",
        f"input        {job.bundle.input_shape}, {job.bundle.num_classes} classes",
        *(f"phase        {phase.name}: {phase.epochs} epochs of {steps:,} steps, {type(phase.optimizer).__name__}, "
          f"lr {phase.optimizer.groups[0]['lr']:g}" for phase in job.phases),
        *([f"ends         after step {config.max_steps:,}, by --max-steps"] if config.max_steps is not None else []),
        *([f"ends         after {counted(config.early_stopping, 'epoch')} of {config.method} without a better "
           "validation figure, by --early-stopping"] if config.early_stopping else []),
        f"parameters   {sum(size.count for size in layers if size.trained):,}" + (
            f", {_by_set(constrained)}" if planned else ", all of them float"),
    ]
    memory = memory_of(job)
    lines.append(f"memory       {memory}" if memory else f"memory       not estimated: {config.method} stores what the "
                 "whole network computes for each of its samples")
    lines += [f"packed file  {not_packed(job.unpackable)}"] if job.unpackable else []
    if not planned:
        return lines
    rows = [[size.name, "x".join(map(str, size.shape)), size.count, size.set_name, size.bits] for size in constrained]
    return lines + table(["constrained", "shape", "weights", "levels", "bits"], rows)


def _by_set(constrained: list[Size]) -> str:
    """Say how many weights are constrained, and to which levels."""
    bits = {str(size.set_name): counted(size.bits, "bit") for size in constrained}
    counts = weights_by_set(sets_of(constrained))
    total = f"{sum(counts.values()):,} of them constrained"
    if len(counts) == 1:
        return total + "".join(f" to {name} ({bits[name]})" for name in counts)
    return f"{total}: " + ", ".join(f"{count:,} to {name} ({bits[name]})" for name, count in counts.items())
