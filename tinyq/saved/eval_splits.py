"""Load data for a saved network: a split of the data it was trained on, or of other data of the same shape."""
import re
from pathlib import Path

import numpy as np

from tinyq import data
from tinyq.data import DataBundle, Dataset, component_of
from tinyq.data.named_data import dataset_and_path
from tinyq.errors import BadInput, UsageError
from tinyq.inputs.parts import check_split
from tinyq.inputs.preparation import Preparation
from tinyq.inputs.shapes import PHOTOGRAPHS
from tinyq.inputs.targets import CLASSES
from tinyq.saved.attributes import (
    check_attributes,
    data_of,
    data_options,
    preparation_of,
    shape_of,
    without_preparation,
)
from tinyq.saved.run_folder import data_paths_beside

WNID = re.compile(r"n\d{8}\b")
HOLDING_OUT = ("mnist", "cifar10")                          # a fixed number of samples; the test part is the same
CALIBRATION_SAMPLES, CALIBRATION_NUMBERS = 512, 1 << 23     # limits: samples, and numbers in them


def split_for(path: str | Path, attributes: dict, part: str, name: str | None = None,
              data_path: str | Path | None = None, classes: str | None = None) -> tuple[Dataset, DataBundle]:
    """Load (dataset, bundle): a split of the data that the network was made for, or of the data `name`.

    path: file of the network; its run folder may record where the data are, unless data_path or classes is given.
    BadInput if the data do not fit the network, UsageError if they have no such split.
    """
    check_split(part)
    check_attributes(path, attributes)
    if name:
        name, data_path = dataset_and_path(name, data_path)
    if not name and not attributes["data"]:
        raise UsageError(f"data: {path} does not say which data it is for; name some, such as mnist")
    name = name or data_of(path, attributes)
    component = component_of(name)
    own = component == attributes["data"]
    options = {**without_preparation(data_options(attributes)), **data_paths_beside(path, component)} if own else {}
    if part == "test" and name in HOLDING_OUT:
        options["validation"] = 0                           # a small dataset has fewer samples than are held out
    given = {"path": data_path, "classes": classes}
    bundle = data.load(name, **options | {option: value for option, value in given.items() if value})
    assumed = not own and "preparation_assumed" in attributes           # the data that are named know better
    preparation = preparation_of(path, attributes)
    if not assumed or name in PHOTOGRAPHS:                              # whose size is the network's
        bundle = _prepared(bundle, preparation, shape_of(attributes))
    if bundle.input_shape != shape_of(attributes) or bundle.num_classes != len(attributes["class_names"]):
        raise BadInput(f"{path}: made for {shape_of(attributes)} and {len(attributes['class_names'])} classes, "
                       f"but {name} has {bundle.input_shape} and {bundle.num_classes}; choose other data")
    if bundle.targets != attributes.get("targets", CLASSES):
        raise BadInput(f"{path}: made to predict {attributes.get('targets', CLASSES)}, but the targets of {name} are "
                       f"{bundle.targets}; choose other data")
    if own and not same_classes(attributes["class_names"], bundle):
        raise BadInput(f"{path}: made for other classes than those of {name} here, or for another order of them; give "
                       "its file of classes with --classes, or its folder with --data-path")
    dataset = getattr(bundle, part)
    if dataset is None:
        raise UsageError(f"split {part}: {name} has no such split with the settings of this network")
    return dataset, bundle


def _prepared(bundle: DataBundle, preparation: Preparation | None, input_shape: tuple[int, ...]) -> DataBundle:
    """Prepare the data as the network's file says, if it does and they have as many channels or features."""
    channels = (1, 3) if bundle.name in PHOTOGRAPHS else bundle.input_shape[:1]
    fits = (preparation and bundle.preparation and len(input_shape) == len(bundle.input_shape)
            and input_shape[0] in channels)
    return bundle.prepared(preparation, input_shape) if preparation and fits else bundle


def same_classes(names: list[str], bundle: DataBundle) -> bool:
    """Return whether names are the data's, or begin with them ("n01440764 tench"), or say nothing against them.

    Numbers say nothing; nor do names in words where classes are wnids, as in ImageNet, whose order is fixed.
    """
    if names == list(map(str, range(bundle.num_classes))):
        return True
    if bundle.name == "imagenet" and not any(WNID.match(name) for name in names):
        return True
    return all(own in (name, name.split()[0] if name.split() else "")
               for own, name in zip(bundle.class_names, names, strict=True))


def calibration_batches(bundle: DataBundle) -> list[np.ndarray]:
    """Return batches of 32 evenly spaced samples of the training split, without augmentation."""
    assert bundle.train is not None
    numbers = int(np.prod(bundle.input_shape))
    count = min(len(bundle.train), CALIBRATION_SAMPLES, max(32, CALIBRATION_NUMBERS // numbers))
    chosen = np.arange(count) * len(bundle.train) // count
    return [bundle.train.batch(chosen[i:i + 32])[0] for i in range(0, count, 32)]
