"""Write the card of an experiment in Markdown: claimed, reached, gap, command, time, seeds, machine."""
import statistics

from experiments import LEVELS, METHODS, SEEDS

SHOWN = {"validation_error": "test error"}      # the records have the CoNNTrA paper's word for it


def card(name, experiment, results):
    """Format results/NAME.md from results/NAME.json."""
    if not results:
        return f"# {experiment.title}\n\nNo run is finished.\n"
    done = f"{len(results)} of {len(experiment.runs)} runs are finished."
    parts = [f"# {experiment.title}", done]
    if experiment.claimed:
        parts.append(_against_claims(experiment.claimed, _claimed_runs(results)))
    if name == "lenet":
        parts.append("Test error, %, mean and range over the seeds that are finished:\n\n" + comparison(results)
                     + "\n\n![test error of each method and set](lenet-comparison.svg)")
    parts += [f"![training and test error over training]({name}.svg)", " ".join(experiment.notes),
              _commands(results), _machines(results)]
    return "\n\n".join(parts) + "\n"


def comparison(results):
    """Table of method x set: mean test error in percent, its range over the seeds, and the network's bytes."""
    lines = ["| method | float | " + " | ".join(LEVELS) + " | packed bytes, in the same order |",
             "|---" * (len(LEVELS) + 3) + "|"]
    for method in METHODS:
        cells = [_spread(values_of(results, method, LEVELS[1], "float", "validation_error"))]
        cells += [_spread(values_of(results, method, levels, "discrete", "validation_error")) for levels in LEVELS]
        sizes = [values_of(results, method, levels, "discrete", "bytes") for levels in LEVELS]
        packed = ", ".join(f"{size[0]:,}" if size else "not run" for size in sizes)
        lines.append(f"| {method} | {' | '.join(cells)} | {packed} |")
    return "\n".join(lines)


def values_of(results, method, levels, network, key):
    """One metric of the finished seeds; network is "float" or "discrete"."""
    runs = (results.get(f"{method}-{levels}-seed{seed}") for seed in SEEDS)
    return [run[network][key] for run in runs if run]


def _spread(found):
    if not found:
        return "not run"
    seeds = "" if len(found) == len(SEEDS) else f", {len(found)} of {len(SEEDS)} seeds"
    return f"{statistics.mean(found):.2f} ({min(found):.2f} to {max(found):.2f}{seeds})"


def _claimed_runs(results):
    return [run for run in results.values() if (run["method"], run["levels"]) == ("conntra", "ternary")]


def _against_claims(claimed, runs):
    """Compare the median over the runs, with its range, with the published value."""
    if not runs:
        return "No run that the paper makes a claim for is finished."
    lines = ["| | figure | claimed | reached (median) | from | to | gap |", "|---|---|---|---|---|---|---|"]
    for method, network in (("backprop", "float"), ("conntra", "discrete")):
        for key, unit, places in (("training_error", "%", 2), ("validation_error", "%", 2), ("kilobytes", "kB", 2),
                                  ("seconds", "s", 1)):
            values = [run[network]["bytes"] / 1000 if key == "kilobytes" else run[network][key] for run in runs]
            values = sorted(value for value in values if value is not None)
            if values:
                claim, middle = claimed[method][key], statistics.median(values)
                figures = " | ".join(f"{v:.{places}f}" for v in (claim, middle, values[0], values[-1]))
                figure = f"{SHOWN.get(key, key).replace('_', ' ')}, {unit}"
                lines.append(f"| {method} | {figure} | {figures} | {middle - claim:+.{places}f} |")
    return "\n".join(lines)


def _commands(results):
    rows = [f"    {run['command']}" + (f"   (from the float network of {run['starts_from']})"
                                       if run["starts_from"] else "") for run in results.values()]
    return "Commands (the data path, --watch-test and the output folder left out):\n\n" + "\n".join(rows)


def _machines(results):
    machines = sorted({run["machine"] for run in results.values()})
    shared = sum(run["shared_machine"] for run in results.values())
    return (f"Machine: {'; '.join(machines)}. In {shared} of {len(results)} runs other work was running too, so "
            "their seconds are too high.")
