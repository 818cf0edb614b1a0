"""The data a saved network is tried on: a part of what it was trained on, or of other data that fit it."""
import numpy as np

from tinyq import data
from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.saved.attributes import data_options, shape_of
from tinyq.saved.run_folder import data_paths_beside

SPLITS = ("test", "validation", "train")
CALIBRATION_SAMPLES, CALIBRATION_NUMBERS = 512, 1 << 23     # at most; what their inputs hold together


def check_split(part: str) -> None:
    """UsageError for a part that no data have."""
    if part not in SPLITS:
        raise UsageError(f"--split {part}: {did_you_mean(part, SPLITS)}")


def split_for(path, attributes: dict, part: str, name=None, data_path=None, classes=None):
    """(dataset, bundle): a part of data that a network's attributes say it was made for, or of the data `name`.

    path: of the network's file, whose run folder may know where its data lie; data_path, classes: where they are
    instead. BadInput where the data do not fit the network, UsageError where there is no such part.
    """
    check_split(part)
    name = name or attributes["data"]
    own = name == attributes["data"]
    options = {**data_options(attributes), **data_paths_beside(path, name)} if own else {}
    given = {"path": data_path, "classes": classes}
    bundle = data.load(name, **options | {option: value for option, value in given.items() if value})
    if bundle.input_shape != shape_of(attributes) or bundle.num_classes != len(attributes["class_names"]):
        raise BadInput(f"{path}: made for {shape_of(attributes)} and {len(attributes['class_names'])} classes, "
                       f"but {name} has {bundle.input_shape} and {bundle.num_classes}; name the right --data")
    numbered = attributes["class_names"] == list(map(str, range(bundle.num_classes)))       # converted without names
    if own and not numbered and list(bundle.class_names) != attributes["class_names"]:
        raise BadInput(f"{path}: made for other classes than those of {name} here; name its --classes or --data-path")
    dataset = getattr(bundle, part)
    if dataset is None:
        raise UsageError(f"--split {part}: {name} has no such part with the settings of this network")
    return dataset, bundle


def calibration_batches(bundle) -> list[np.ndarray]:
    """Evenly spaced samples of the training part, as evaluation sees them, in batches of 32."""
    numbers = int(np.prod(bundle.input_shape))
    count = min(len(bundle.train), CALIBRATION_SAMPLES, max(32, CALIBRATION_NUMBERS // numbers))
    chosen = np.arange(count) * len(bundle.train) // count
    return [bundle.train.batch(chosen[i:i + 32])[0] for i in range(0, count, 32)]
