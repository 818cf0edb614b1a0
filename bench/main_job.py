"""Measure the main job, `python -m tinyq.train` without arguments: accuracy, and seconds cold and warm.

    python bench/main_job.py [--threads 2] [--warm 3]

Cold means an empty folder of compiled kernels. The rows are read from each run's result.json.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common.timing import machine


def train(folder, cache, threads):
    """Run the whole command; return its seconds and its result."""
    command = [sys.executable, "-m", "tinyq.train", "--threads", str(threads), "--output", str(folder)]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "TINYQ_CACHE": str(cache)})
    return time.perf_counter() - start, json.loads((folder / "result.json").read_text())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warm", type=int, default=3)
    args = parser.parse_args()
    print(f"{machine()}; {args.threads} threads\n")
    print("| run | seconds | float test accuracy | ternary test accuracy | on levels | bytes float | bytes packed |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for i in range(1 + args.warm):
            seconds, r = train(Path(folder) / f"run{i}", Path(folder) / "cache", args.threads)
            print(f"| {'warm' if i else 'cold'} | {seconds:.0f} | {100 * r['test_accuracy_float']:.2f} % | "
                  f"{100 * r['test_accuracy']:.2f} % | {100 * r['on_levels']:.0f} % | {r['bytes_float']:,} | "
                  f"{r['bytes_packed']:,} |", flush=True)


if __name__ == "__main__":
    main()
