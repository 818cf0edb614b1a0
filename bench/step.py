"""Compare a training step at 224x224 (forward, backward, SGD with momentum) with PyTorch on the CPU, both layouts.

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python bench/step.py [--networks resnet18 resnet50 googlenet alexnet] [--batch 16] [--threads 2] [--pairs 7]
    python bench/step.py --scaling --networks resnet18              # instead, compare one thread with all

All contenders have the same weights, data and threads, each a process of its own; they take turns. The ratio is of
times in one round; GFLOP/s counts the convolutions' and linear layers' three passes; the peak is that of the register
tile on cached operands, measured in the same run.
"""
import argparse
import statistics

import numpy as np
from common.timing import Contender, interleave_all, machine, peak_memory, ratios_line, serve
from common.torchvision_networks import torchvision_models
from common.training_step import tinyq_step, torch_step
from layers import geometries, peak

from tinyq import models, nn
from tinyq.saved.layer_table import layers, totals
from tinyq.streams import Streams

CONTENDERS = ("tinyq", "default", "channels_last")
SIZE, CLASSES = 224, 1000


def batch_of(batch):
    """Return the batch that all contenders train on."""
    stream = Streams(0).key("bench")
    return stream.normal((batch, 3, SIZE, SIZE)).astype(np.float32), stream.integers(0, CLASSES, batch)


def our_model(name):
    """Network with its initial weights, which the baseline copies; without dropout, so that losses can be compared."""
    model = models.build(name, CLASSES, (3, SIZE, SIZE)).initialise(Streams(0))
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def torch_model(name):
    """torchvision's network with tinyq's weights."""
    import torch

    options = {"aux_logits": False, "init_weights": False, "transform_input": True} if name == "googlenet" else {}
    model = getattr(torchvision_models(), name)(num_classes=CLASSES, **options)
    model.load_state_dict({key: torch.from_numpy(a) for key, a in our_model(name).state_dict().items()})
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def make(contender, name, batch, threads):
    """Training step of one contender."""
    x, y = batch_of(batch)
    if contender == "tinyq":
        return tinyq_step(our_model(name), x, y, threads)
    import torch

    layout = {"memory_format": torch.channels_last} if contender == "channels_last" else {}
    return torch_step(torch_model(name).to(**layout), torch.from_numpy(x).to(**layout), y, threads)


def flops(name, batch):
    """Floating-point operations per step: three passes per product, two for the first layer (no input gradient)."""
    macs = totals(layers(our_model(name), (3, SIZE, SIZE)))["macs"]
    stem = geometries(name, 1)[0][0]
    return 2 * batch * (3 * macs - int(np.prod(stem.output_shape)) * stem.products)


def report(name, args):
    """Print the lines of one network."""
    flags = ("--batch", str(args.batch), "--threads", str(args.threads))
    contenders = {kind: Contender(__file__, *flags, "--serve", kind, name) for kind in CONTENDERS}
    rounds = interleave_all(list(contenders.values()), args.pairs)
    top, memory = peak(args.threads), {key: peak_memory(contender.process.pid) for key, contender in contenders.items()}
    for contender in contenders.values():
        contender.close()
    ours = statistics.median(times[0] for times in rounds)
    rate = flops(name, args.batch) / ours / 1e9
    print(f"{name} batch {args.batch}, {args.threads} threads: tinyq {1e3 * ours:.0f} ms, {rate:.0f} GFLOP/s, "
          f"{rate / top:.0%} of the peak of {top:.0f}; {memory['tinyq']:.0f} MiB")
    for k, contender in enumerate(CONTENDERS[1:], 1):
        line = ratios_line(f"PyTorch {contender}", [(t[0], t[k]) for t in rounds])
        print(f"    {line}; {memory[contender]:.0f} MiB", flush=True)


def scaling(name, args):
    """Print the speed-up of all threads over one thread."""
    flags = ("--batch", str(args.batch), "--serve", "tinyq", name)
    one, all_threads = (Contender(__file__, "--threads", str(threads), *flags)
                        for threads in (1, args.threads))
    rounds = interleave_all([one, all_threads], args.pairs)
    for contender in (one, all_threads):
        contender.close()
    gains = sorted(a / b for a, b in rounds)
    low, _, high = statistics.quantiles(gains, n=4)
    print(f"{name} batch {args.batch}: {args.threads} threads are {statistics.median(gains):.2f} times as fast as one "
          f"(quartiles {low:.2f} to {high:.2f}, {len(rounds)} rounds)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "googlenet", "alexnet"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--scaling", action="store_true", help="compare one thread with all, instead of with PyTorch")
    parser.add_argument("--check", action="store_true", help="compare the losses of the first steps, instead of times")
    parser.add_argument("--serve", nargs=2, metavar=("CONTENDER", "NETWORK"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.serve:
        return serve(make(*args.serve, args.batch, args.threads))
    print(f"{machine()}")
    for name in args.networks:
        if args.check:
            print(name, *(f"{kind} {make(kind, name, args.batch, args.threads)():.6f}" for kind in CONTENDERS))
        elif args.scaling:
            scaling(name, args)
        else:
            report(name, args)
    return None


if __name__ == "__main__":
    main()
