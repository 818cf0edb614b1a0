"""Read a user's own arrays from a NumPy archive: x_train, y_train, x_test, y_test, or x and y."""
from pathlib import Path

import numpy as np

from tinyq.data.bundle import DataBundle
from tinyq.data.local.npz import names_in, read_arrays
from tinyq.data.own.assemble import Choices, bundle_of
from tinyq.data.own.named_arrays import find
from tinyq.errors import BadInput


def load_npz(path: str | Path | None = None, *, split: int = 0, test: int | None = None, validation: int | None = None,
             targets: str = "auto", layout: str = "auto", brightest: int = 0, whole: bool = False, padding: int = 0,
             flip: bool = False) -> DataBundle:
    """Read arrays from an .npz file; BadInput where they are missing, damaged or no numbers. Nothing is unpickled.

    Args:
        path: the .npz file.
        split: number of the random split that chooses the samples held out.
        test: number of samples held out for the test, where the file has no test part; by default a fifth of x and y.
        validation: number of training samples held out for validation, where the file has no validation part; by
            default a tenth; 0 trains on all.
        targets: "classes", "numbers" to predict, or several "labels" of 0 and 1 each; "auto" chooses by the array.
        layout: axes of a sample: "channels-first", "channels-last", "grey" of two axes, "plain" as they are; "auto"
            chooses by the shape.
        brightest: largest value of a pixel; 0 for 255, or 65535 of 16-bit pixels.
        whole: divide whole numbers by a power of two without normalising, so that a discrete network computes exactly.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
    """
    if path is None:
        raise BadInput("data npz: name the file, such as --data arrays.npz")
    where = repr(str(path))
    if not Path(path).is_file():
        raise BadInput(f"{where}: there is no such file")
    named = find(names_in(path), where)
    used = [name for pair in named.parts.values() for name in pair]
    arrays = read_arrays(path, [*used, *([named.class_names] if named.class_names else [])])
    pairs = {part: (arrays[x], arrays[y]) for part, (x, y) in named.parts.items()}
    names = _names(arrays[named.class_names], where) if named.class_names else None
    choices = Choices(split, test, validation, targets, layout, brightest, whole, padding, flip)
    return bundle_of("npz", where, pairs, choices, names, passed_over=_passed_over(named.others))


def _names(array: np.ndarray, where: str) -> list:
    if array.ndim != 1:
        raise BadInput(f"{where}: class_names has the shape {array.shape}; it must be a list of names")
    return array.tolist()


def _passed_over(others: list[str]) -> dict[str, int]:
    return {"arrays of other names": len(others)} if others else {}
