"""Load data for a saved network: a split of the data it was trained on, or of other data of the same shape."""
from pathlib import Path

import numpy as np

from tinyq import data
from tinyq.data import DataBundle, Dataset
from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.saved.attributes import data_options, shape_of
from tinyq.saved.run_folder import data_paths_beside

SPLITS = ("test", "validation", "train")
CALIBRATION_SAMPLES, CALIBRATION_NUMBERS = 512, 1 << 23     # limits: samples, and numbers in them


def check_split(part: str) -> None:
    """Raise UsageError unless the split is test, validation or train."""
    if part not in SPLITS:
        raise UsageError(f"split {part}: {did_you_mean(part, SPLITS)}")


def split_for(path: str | Path, attributes: dict, part: str, name: str | None = None,
              data_path: str | None = None, classes: str | None = None) -> tuple[Dataset, DataBundle]:
    """Load (dataset, bundle): a split of the data that the network was made for, or of the data `name`.

    path: file of the network; its run folder may record where the data are, unless data_path or classes is given.
    BadInput if the data do not fit the network, UsageError if they have no such split.
    """
    check_split(part)
    name = name or attributes["data"]
    own = name == attributes["data"]
    options = {**data_options(attributes), **data_paths_beside(path, name)} if own else {}
    given = {"path": data_path, "classes": classes}
    bundle = data.load(name, **options | {option: value for option, value in given.items() if value})
    if bundle.input_shape != shape_of(attributes) or bundle.num_classes != len(attributes["class_names"]):
        raise BadInput(f"{path}: made for {shape_of(attributes)} and {len(attributes['class_names'])} classes, "
                       f"but {name} has {bundle.input_shape} and {bundle.num_classes}; choose other data")
    numbered = attributes["class_names"] == list(map(str, range(bundle.num_classes)))   # no class names given
    if own and not numbered and list(bundle.class_names) != attributes["class_names"]:
        raise BadInput(f"{path}: made for other classes than those of {name} here; "
                       "give its file of classes or its folder")
    dataset = getattr(bundle, part)
    if dataset is None:
        raise UsageError(f"split {part}: {name} has no such split with the settings of this network")
    return dataset, bundle


def calibration_batches(bundle: DataBundle) -> list[np.ndarray]:
    """Return batches of 32 evenly spaced samples of the training split, without augmentation."""
    assert bundle.train is not None
    numbers = int(np.prod(bundle.input_shape))
    count = min(len(bundle.train), CALIBRATION_SAMPLES, max(32, CALIBRATION_NUMBERS // numbers))
    chosen = np.arange(count) * len(bundle.train) // count
    return [bundle.train.batch(chosen[i:i + 32])[0] for i in range(0, count, 32)]
