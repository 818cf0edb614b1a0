"""Compare the ImageNet-size networks with torchvision's own results, read from files of its weights and outputs.

    python bench/torchvision_reference.py REFERENCE_DIR --photographs DIR --classes FILE [--models resnet18,googlenet]

REFERENCE_DIR has, for each network, NAME.pth and NAME.npz: names, logits and top5 of every photograph under
DIR/val/<class>/; x, y, a batch of inputs and labels; loss64, and for some weights grad64/<weight> and
grad_error/<weight>, torch's own float32 error. Prints a Markdown table; no PyTorch is needed to run it.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

from tinyq import data, models, nn
from tinyq.autodiff import Tensor
from tinyq.files.foreign import opening
from tinyq.saved.measure import logits_of

NETWORKS = "alexnet,resnet18,resnet34,resnet50,googlenet"
BATCH = 25


def network(name, folder):
    """Network with the file's weights; dropout is off, so that a training step is deterministic."""
    state = opening.open_weights(folder / f"{name}.pth").read("")
    model = models.build(name, 1000, (3, 224, 224))
    model.load_state_dict(state, source=f"{name}.pth")
    for _, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def photographs(args):
    """Yield (file name, input) per image."""
    part = data.load("imagefolder", args.photographs, classes=args.classes).test
    for i, name in enumerate(part.names):
        yield Path(name).name, part.batch(np.array([i]))[0][0]


def logit_errors(model, reference, args):
    """Return (largest relative difference of an image's logits, number of images with the same top five)."""
    row = {Path(str(name)).name: i for i, name in enumerate(reference["names"])}
    inputs = list(photographs(args))
    worst = same = 0
    for start in range(0, len(inputs), BATCH):
        names, x = zip(*inputs[start:start + BATCH], strict=True)
        for name, logits in zip(names, logits_of(model, np.stack(x)), strict=True):
            expected = reference["logits"][row[name]]
            worst = max(worst, np.abs(logits - expected).max() / np.abs(expected).max())
            five = np.argsort(-logits, kind="stable")[:5]
            same += (five == reference["top5"][row[name]]).all()
    return worst, same, len(inputs)


def step_errors(model, reference):
    """Return (relative error of the loss, {weight: error of its gradient divided by torch's float32 error})."""
    loss = nn.cross_entropy(model.train()(Tensor(reference["x"])), reference["y"])
    loss.backward()
    gradients, ratios = dict(model.named_parameters()), {}
    for key in (key for key in reference.files if key.startswith("grad64/")):
        name, expected = key.removeprefix("grad64/"), reference[key]
        error = np.linalg.norm(gradients[name].grad - expected) / np.linalg.norm(expected)
        ratios[name] = error / float(reference[f"grad_error/{name}"])
    return abs(loss.item() - float(reference["loss64"])) / float(reference["loss64"]), ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("references", type=Path)
    parser.add_argument("--photographs", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--models", default=NETWORKS)
    args = parser.parse_args()
    print("| network | logits, largest relative difference | same top five | loss, relative | gradients' error / "
          "torch's |\n|---|---|---|---|---|")
    for name in args.models.split(","):
        reference, model = np.load(args.references / f"{name}.npz"), network(name, args.references)
        worst, same, count = logit_errors(model, reference, args)
        loss, ratios = step_errors(model, reference)
        shown = ", ".join(f"{weight} {ratio:.2f}" for weight, ratio in ratios.items())
        print(f"| {name} | {worst:.1e} | {same} of {count} | {loss:.1e} | {shown} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
