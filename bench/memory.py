"""Compare the peak memory of a training step at 224x224, batch 16, with PyTorch's and with --dry-run's estimate.

    pip install torch==2.13.0 && pip install --no-deps torchvision==0.28.0
    python bench/memory.py [--networks resnet18 resnet50 googlenet alexnet] [--threads 2]

Each contender is a process of its own that takes a few steps on the same random images (SGD with momentum); its peak is
the kernel's VmHWM. PyTorch's process also loads torchvision's Python code; the memory of that alone is shown.
"""
import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from common.timing import machine
from common.torchvision_networks import torchvision_models

BATCH, SIZE, STEPS, CLASSES = 16, 224, 4, 10
LAST = {"alexnet": ("classifier.6", 4096), "resnet50": ("fc", 2048), "googlenet": ("fc", 1024), "resnet18": ("fc", 512)}
FLAGS = ("--recipe none --data imagefolder --imagefolder.validation 0 --method backprop --pretrain-epochs 0 --epochs 1 "
         f"-b {BATCH} --lr 0.01 -j 1").split()


def high_water():
    """Peak and current resident memory of this process, in MiB."""
    text = Path("/proc/self/status").read_text()
    return [int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) / 1024 for key in ("VmHWM", "VmRSS")]


def photographs(folder):
    """Write an image folder of one batch of noise."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    for part in ("train", "test"):
        for k, image in enumerate(pixels):
            path = folder / part / str(k % CLASSES) / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def tinyq_peak(name, folder, threads):
    """Peak of a few steps of the command line."""
    from tinyq.run.build import build
    from tinyq.run.settings.resolve import resolve

    flags = {"model": name, "data": "imagefolder", "data_path": str(folder), "imagefolder.validation": 0,
             "method": "backprop", "recipe": "none", "epochs": STEPS, "batch_size": BATCH, "lr": 0.01, "workers": 1,
             "threads": threads, "pretrain_epochs": 0}
    job = build(resolve(flags).config)
    phase = job.phases[-1]
    phase.method.begin(job.model, phase.optimizer, job.bundle.train, job.streams)
    job.model.train()
    before = high_water()[1]
    for epoch in range(STEPS):
        job.model.key_step(job.streams, epoch, 0)
        for batch in job.loader.epoch(epoch):
            phase.method.step([batch])
    return before, high_water()[0]


def torch_peak(name, folder, threads):
    """Peak of the same number of steps of torchvision's network."""
    import torch

    torch.set_num_threads(threads)
    models = torchvision_models()
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(models, name)(num_classes=CLASSES, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(BATCH, 3, SIZE, SIZE), torch.arange(BATCH) % CLASSES
    before = high_water()[1]
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return before, high_water()[0]


CONTENDERS = {"tinyq": tinyq_peak, "torch": torch_peak}


def estimate(name, folder, threads):
    """Peak that --dry-run estimates, in MiB."""
    command = [sys.executable, "-m", "tinyq.train", "--model", name, "--data-path", str(folder), *FLAGS,
               "--threads", str(threads), "--dry-run"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(re.search(r"memory +([\d,]+) MiB", text)[1].replace(",", ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(LAST))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tinyq-bench-photographs"))
    parser.add_argument("--contender", nargs=2, metavar=("CONTENDER", "NETWORK"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.contender:
        print(*CONTENDERS[args.contender[0]](args.contender[1], args.folder, args.threads))
        return
    photographs(args.folder)
    print(f"{machine()}; batch {BATCH}, {args.threads} threads; MiB; in brackets: before the steps")
    for name in args.networks:
        for _ in range(2):                                                  # the first call may compile kernels
            said = estimate(name, args.folder, args.threads)
        peaks = {}
        for contender in CONTENDERS:
            command = [sys.executable, __file__, "--threads", str(args.threads), "--folder", args.folder,
                       "--contender", contender, name]
            peaks[contender] = [float(v) for v in subprocess.run(command, check=True, capture_output=True, text=True
                                                            ).stdout.split()]
        (our_start, ours), (their_start, theirs) = peaks["tinyq"], peaks["torch"]
        print(f"{name:10} tinyq {ours:6.0f} ({our_start:4.0f})   PyTorch {theirs:6.0f} ({their_start:4.0f})   "
              f"ratio {ours / theirs:.2f}   --dry-run {said:6,} ({said / ours - 1:+.1%})", flush=True)


if __name__ == "__main__":
    main()
