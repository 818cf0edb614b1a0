"""Read ImageNet: 1,000 classes in folders named by wnid, prepared as torchvision or RPR's authors do."""
import dataclasses
import hashlib
from pathlib import Path

from tinyq.data.bundle import DataBundle
from tinyq.data.sources.imagefolder import check_choice, load_imagefolder
from tinyq.errors import BadInput

CLASSES = 1000
CLASSES_SHA256 = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"     # of their names, one per line
RANDOM_VIEWS = {                    # for training; both evaluate on the central 224 pixels of the shorter side at 256
    "torchvision": "resized",       # a random part of any size, made 224 pixels; CBP's too
    "rpr": "crop",                  # 224 pixels of the shorter side at 256 (Cavigelli and Benini 2020, section 4)
}


def load_imagenet(path: str | Path | None = None, *, classes: str | None = None, preprocessing: str = "torchvision",
                  validation: int | None = None, resize: int = 256, exif: str = "ignore",
                  bad_image: str = "fail") -> DataBundle:
    """Read ImageNet: train/<wnid>/*.JPEG and val/<wnid>/*.JPEG, labelled 0 to 999 in the order of the wnids.

    val/ is the test split. BadInput unless the classes are ImageNet's 1,000 in their order.

    Args:
        path: folder or .zip file of the images.
        classes: file whose lines each begin with a wnid, needed if some classes have no folder.
        preprocessing: training view: "torchvision" cuts out a random part and resizes it to 224 pixels, "rpr" cuts 224
            pixels out of the image resized to 256, as RPR's authors do.
        validation: number of training images held out for validation, the last ones of each class; by default 5 %;
            0 trains on all.
        resize: length of the shorter side before the middle 224 pixels are cut out for evaluation: 256, or 232 as for
            torchvision's second weights.
        exif: EXIF orientation of photographs: "ignore" takes the pixels as stored, as torchvision does; "apply" turns
            the images upright.
        bad_image: what an unreadable image does: "fail" stops the run, "skip" leaves the image out.
    """
    check_choice("preprocessing", preprocessing, RANDOM_VIEWS)
    bundle = load_imagefolder(path, classes=classes, validation=validation, bad_image=bad_image, size=224,
                              resize=resize, exif=exif, random_view=RANDOM_VIEWS[preprocessing])
    _check_classes(bundle.class_names, classes)
    return dataclasses.replace(bundle, name="imagenet", read={**bundle.read, "name": "imagenet"})


def _check_classes(names, file):
    where, remedy = ("the class folders", "give all of them in a file with --imagenet.classes FILE "
                     "(--classes FILE of evaluate)") if file is None else (repr(file), "restore that file")
    if len(names) != CLASSES:
        raise BadInput(f"{where}: {len(names):,} classes, where ImageNet has {CLASSES:,}; {remedy}")
    if list(names) != sorted(names):
        k = next(k for k in range(1, CLASSES) if names[k - 1] > names[k])
        raise BadInput(f"{where}: {names[k]!r} at place {k + 1} is out of order; sort the classes by wnid")
    if hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest() != CLASSES_SHA256:
        raise BadInput(f"{where}: not ImageNet's 1,000 wnids; {remedy}, or use --data imagefolder")
