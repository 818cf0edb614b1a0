"""Cost of CoNNTrA on ImageNet-size networks: seconds per visit, and days per pass over all parameters.

    python bench/conntra_photographs.py [--networks alexnet resnet18] [--samples 32] [--visits 50] [--threads 2]

The samples are noise of 3x224x224 with random labels, the weights random: neither changes the cost of a visit much.
"""
import argparse
import time

import numpy as np
from common.timing import machine

from tinyq import kernels, models
from tinyq.data import Table
from tinyq.methods import CoNNTrA
from tinyq.streams import Streams

SHAPE, CLASSES, DAY = (3, 224, 224), 1000, 86400


def seconds_a_visit(name, samples, visits):
    """Return (seconds, parameters, whether the network is searched as a chain)."""
    streams = Streams(0)
    model = models.build(name, CLASSES, SHAPE, "all").initialise(streams)
    stream = streams.key("bench", name)
    x = stream.normal((samples, *SHAPE)).astype(np.float32)
    method = CoNNTrA(error="cross-entropy")
    method.begin(model, None, Table(x, stream.integers(0, CLASSES, samples)), streams)
    total = len(method.search.codes)
    picks = stream.integers(0, total, visits)
    method.search.visit(picks[:2])
    start = time.perf_counter()
    method.search.visit(picks)
    return (time.perf_counter() - start) / visits, total, not method.notice


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["alexnet", "resnet18", "googlenet"])
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--visits", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    kernels.set_threads(args.threads)
    print(f"{machine()}; {args.threads} threads, {args.samples} samples, ternary, cross-entropy")
    for name in args.networks:
        seconds, total, chain = seconds_a_visit(name, args.samples, args.visits)
        how = "changes carried forward" if chain else "the network from the layer on"
        print(f"{name:10} {seconds:8.4f} s per visit ({how}), {total:,} visits per pass: "
              f"{seconds * total / DAY:,.0f} days", flush=True)


if __name__ == "__main__":
    main()
