"""Reproduce an experiment of bench/papers/experiments.py: train, measure, write results/NAME.json, .md and .svg.

    python bench/papers/run.py iris
    python bench/papers/run.py lenet --data-path DIR [--only "cbp-*"] [--runs runs/papers] [--threads 2]

Every run is an ordinary run folder. An interrupted run is resumed; a finished one is read, not repeated. The
files in results/ hold the finished runs.
"""
import argparse
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from card import card  # noqa: E402
from common.timing import machine  # noqa: E402
from experiments import EXPERIMENTS  # noqa: E402
from figure import comparison_figure, figure  # noqa: E402

from tinyq.files.atomic import make_folder, write_text  # noqa: E402

BUSY = 0.5                              # load average above which other work disturbs the timing
SHARES = {"training_error": "train", "validation_error": "test"}       # in the words of the paper


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--data-path", help="the folder of MNIST")
    parser.add_argument("--only", default="*", help="runs whose name matches this pattern")
    parser.add_argument("--runs", type=Path, default=Path("runs/papers"), help="folder of the run folders")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if EXPERIMENTS[args.experiment].data and not args.data_path:
        parser.error(f"{args.experiment}: give --data-path, the folder of {EXPERIMENTS[args.experiment].data}")
    return args


def tinyq(command, *flags, capture=False):
    """Run one of tinyq's commands; return its output."""
    return subprocess.run([sys.executable, "-m", f"tinyq.{command}", *map(str, flags)], check=True, text=True,
                          stdout=subprocess.PIPE if capture else None).stdout


def train(run, args):
    """Train a run, or its rest, if it is not finished; return its folder."""
    folder = args.runs / args.experiment / run.name
    if (folder / "result.json").exists():
        return folder
    print(f"== {args.experiment} {run.name}", flush=True)
    machine_flags = ["--threads", args.threads, *(["--data-path", args.data_path] if args.data_path else [])]
    if (folder / "checkpoints").exists():
        tinyq("train", "--resume", folder, *machine_flags)
    else:
        floats = ["--weights", args.runs / args.experiment / run.floats / "float.h5"] if run.floats else []
        tinyq("train", *run.flags, "--watch-test", *floats, *machine_flags, "--output", folder)
    return folder


def errors(path):
    """Training and test error of a weight file in percent, over all samples of both parts."""
    reports = {name: json.loads(tinyq("evaluate", path, "--split", part, "--json", capture=True))
               for name, part in SHARES.items()}
    return {name: round(100 * (1 - report["top1"]), 2) for name, report in reports.items()}


def measured(run, folder, shared):
    """Entry of results/NAME.json for one run."""
    result = json.loads((folder / "result.json").read_text())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [r for r in records if r["record"] == "epoch"]
    before = [r["seconds"] for r in epochs if r["phase"] == "float"]
    kept = {key: result[key] for key in ("method", "levels", "seed", "on_levels", "weights_sha256")}
    return kept | {
        "command": " ".join(["python -m tinyq.train", *run.flags]), "starts_from": run.floats,
        "float": errors(folder / "float.h5") | {"bytes": result["bytes_float"], "seconds": max(before, default=None)},
        "discrete": errors(folder / "model.h5") | {"bytes": result["bytes_packed"],
                                                   "seconds": round(result["seconds"] - max(before, default=0), 1)},
        "curve": [[r["phase"], r["error"], r["test_error"]] for r in epochs],
        "machine": machine(), "shared_machine": shared}


def main():
    args = arguments()
    experiment = EXPERIMENTS[args.experiment]
    path = make_folder(args.results) / f"{args.experiment}.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for run in experiment.runs:
        if run.name in results or not fnmatch.fnmatch(run.name, args.only):
            continue
        shared = os.getloadavg()[0] > BUSY
        folder = train(run, args)
        results[run.name] = measured(run, folder, shared)
        ordered = {r.name: results[r.name] for r in experiment.runs if r.name in results}
        write_text(path, json.dumps(ordered, indent=1) + "\n")
    write_text(path.with_suffix(".md"), card(args.experiment, experiment, results))
    write_text(path.with_suffix(".svg"), figure(experiment, results))
    if args.experiment == "lenet":
        write_text(path.with_name("lenet-comparison.svg"), comparison_figure(results))
    print(card(args.experiment, experiment, results))


if __name__ == "__main__":
    sys.exit(main())
