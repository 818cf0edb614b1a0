"""LeNet on MNIST by CBP to each of the four level sets: the table in the README.

    python bench/mnist_lenet.py --data-path DIR [--output runs/mnist] [--threads 2]

Each row is one `python -m tinyq.train` (the command is printed); a finished run is read, not repeated.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

from timing import machine

from tinyq.levels import NAMED


def run(levels, args):
    """The result of one training, from its folder if it is there."""
    folder = args.output / levels
    command = [sys.executable, "-m", "tinyq.train", "--model", "lenet", "--data", "mnist", "--method", "cbp",
               "--levels", levels, "--data-path", args.data_path, "--seed", str(args.seed), "--output", str(folder)]
    if args.threads:
        command += ["--threads", str(args.threads)]
    if not (folder / "result.json").exists():
        print("python", *command[1:], file=sys.stderr)
        subprocess.run(command, check=True, stdout=sys.stderr)
    return json.loads((folder / "result.json").read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{machine()}; seed {args.seed}\n")
    print("| levels | float test error | constrained test error | on levels | bytes float | bytes packed |")
    print("|---|---|---|---|---|---|")
    for levels in NAMED:
        r = run(levels, args)
        print(f"| {levels} | {100 * (1 - r['test_accuracy_float']):.2f} % | {100 * (1 - r['test_accuracy']):.2f} % | "
              f"{100 * r['on_levels']:.0f} % | {r['bytes_float']:,} | {r['bytes_packed']:,} |")


if __name__ == "__main__":
    main()
