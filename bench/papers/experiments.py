"""Experiments as data: runs of `python -m tinyq.train`, and the papers' claims.

The claims are those of Date et al. 2020 (CoNNTrA): training and validation error in percent, kilobytes, seconds; its
validation error is an error on images that nothing is trained or decided on, which is called test error here. CBP and
RPR publish nothing on MNIST.
"""
from dataclasses import dataclass

LEVELS = ("binary", "ternary", "shift1", "shift2")
METHODS = ("cbp", "rpr", "conntra")
SEEDS = (0, 1, 2)
SPLITS = range(20)

MNIST_NOTE = ("Test error is on the 10,000 test images, on which nothing is decided (the paper calls it validation "
              "error); training error is on all 60,000.")
LENET_NOTE = ("The paper's LeNet differs: its memory implies 81,194 parameters, and it is not described. This is "
              "LeNet-5 with 61,706.")
SUBSET_NOTE = "CoNNTrA's error is that of a fixed subset of 6,000 of the 60,000 training images, its cross-entropy."


@dataclass(frozen=True)
class Run:
    """One training: flags without data path, output and threads; `floats`: the run that made its float network."""

    name: str
    flags: tuple[str, ...]
    floats: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Runs that belong together. data: the dataset whose folder must be given, or None where it is embedded.

    claimed: {"backprop": figures, "conntra": figures}, or nothing.
    """

    title: str
    runs: tuple[Run, ...]
    data: str | None = None
    claimed: dict | None = None
    notes: tuple[str, ...] = ()


def _claims(*rows):
    names = ("training_error", "validation_error", "kilobytes", "seconds")
    return dict(zip(("backprop", "conntra"), (dict(zip(names, row, strict=True)) for row in rows), strict=True))


def _lenet(method, levels, seed):
    """Ternary runs train the float network; the other sets, and RPR, start from it."""
    first = "conntra" if method == "conntra" else "cbp"
    name, source = f"{method}-{levels}-seed{seed}", f"{first}-ternary-seed{seed}"
    flags = ("--recipe", f"mnist-lenet-{method}", "--levels", levels, "--seed", str(seed))
    return Run(name, flags, None if name == source else source)


def _comparison():
    order = ("ternary", *(levels for levels in LEVELS if levels != "ternary"))
    return tuple(_lenet(method, levels, seed) for seed in SEEDS for method in METHODS for levels in order)


EXPERIMENTS = {
    "iris": Experiment(
        "Iris, MLP 4-8-16-3, CoNNTrA to ternary",
        tuple(Run(f"split{split:02}", ("--recipe", "iris-conntra", "--iris.split", str(split))) for split in SPLITS),
        claimed=_claims((1.67, 3.33, 1.88, 4.56), (1.67, 3.33, 0.06, 4.92)),
        notes=("20 fixed splits of 120 / 30 flowers, seed 0: one flower of the 30 is 3.33 %. The paper's backprop is "
               "float64, this one float32.",)),
    "logistic": Experiment(
        "MNIST, logistic regression, CoNNTrA to ternary",
        tuple(Run(f"seed{seed}", ("--recipe", "mnist-logistic-conntra", "--seed", str(seed))) for seed in SEEDS),
        "mnist", _claims((6.25, 7.34, 62.8, 81.7), (7.59, 8.44, 1.96, 236)), (MNIST_NOTE,)),
    "lenet": Experiment(
        "MNIST, LeNet: CBP, RPR and CoNNTrA to four sets", _comparison(), "mnist",
        _claims((1.40, 1.56, 649.55, 122), (2.60, 2.39, 20.30, 4871)), (
            MNIST_NOTE, LENET_NOTE, SUBSET_NOTE, "The claims are for CoNNTrA to ternary. CBP and RPR leave the first "
            "and the last layer and all biases float, CoNNTrA leaves nothing float.")),
}
