"""Measure each convolution of a network: forward, input gradient, weight gradient, in GFLOP/s and share of the peak.

    python bench/layers.py [--networks resnet18 googlenet] [--batch 16] [--threads 2] [--repeats 7] [--torch]

The peak is that of the register tile on cached operands, measured before each network. With --torch, PyTorch's time
for the same pass in its channels-last layout is shown too, from a process of its own.
"""
import argparse
import statistics
import time
from collections import Counter

import numba
import numpy as np
from common.timing import Contender, machine, serve_numbered

from tinyq import kernels, models
from tinyq.autodiff import Tensor, no_record
from tinyq.kernels.contract import KC
from tinyq.kernels.simd.register_tile import FLUSH, tile
from tinyq.kernels.simd.vectors import MR, NR
from tinyq.streams import Streams

PASSES = ("forward", "input", "weight")


def geometries(name, batch, size=224):
    """[(ConvGeometry, how many layers have it)] of a network, in the order of their first use."""
    found, own = [], kernels.conv2d

    def recording(x, w, geometry, *affine):
        found.append(geometry)
        return own(x, w, geometry, *affine)

    model = models.build(name, 1000, (3, size, size)).initialise(Streams(0))
    kernels.conv2d = recording
    try:
        with no_record():
            model.eval()(Tensor(np.zeros((batch, 3, size, size), np.float32)))
    finally:
        kernels.conv2d = own
    return list(Counter(found).items())


def flops(geometry):
    """Floating-point operations of a pass."""
    return 2 * int(np.prod(geometry.output_shape)) * geometry.products


def arrays(geometry):
    """Random x, w, g of a layer."""
    stream = Streams(0).key("bench")
    return [stream.normal(shape).astype(np.float32) for shape in
            (geometry.x_shape, geometry.w_shape, geometry.output_shape)]


def our_passes(geometry):
    """Make a function of each pass."""
    x, w, g = arrays(geometry)
    return {"forward": lambda: kernels.conv2d(x, w, geometry),
            "input": lambda: kernels.conv2d_input_grad(g, w, geometry),
            "weight": lambda: kernels.conv2d_weight_grad(g, x, geometry)}


def torch_passes(geometry):
    """Make the same functions with PyTorch in channels-last layout."""
    import torch

    x, w, g = (torch.from_numpy(a).to(memory_format=torch.channels_last) for a in arrays(geometry))
    options = dict(stride=geometry.stride, padding=geometry.padding, dilation=geometry.dilation, groups=geometry.groups)

    def gradients(*mask):
        return torch.ops.aten.convolution_backward(g, x, w, None, *map(list, (
            geometry.stride, geometry.padding, geometry.dilation)), False, [0, 0], geometry.groups, [*mask, False])

    return {"forward": lambda: torch.nn.functional.conv2d(x, w, **options),
            "input": lambda: gradients(True, False), "weight": lambda: gradients(False, True)}


def seconds(work, repeats):
    """Median seconds per call, after one call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@numba.njit(parallel=True, error_model="numpy")
def _tiles(threads, calls, k, a, rows, b, offsets, sums):
    for t in numba.prange(threads):
        for _ in range(calls):
            tile(k, a.ctypes.data, rows.ctypes.data, MR, b.ctypes.data, offsets.ctypes.data, sums[t].ctypes.data,
                 sums[t].ctypes.data, FLUSH)


def peak(threads, repeats=9, calls=20000, k=KC):
    """Peak GFLOP/s: the register tile on operands in the first-level cache, all threads, best of several runs."""
    kernels.set_threads(threads)
    a, b = np.ones(k * MR, np.float32), np.ones(k * NR, np.float32)
    rows, offsets = np.arange(MR), np.arange(k) * NR
    sums = np.zeros((threads, MR, NR), np.float32)
    best = min(seconds(lambda: _tiles(threads, calls, k, a, rows, b, offsets, sums), 1) for _ in range(repeats))
    return 2 * threads * calls * k * MR * NR / best / 1e9


def shape_of(geometry):
    """Describe a layer: channels, image, kernel, stride."""
    (_, c, h, w), (m, _, kh, kw) = geometry.x_shape, geometry.w_shape
    return f"{c:4}x{h}x{w} -> {m:4}, {kh}x{kw} /{geometry.stride[0]}"


def report(name, args):
    """Print the table of one network."""
    layers = geometries(name, args.batch)
    contender = Contender(__file__, "--networks", name, "--batch", str(args.batch), "--threads", str(args.threads),
                "--serve") if args.torch else None
    top, sums, theirs = peak(args.threads), dict.fromkeys(PASSES, 0.0), dict.fromkeys(PASSES, 0.0)
    print(f"\n{name}, batch {args.batch}; peak {top:.0f} GFLOP/s; GFLOP/s (share of peak) [time / PyTorch's]")
    for number, (geometry, count) in enumerate(layers):
        cells = []
        for k, (kind, work) in enumerate(our_passes(geometry).items()):
            if number == 0 and kind == "input":
                cells.append(f"{'':23}")
                continue
            ours = seconds(work, args.repeats)
            sums[kind] += count * ours
            rate = flops(geometry) / ours / 1e9
            baseline = ""
            if contender:
                other = contender.seconds(number * len(PASSES) + k)
                theirs[kind] += count * other
                baseline = f" [{ours / other:4.2f}]"
            cells.append(f"{rate:6.0f} ({rate / top:4.0%}){baseline:8}")
        print(f"{count} x {shape_of(geometry):32} {'  '.join(cells)}", flush=True)
    total = sum(flops(g) * n for g, n in layers)
    for kind in PASSES:
        rate = total / sums[kind] / 1e9
        ratio = f", {sums[kind] / theirs[kind]:.2f} of PyTorch's" if contender else ""
        print(f"all {kind:8} {1e3 * sums[kind]:7.1f} ms, {rate:.0f} GFLOP/s ({rate / top:.0%}){ratio}")
    if contender:
        contender.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "googlenet"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--serve", action="store_true", help="run as PyTorch (used by this script)")
    args = parser.parse_args()
    kernels.set_threads(args.threads)
    if args.serve:
        import torch

        torch.set_num_threads(args.threads)
        layers = geometries(args.networks[0], args.batch)
        return serve_numbered(lambda k: seconds(
            torch_passes(layers[k // len(PASSES)][0])[PASSES[k % len(PASSES)]], args.repeats))
    print(f"{machine()}; {args.threads} threads")
    for name in args.networks:
        report(name, args)


if __name__ == "__main__":
    main()
