"""Read images in class folders, ImageNet's layout: train/<class>/*.jpg and val/<class>/*.jpg (or test/), or a .zip."""
from collections.abc import Collection
from pathlib import Path

import numpy as np

from tinyq.data.bundle import DataBundle, make_bundle
from tinyq.data.datasets import ImageFiles
from tinyq.data.local.class_names import class_lines, named_as_folders
from tinyq.data.local.filters import PARTS, folder_of_each_part, quoted
from tinyq.data.local.roots import data_root
from tinyq.data.local.tree import labelled_images, open_tree
from tinyq.data.splits import classes_in_turn, hold_out_last
from tinyq.data.views import CentreView, RandomCropView, RandomResizedView
from tinyq.errors import BadInput, UsageError, did_you_mean
from tinyq.inputs.preparation import DEEP, EXIF, WHITE, Preparation

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)        # of ImageNet's training images, as in every recipe
GREY_MEAN, GREY_STD = (0.449,), (0.226,)                        # of its grey, as networks of one channel have them
RANDOM_VIEWS = {
    "resized": lambda size, resize, flip, jitter: RandomResizedView(size, flip=flip, jitter=jitter),
    "crop": lambda size, resize, flip, jitter: RandomCropView(size, resize, flip, jitter),
}


def load_imagefolder(path: str | Path | None = None, *, classes: str | None = None, validation: int | None = None,
                     size: int = 224, resize: int | None = None, random_view: str = "resized", flip: bool = True,
                     jitter: float = 0.0, exif: str = "ignore", channels: int = 3, bits: int = 8,
                     bad_image: str = "fail") -> DataBundle:
    """Read images in class folders or a .zip of them: train/<class>/ and, for testing, test/<class>/ or val/<class>/.

    If both test/ and val/ exist, val/ is for validation. valid/ and validation/ are val/. Images in sub-folders of a
    class belong to it. BadInput for missing or damaged files, and for a top folder of another name.

    Args:
        path: folder or .zip file of the images.
        classes: file with one class per line, which fixes the labels where some classes have no folder: the line, or
            else its first word, is the folder's name.
        validation: number of training images held out for validation, the last ones of each class; by default 5 %,
            or val/ if test/ exists too; 0 trains on all.
        size: side of the square that the network sees, in pixels.
        resize: length of the shorter side before the square is cut out for evaluation; by default 8/7 of `size`.
        random_view: training view: "resized" cuts out a random part and resizes it, "crop" cuts a random square out
            of the resized image.
        flip: mirror half of the training images.
        jitter: strength of random changes of brightness, contrast and saturation; 0 for none.
        exif: EXIF orientation of photographs: "ignore" takes the pixels as stored, as torchvision does; "apply" turns
            the images upright.
        channels: 3 for colours, 1 for grey.
        bits: 8, or 16, which grey pictures of 16 bits keep; of coloured ones the upper 8 bits are kept.
        bad_image: what an unreadable image does: "fail" stops the run, "skip" leaves the image out.
    """
    check_choice("random_view", random_view, RANDOM_VIEWS)
    check_choice("bad_image", bad_image, ("fail", "skip"))
    how = preparation(size=size, resize=resize, exif=exif, channels=channels, bits=bits)
    if how.is_deep and jitter:
        raise UsageError("jitter: changes 8-bit colours; leave it out, or bits 16")
    tree = open_tree(data_root(path))
    class_names, parts = _parts(tree, classes, validation)
    varied = RANDOM_VIEWS[random_view](size, how.resized(size), flip, jitter)
    view = CentreView(size, how.resized(size))
    splits = {name: ImageFiles(tree, names, labels, how, view, varied, bad_image == "skip", channels=channels)
              for name, (names, labels) in parts.items()}
    return make_bundle("imagefolder", splits, (channels, size, size), class_names, **how.facts(), size=size,
                       sha256_of="file names, sizes and labels", passed_over=tree.passed_over())


def preparation(*, size: int = 224, resize: int | None = None, exif: str = "ignore", channels: int = 3,
                bits: int = 8) -> Preparation:
    """Return how photographs become input: the shorter side `resize` pixels long, by default 8/7 of `size`."""
    check_choice("exif", exif, EXIF)
    if channels not in (1, 3) or bits not in (8, 16) or (channels, bits) == (3, 16):
        raise UsageError(f"channels {channels} with bits {bits}: pictures have 3 channels of 8 bits, or 1 of 8 or 16")
    resize = resize or -(-size * 8 // 7)
    if not 0 < size <= resize:
        raise UsageError(f"size {size} with resize {resize}: the square must lie inside the resized image")
    mean, std = (MEAN, STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    top = DEEP if bits == 16 else WHITE
    return Preparation(mean, std, divisor=top, brightest=top, resize=resize, exif=exif)


def _parts(tree, classes, validation):
    """Return class names and {split: (image names, labels)}. classes: file of class names, or None."""
    tops = tree.splits()
    if not {"test", "val"} & {PARTS.get(name) for name in tops}:
        raise BadInput(f"{str(tree.path)!r}: neither val/ nor test/ here{f', but {quoted(tops)}' if tops else ''}; "
                       "images belong in train/<class>/ and val/<class>/ or test/<class>/")
    folders = folder_of_each_part(tree.path, tops)
    class_names, partial, read = _class_names(tree, folders, classes) if classes else None, bool(classes), {}
    for part, folder in sorted(folders.items(), key=lambda item: item[0] != "train"):
        class_names, *read[part] = labelled_images(tree, folder, class_names, partial)
    own = read.pop("val", None) if "test" in read else None
    parts = {"test": read["test"] if "test" in read else read["val"]}
    if "train" in read:
        parts |= _validated(read["train"], own, validation, str(tree.path))
    elif own:
        parts["validation"] = own
    return class_names, parts


def _class_names(tree, folders, path):
    """Return the names in a file of classes, each as its folder is called in any part."""
    found = {name for folder in folders.values() for name in tree.folders(folder)}
    return named_as_folders(class_lines(path), found, path)


def _validated(train, own, validation, what):
    """Return the training part and, if there is one, the validation part: val/ or the last images of each class."""
    names, labels = train
    if own is None:
        order, held_out = classes_in_turn(labels), len(labels) // 20 if validation is None else validation
    elif validation in (None, 0):
        names, labels = names + own[0], np.concatenate([labels, own[1]])
        order, held_out = np.arange(len(labels)), 0 if validation == 0 else len(own[1])
    else:
        raise UsageError(f"{what!r}: its folder val/ is the validation part; leave out validation, or set it to 0 to "
                         "train on val/ too")
    pair = hold_out_last(len(order), held_out, what)
    parts = {name: np.sort(order[part]) for name, part in zip(("train", "validation"), pair, strict=True)}
    return {name: ([names[k] for k in part], labels[part]) for name, part in parts.items() if len(part)}


def check_choice(option: str, value: object, choices: Collection[str]) -> None:
    """Raise UsageError, with the nearest choice, unless the value is one of an option's choices."""
    if value not in choices:
        raise UsageError(f"{option} {value!r}: {did_you_mean(str(value), choices)}")
