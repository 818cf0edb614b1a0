"""The cost of the ledger's record of a training step: the same step with and without it, alternating.

    python bench/audit.py [--networks lenet alexnet resnet18] [--threads 2] [--pairs 15]
    python bench/audit.py --sizes               bytes per record only, no timing
    python bench/audit.py --long                memory and time of an audit of 100,000 steps

One step of plain backprop (forward, backward, SGD with momentum) in each of two processes; the ratio is of times in
one round. A record holds digests of the input, of the results of every primitive and vjp, of gradients and weights.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from common.timing import Contender, interleave, machine, serve, summary

from tinyq import data, kernels, models, optim, schedules
from tinyq.audit.ledger.hash_chain import NOTHING_BEFORE, Ledger, encode
from tinyq.audit.recording.recorder import Recorder
from tinyq.methods import Backprop
from tinyq.run.checkpoint import Position
from tinyq.run.phases import Phase
from tinyq.streams import Streams

# network -> batch, image shape, classes, steps in a turn
NETWORKS = {"lenet": (64, (1, 28, 28), 10, 100), "alexnet": (16, (3, 224, 224), 1000, 2),
            "resnet18": (16, (3, 224, 224), 1000, 2)}
AUDITS = ("off", "digests", "sha256")
LONG_RUN = ("--model", "mlp:8", "--data", "digits", "--method", "backprop", "--recipe", "none", "--batch-size", "1",
            "--epochs", "80", "--lr", "0.001", "--threads", "1", "--workers", "0")
# Runs a command and prints its peak memory in KiB and its CPU time.
MEASURED = """
import resource, sys, tinyq.__main__
code = tinyq.__main__.main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
sys.exit(code)
"""


def step_of(name, audit, threads, keep=None):
    """Return a function that makes one step, with a ledger in a temporary folder (or `keep`) unless `audit` is off."""
    kernels.set_threads(threads)
    batch_size, shape, classes, _ = NETWORKS[name]
    streams = Streams(0)
    model = models.build(name, classes, shape).initialise(streams)
    stream = streams.key("bench")
    batch = data.Batch(stream.normal((batch_size, *shape)).astype(np.float32),
                       stream.integers(0, classes, batch_size), np.arange(batch_size))
    method, optimizer = Backprop(), optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    method.begin(model, optimizer, None, streams)
    model.key_step(streams, 0, 0)
    phase = Phase("float", method, optimizer, schedules.build("constant"), 1, 0)
    job = SimpleNamespace(model=model, config=SimpleNamespace(accumulate=1),
                          loader=SimpleNamespace(samples=lambda batch, count: batch_size))
    if audit == "off":
        return lambda: method.step([batch])
    recorder = Recorder(audit, keep or Ledger(Path(tempfile.mkdtemp()) / "ledger.jsonl", None).add)
    recorder.begin(job, ".", Position())
    recorder.begin_phase(phase, Position(), False)

    def step():
        with recorder.step(phase, Position(), [batch]):
            method.step([batch])

    return step


def record_bytes(name, threads):
    """Return the length of the record of one step, in bytes."""
    records = []
    step_of(name, "digests", threads, records.append)()
    return len(encode(records[-1], NOTHING_BEFORE))


def measured(*arguments):
    """Run a tinyq command in a process of its own; return (peak memory in MiB, CPU seconds, its last line)."""
    run = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True)
    *lines, (peak, seconds) = *run.stdout.splitlines()[:-1], run.stdout.splitlines()[-1].split()
    return int(peak) / 1024, float(seconds), lines[-1]


def long_ledger():
    """Train 100,590 steps, one sample each, and print what an audit of them takes."""
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        for line, arguments in {
                "train": ("train", *LONG_RUN, "--output", run),
                "verify": ("audit", "verify", run), "replay --step 50000": ("audit", "replay", run, "--step", "50000"),
                "show --step 50000": ("audit", "show", run, "--step", "50000"),
                "train --resume": ("train", "--resume", run, "--max-steps", "100591")}.items():
            peak, seconds, said = measured(*arguments)
            print(f"{line:20} peak {peak:6.0f} MiB, {seconds:6.1f} s CPU: {said[:60]}", flush=True)
        print(f"ledger: {Path(run, 'ledger.jsonl').stat().st_size / 2**20:.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--audits", nargs="*", default=["digests"], choices=AUDITS[1:])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--long", action="store_true", help="audit a run of 100,000 steps, and stop")
    parser.add_argument("--sizes", action="store_true", help="print the bytes per record and stop")
    parser.add_argument("--serve", nargs=2, metavar=("AUDIT", "NETWORK"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.serve:
        return serve(step_of(args.serve[1], args.serve[0], args.threads))
    if args.long:
        return long_ledger()
    if args.sizes:
        for name in args.networks:
            print(f"{name:10} {record_bytes(name, args.threads):,} bytes per record")
        return None
    print(f"{machine()}; {args.threads} threads")
    for name in args.networks:
        for audit in args.audits:
            contenders = [Contender(__file__, "--threads", str(args.threads), "--serve", kind, name)
                          for kind in (audit, "off")]
            measured = interleave(*contenders, args.pairs, repeat=NETWORKS[name][3])
            for contender in contenders:
                contender.close()
            found = summary(measured)
            extra = statistics.median(1e3 * (ours - without) for ours, without in measured)
            print(f"{name:10} batch {NETWORKS[name][0]}  {audit:6} {found['ours_ms']:8.2f} ms   off "
                  f"{found['baseline_ms']:8.2f} ms   {extra:+.2f} ms, {found['ratio'] - 1:+.1%} "
                  f"(quartiles {found['low'] - 1:+.1%} to {found['high'] - 1:+.1%}, {found['pairs']} rounds)",
                  flush=True)
    return None


if __name__ == "__main__":
    main()
