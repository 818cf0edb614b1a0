"""Read the two datasets that come with tinyq: Iris and the 8x8 digits (SOURCES.md)."""
import gzip
from pathlib import Path

import numpy as np

from tinyq.data.bundle import DataBundle, make_bundle
from tinyq.data.datasets import ImageArray, Table
from tinyq.data.splits import check_labels, keyed_parts
from tinyq.inputs.preparation import Preparation

_FOLDER = Path(__file__).parent.parent
IRIS_TEST, DIGITS_TEST = 30, 360
DIGITS_MEAN, DIGITS_STD = (0.3053,), (0.3760,)      # of pixel / 16, training and validation part of split 0


def load_iris(*, split: int = 0, validation: int = 15, whole: bool = False) -> DataBundle:
    """Read Iris, which comes with tinyq: 150 flowers, 4 features.

    Args:
        split: number of the random split that chooses the 30 test samples.
        validation: number of the other 120 samples held out for validation; 0 trains on all.
        whole: scale inputs as millimetres / 16 without normalising, so that a discrete network computes exactly.
    """
    class_names = (_FOLDER / "iris.csv").read_text().split("\n", 1)[0].split(",")[2:]
    rows = np.loadtxt(_FOLDER / "iris.csv", delimiter=",", skiprows=1, dtype=np.float64)
    tenths = np.rint(rows[:, :4] * 10).astype(np.int64)         # the measurements are whole millimetres
    labels = check_labels(rows[:, 4], len(class_names), "iris.csv")
    parts = keyed_parts("iris", split, len(labels), IRIS_TEST, validation)
    mean, std = (np.zeros(4), np.full(4, 16.0)) if whole else _mean_and_deviation(tenths[parts["train"]])
    how = Preparation(tuple(mean.tolist()), tuple(std.tolist()), divisor=1)                     # of millimetres
    splits = {name: Table(how.of_features(tenths[part]), labels[part], values=tenths[part])
              for name, part in parts.items()}
    return make_bundle("iris", splits, (4,), class_names, split=split, **how.facts())


def load_digits(*, split: int = 0, validation: int = 180, padding: int = 0, flip: bool = False,
                whole: bool = False) -> DataBundle:
    """Read the handwritten digits that come with tinyq: 1,797 images of 8x8 pixels with 17 grey levels.

    Args:
        split: number of the random split that chooses the 360 test samples.
        validation: number of the other samples held out for validation; 0 trains on all.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
        whole: scale inputs as pixel / 16 without normalising, so that a discrete network computes exactly.
    """
    with gzip.open(_FOLDER / "digits.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
    images, labels = rows[:, :64].astype(np.uint8).reshape(-1, 1, 8, 8), check_labels(rows[:, 64], 10, "digits.csv.gz")
    parts = keyed_parts("digits", split, len(labels), DIGITS_TEST, validation)
    how = digits_preparation(whole=whole)
    splits = {name: ImageArray(images[part], labels[part], how.mean, how.std, how.divisor, padding, flip,
                               brightest=how.brightest) for name, part in parts.items()}
    return make_bundle("digits", splits, (1, 8, 8), map(str, range(10)), split=split, **how.facts())


def digits_preparation(*, whole: bool = False) -> Preparation:
    """Return how the digits' 17 grey levels become input."""
    mean, std = ((0.0,), (1.0,)) if whole else (DIGITS_MEAN, DIGITS_STD)
    return Preparation(mean, std, divisor=16, brightest=16)


def _mean_and_deviation(table):
    """Return mean and standard deviation of each column of an integer table, float64, from exact integer sums."""
    n, total, squares = len(table), table.sum(0), (table * table).sum(0)
    return total / n, np.sqrt(n * squares - total * total) / n
