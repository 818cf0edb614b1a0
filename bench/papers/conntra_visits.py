"""Compare CoNNTrA's visits with a float32 BLAS forward pass per candidate, on the 60,000 MNIST images.

    python bench/papers/conntra_visits.py --data-path DIR [--models logistic,lenet] [--visits 200] [--baseline-visits 2]

Both contenders make the same visits of the same network in turns, in one process with the same number of threads; the
baseline's candidates are a parameter's other levels. Prints the time per visit of each and their ratio.
"""
import argparse
import os
import statistics
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--models", default="logistic,lenet")
    parser.add_argument("--error", default="rate", choices=("rate", "cross-entropy"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--visits", type=int, default=2000, help="visits by tinyq per turn, spread over all parameters")
    parser.add_argument("--baseline-visits", type=int, default=2, help="visits by the baseline per turn")
    parser.add_argument("--turns", type=int, default=5)
    return parser.parse_args()


class Baseline:
    """The network in float32 with BLAS: products over all images, in batches that stay in the cache."""

    def __init__(self, np, model, images, labels, batch=500):
        self.np, self.labels, self.batch = np, labels, batch
        self.images = images.astype(np.float32)
        self.parameters = [p.data / p.parametrization.scale for p in model.parameters()]
        self.flat = [p.reshape(-1) for p in self.parameters]

    def error(self):
        wrong = 0
        for start in range(0, len(self.images), self.batch):
            logits = self.forward(self.images[start:start + self.batch])
            wrong += self.np.count_nonzero(logits.argmax(axis=1) != self.labels[start:start + self.batch])
        return wrong

    def forward(self, x):
        last = len(self.parameters) - 2
        for k in range(0, last + 2, 2):
            w, b = self.parameters[k:k + 2]
            if w.ndim == 4:
                x = self.convolved(x, w, b, padding=2 if k == 0 else 0)
            else:
                x = x.reshape(len(x), -1) @ w.T
                x += b
                if k < last:
                    self.np.maximum(x, 0, out=x)
        return x

    def convolved(self, x, w, b, padding):
        """Convolution by im2col, 2x2 maxima, ReLU: (n, c, h, w) to (n, c_out, oh / 2, ow / 2)."""
        np = self.np
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
        n, c, h, v = windows.shape[:4]
        columns = np.ascontiguousarray(windows.transpose(0, 1, 4, 5, 2, 3)).reshape(n, -1, h * v)
        y = np.matmul(w.reshape(len(w), -1), columns).reshape(n, -1, h, v)
        y = np.maximum(np.maximum(y[:, :, ::2, ::2], y[:, :, ::2, 1::2]),
                       np.maximum(y[:, :, 1::2, ::2], y[:, :, 1::2, 1::2]))
        y += b[:, None, None]
        return np.maximum(y, 0, out=y)

    def visit(self, picks, levels):
        """Run Algorithm 2 over these picks."""
        best = self.error()
        start = time.perf_counter()
        for pick in picks.tolist():
            values, index = self.entry(pick)
            current = kept = values[index]
            for level in levels:
                error = best_before = best
                if level != current:
                    values[index] = level
                    error = self.error()
                if error <= best_before:
                    best, kept = error, level
            values[index] = kept
        return (time.perf_counter() - start) / len(picks)

    def entry(self, pick):
        for values in self.flat:
            if pick < len(values):
                return values, pick
            pick -= len(values)
        raise IndexError(pick)


def train_an_epoch(model, dataset, streams):
    """Train by plain backprop first: how far a change propagates depends on what the network has learnt."""
    from tinyq.data import Loader
    from tinyq.methods import Backprop
    from tinyq.optim import SGD

    method, optimizer = Backprop(), SGD(model.parameters(), lr=0.02, momentum=0.9)
    method.begin(model, optimizer, dataset, streams)
    for batch in Loader(dataset, 64, streams, shuffle=True).epoch():
        method.step([batch])


def measure(np, name, args):
    from tinyq import data, kernels, models
    from tinyq.methods import CoNNTrA
    from tinyq.streams import Streams

    bundle = data.load("mnist", args.data_path, validation=0, whole=True)
    streams = Streams(0)
    model = models.build(name, 10, bundle.input_shape, "all").initialise(streams)
    train_an_epoch(model, bundle.train, streams)
    method = CoNNTrA(error=args.error)
    method.begin(model, None, bundle.train, streams)
    total = len(method.search.held.codes)
    kernels.visit(streams.key("warm").integers(0, total, 5), method.search.held)
    ours, baselines = [], []
    for turn in range(args.turns):
        baseline = Baseline(np, model, bundle.train.images, bundle.train.labels)
        picks = streams.key("baseline", turn).integers(0, total, args.baseline_visits)
        baselines.append(baseline.visit(picks, method.levels.values))
        picks = streams.key("ours", turn).integers(0, total, args.visits)
        start = time.perf_counter()
        kernels.visit(picks, method.search.held)
        ours.append((time.perf_counter() - start) / args.visits)
    ratios = [b / a for a, b in zip(ours, baselines, strict=True)]
    print(f"{name:9} {args.error:13} tinyq {1e3 * statistics.median(ours):8.2f} ms per visit   forward passes "
          f"{1e3 * statistics.median(baselines):9.1f} ms   {statistics.median(ratios):7.0f} times less "
          f"({min(ratios):.0f} to {max(ratios):.0f} in {args.turns} turns)", flush=True)


def main():
    args = arguments()
    for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(args.threads)            # before NumPy loads its BLAS
    import numpy as np
    from common.timing import machine

    from tinyq import kernels

    kernels.set_threads(args.threads)
    print(f"{machine()}, {args.threads} threads, NumPy {np.__version__}")
    for name in args.models.split(","):
        measure(np, name, args)


if __name__ == "__main__":
    sys.exit(main())
