"""Compare a forward pass at 224x224 with PyTorch on the CPU, in both its layouts, and with ONNX Runtime; float32.

    pip install torch==2.13.0 onnx onnxscript onnxruntime && pip install --no-deps torchvision==0.28.0
    python bench/inference.py [--networks resnet18 resnet50 googlenet alexnet] [--batch 1 16] [--threads 2] [--pairs 9]

All contenders have the same weights, data and threads, each a process of its own; they take turns. The ratio is of
times in one round; GFLOP/s counts the convolutions and linear layers; the peak is that of the register tile on cached
operands, measured in the same run.
"""
import argparse
import io
import statistics

import numpy as np
from common.timing import Contender, interleave_all, machine, peak_memory, ratios_line, serve
from layers import peak
from step import CLASSES, SIZE, batch_of, our_model, torch_model

from tinyq import kernels
from tinyq.inference.fused_network import Fused
from tinyq.saved.layer_table import layers, totals

CONTENDERS = ("tinyq", "default", "channels_last", "onnxruntime")
LABELS = {"default": "PyTorch default", "channels_last": "PyTorch channels_last", "onnxruntime": "ONNX Runtime"}


def tinyq_pass(name, x, threads):
    """Make tinyq's forward pass, which returns the logits."""
    kernels.set_threads(threads)
    network = Fused(our_model(name))
    return lambda: network(x)


def torch_pass(name, x, threads, layout):
    """Make PyTorch's forward pass."""
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
    """Make ONNX Runtime's forward pass; it folds batch norm and fuses what it can."""
    import onnxruntime
    import torch

    exported = io.BytesIO()
    torch.onnx.export(torch_model(name).eval(), (torch.from_numpy(x),), exported, input_names=["x"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def make(contender, name, batch, threads):
    """Forward pass of one contender."""
    x = batch_of(batch)[0]
    if contender == "tinyq":
        return tinyq_pass(name, x, threads)
    return onnx_pass(name, x, threads) if contender == "onnxruntime" else torch_pass(name, x, threads, contender)


def report(name, batch, args):
    """Print the lines of one network."""
    contenders = {kind: Contender(__file__, "--threads", str(args.threads), "--serve", kind, name, str(batch))
                  for kind in CONTENDERS}
    rounds = interleave_all(list(contenders.values()), args.pairs, repeat=max(1, 16 // batch))
    top, memory = peak(args.threads), {key: peak_memory(contender.process.pid) for key, contender in contenders.items()}
    for contender in contenders.values():
        contender.close()
    ours = statistics.median(times[0] for times in rounds)
    rate = 2 * batch * totals(layers(our_model(name), (3, SIZE, SIZE)))["macs"] / ours / 1e9
    print(f"{name} batch {batch}, {args.threads} threads: tinyq {1e3 * ours:.1f} ms, {rate:.0f} GFLOP/s, "
          f"{rate / top:.0%} of the peak of {top:.0f}; {memory['tinyq']:.0f} MiB")
    for k, contender in enumerate(CONTENDERS[1:], 1):
        line = ratios_line(LABELS[contender], [(t[0], t[k]) for t in rounds])
        print(f"    {line}; {memory[contender]:.0f} MiB", flush=True)


def check(name, args):
    """Largest difference of each contender's logits from tinyq's, relative to the largest logit."""
    logits = {contender: make(contender, name, args.batch[0], args.threads)() for contender in CONTENDERS}
    ours = logits["tinyq"]
    print(name, *(f"{contender} {np.abs(a - ours).max() / np.abs(ours).max():.1e}" for contender, a in logits.items()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "googlenet", "alexnet"])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="compare logits instead of times")
    parser.add_argument("--serve", nargs=3, metavar=("CONTENDER", "NETWORK", "BATCH"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.serve:
        contender, name, batch = args.serve
        return serve(make(contender, name, int(batch), args.threads))
    print(f"{machine()}; {CLASSES} classes")
    for name in args.networks:
        if args.check:
            check(name, args)
        else:
            for batch in args.batch:
                report(name, batch, args)


if __name__ == "__main__":
    main()
