"""A forward pass at 224x224 against PyTorch on the CPU, in both its layouts, and ONNX Runtime; float32, batch 1 and 16.

    pip install torch==2.13.0 onnx onnxscript onnxruntime && pip install --no-deps torchvision==0.28.0
    python bench/inference.py [--networks resnet18 resnet50 googlenet alexnet] [--batch 1 16] [--threads 2] [--pairs 9]

Same weights, data and threads on all sides, each in a process of its own; they take turns. The ratio is of times in one
round; GFLOP/s counts the convolutions and linear layers; the peak is that of the register tile on cached operands,
measured in the same run.
"""
import argparse
import io
import statistics

import numpy as np
from common.timing import Side, interleave_all, machine, peak_memory, ratios_line, serve
from layers import peak
from step import CLASSES, SIZE, batch_of, our_model, torch_model

from tinyq import kernels
from tinyq.inference import Fused
from tinyq.saved.layer_table import layers, totals

SIDES = ("tinyq", "default", "channels_last", "onnxruntime")
LABELS = {"default": "PyTorch default", "channels_last": "PyTorch channels_last", "onnxruntime": "ONNX Runtime"}


def tinyq_pass(name, x, threads):
    """A forward pass of tinyq; returns the logits."""
    kernels.set_threads(threads)
    network = Fused(our_model(name))
    return lambda: network(x)


def torch_pass(name, x, threads, layout):
    """The same of PyTorch."""
    import torch

    torch.set_num_threads(threads)
    model, x = torch_model(name).eval(), torch.from_numpy(x)
    if layout == "channels_last":
        x, model = x.to(memory_format=torch.channels_last), model.to(memory_format=torch.channels_last)

    def forward():
        with torch.inference_mode():
            return model(x).numpy()

    return forward


def onnx_pass(name, x, threads):
    """The same of ONNX Runtime, which folds batch norm and fuses what it can."""
    import onnxruntime
    import torch

    exported = io.BytesIO()
    torch.onnx.export(torch_model(name).eval(), (torch.from_numpy(x),), exported, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def make(side, name, batch, threads):
    """The pass of one side."""
    x = batch_of(batch)[0]
    if side == "tinyq":
        return tinyq_pass(name, x, threads)
    return onnx_pass(name, x, threads) if side == "onnxruntime" else torch_pass(name, x, threads, side)


def report(name, batch, args):
    """One network's lines."""
    sides = {side: Side(__file__, "--threads", str(args.threads), "--serve", side, name, str(batch)) for side in SIDES}
    rounds = interleave_all(list(sides.values()), args.pairs, repeat=max(1, 16 // batch))
    top, memory = peak(args.threads), {key: peak_memory(side.process.pid) for key, side in sides.items()}
    for side in sides.values():
        side.close()
    ours = statistics.median(times[0] for times in rounds)
    rate = 2 * batch * totals(layers(our_model(name), (3, SIZE, SIZE)))["macs"] / ours / 1e9
    print(f"{name} batch {batch}, {args.threads} threads: tinyq {1e3 * ours:.1f} ms, {rate:.0f} GFLOP/s, "
          f"{rate / top:.0%} of the peak of {top:.0f}; {memory['tinyq']:.0f} MiB")
    for k, side in enumerate(SIDES[1:], 1):
        line = ratios_line(LABELS[side], [(t[0], t[k]) for t in rounds])
        print(f"    {line}; {memory[side]:.0f} MiB", flush=True)


def check(name, args):
    """The largest difference of each side's logits from tinyq's, as a share of the largest logit."""
    logits = {side: make(side, name, args.batch[0], args.threads)() for side in SIDES}
    ours = logits["tinyq"]
    print(name, *(f"{side} {np.abs(a - ours).max() / np.abs(ours).max():.1e}" for side, a in logits.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "googlenet", "alexnet"])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="compare the sides' logits instead")
    parser.add_argument("--serve", nargs=3, metavar=("SIDE", "NETWORK", "BATCH"), help="be one side (for this script)")
    args = parser.parse_args()
    if args.serve:
        side, name, batch = args.serve
        return serve(make(side, name, int(batch), args.threads))
    print(f"{machine()}; {CLASSES} classes")
    for name in args.networks:
        if args.check:
            check(name, args)
        else:
            for batch in args.batch:
                report(name, batch, args)


if __name__ == "__main__":
    main()
