"""Read CIFAR-10: the official binary or Python version, or its images in class folders or a .zip of them."""
from pathlib import Path

import numpy as np

from tinyq.data.bundle import DataBundle, make_bundle
from tinyq.data.datasets import ImageArray
from tinyq.data.images.decode import ImageFile
from tinyq.data.local.archive import read_members, top_folder
from tinyq.data.local.cifar_batches import read_batch
from tinyq.data.local.filters import folder_of_each_part
from tinyq.data.local.roots import folder_with
from tinyq.data.local.tree import labelled_images, open_tree
from tinyq.data.splits import check_labels, classes_in_turn, hold_out_last
from tinyq.errors import BadInput
from tinyq.files.read import read_file
from tinyq.inputs.preparation import Preparation

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PREPARATION = Preparation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))      # of the 50,000 training images
ARCHIVE, FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
TRAIN_FILES, TEST_FILES = tuple(f"data_batch_{k}.bin" for k in range(1, 6)), ("test_batch.bin",)
PYTHON_FOLDERS = "cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"       # the second is Keras'
PYTHON_ARCHIVES = "cifar-10-python.tar.gz", "cifar-10-batches-py.tar.gz"
PYTHON_TRAIN, PYTHON_TEST = tuple(name.removesuffix(".bin") for name in TRAIN_FILES), ("test_batch",)
ZIP = "cifar*10*.zip"
PICKLE_BYTES = 1 << 20                                                # of a batch beside its pixels: labels, file names
LOOKED_FOR = (f"{TRAIN_FILES[0]} and the others of {FOLDER} or {ARCHIVE}, {PYTHON_TRAIN[0]} and the others of "
              f"{PYTHON_FOLDERS[0]} or {PYTHON_ARCHIVES[0]}, or class folders in train and test, or one {ZIP} of those")
IMAGES_PER_FILE, RECORD = 10_000, 1 + 3 * 32 * 32                     # a label, then red, green and blue planes


def load_cifar10(path: str | Path | None = None, *, validation: int = 5000, padding: int = 4,
                 flip: bool = True) -> DataBundle:
    """Read CIFAR-10: the binary or the Python version's files, a .tar.gz of them, or class folders, or a .zip of those.

    Class folders are train/<class>/ and test/<class>/. The Python version's files are pickles; none of their code is
    run. BadInput for a missing or damaged file.

    Args:
        path: folder or archive of the files.
        validation: number of training images held out for validation, the last ones (of each class in folders);
            0 trains on all.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
    """
    where = located(path)
    read = _read_tree if where.suffix.lower() == ".zip" or (where / "train").is_dir() else _read_batches
    train, test, order, passed_over = read(where)
    training, validating = hold_out_last(len(order), validation, "cifar10")
    arrays = {"train": tuple(a[np.sort(order[training])] for a in train), "test": test}
    if validation:
        arrays["validation"] = tuple(a[np.sort(order[validating])] for a in train)
    splits = {name: ImageArray(images, labels, PREPARATION.mean, PREPARATION.std, 255, padding, flip)
              for name, (images, labels) in arrays.items()}
    return make_bundle("cifar10", splits, (3, 32, 32), CLASSES, **PREPARATION.facts(),
                       passed_over=passed_over)


def located(path: str | Path | None) -> Path:
    """Return the folder or archive of the files; BadInput, with the names looked for, where there is none."""
    if path is not None and Path(path).is_file():
        return Path(path)
    held = _held(folder_with("cifar10", path, lambda folder: _held(folder) is not None, LOOKED_FOR))
    assert held is not None
    return held


def _held(folder):
    """Return where a folder holds CIFAR-10: the folder itself, its extracted archive, its archive, or None."""
    for below in (folder, folder / FOLDER, *(folder / below for below in PYTHON_FOLDERS)):
        if any((below / name).is_file() for name in (TRAIN_FILES[0], PYTHON_TRAIN[0])):
            return below
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return folder
    zips = sorted(folder.glob(ZIP))
    archives = [folder / name for name in (ARCHIVE, *PYTHON_ARCHIVES)] + zips * (len(zips) == 1)
    return next((archive for archive in archives if archive.is_file()), None)


def _read_batches(where):
    contents = _binary(where) if not _is_python(where) else {
        f"{name}.bin": read_batch(data, repr(str(where / name)), IMAGES_PER_FILE, RECORD - 1).tobytes()
        for name, data in _pickled(where).items()}
    train, test = (_records(contents, names, where) for names in (TRAIN_FILES, TEST_FILES))
    return train, test, np.arange(len(train[1])), {}


def _is_python(where):
    if where.is_dir():
        return not (where / TRAIN_FILES[0]).is_file()
    return top_folder(where, (FOLDER, PYTHON_FOLDERS[0]), 6 * IMAGES_PER_FILE * RECORD) == PYTHON_FOLDERS[0]


def _binary(where):
    """Return {name: contents} of the binary version."""
    names, size = TRAIN_FILES + TEST_FILES, IMAGES_PER_FILE * RECORD
    if where.is_dir():
        return {name: _file(where / name, " fetch it: python -m tinyq.data fetch cifar10") for name in names}
    return read_members(where, FOLDER, dict.fromkeys(names, size))


def _pickled(where):
    """Return {name: contents} of the Python version, whose files differ a little in size."""
    names, size = PYTHON_TRAIN + PYTHON_TEST, IMAGES_PER_FILE * RECORD + PICKLE_BYTES
    if where.is_dir():
        return {name: _file(where / name, " restore it") for name in names}
    return read_members(where, PYTHON_FOLDERS[0], dict.fromkeys(names, size), exact=False)


def _file(path, remedy):
    try:
        return read_file(path, 2 * IMAGES_PER_FILE * RECORD + PICKLE_BYTES)
    except BadInput as error:
        raise BadInput(f"{error};{remedy}") from error


def _records(contents, names, where):
    """Return images (n, 3, 32, 32) uint8 and labels of the named batch files."""
    for name in names:
        if len(contents[name]) != IMAGES_PER_FILE * RECORD:
            raise BadInput(f"{str(where / name)!r}: {len(contents[name]):,} bytes, not {IMAGES_PER_FILE * RECORD:,}; "
                           "the file is damaged, fetch it again: python -m tinyq.data fetch cifar10")
    rows = np.concatenate([np.frombuffer(contents[name], np.uint8).reshape(-1, RECORD) for name in names])
    return rows[:, 1:].reshape(-1, 3, 32, 32), check_labels(rows[:, 0], 10, f"{str(where)!r} ({names[0]} ...)")


def _read_tree(where):
    tree = open_tree(where)
    folder_of_each_part(where, tree.splits(), ("train", "test"))
    train, test = (_decoded(tree, split) for split in ("train", "test"))
    return train, test, classes_in_turn(train[1]), tree.passed_over()


def _decoded(tree, split):
    """Return images (n, 3, 32, 32) uint8 and labels of one split of a tree."""
    _, names, labels = labelled_images(tree, split, CLASSES)
    images = np.empty((len(names), 32, 32, 3), np.uint8)
    for k, name in enumerate(names):            # one by one: threads cost more than such small images
        pixels = ImageFile(tree.read(name), name).pixels()
        if pixels.shape[:2] != (32, 32):
            raise BadInput(f"{str(tree.path / name)!r}: {pixels.shape[1]} x {pixels.shape[0]} pixels, not 32 x 32")
        images[k] = pixels[..., :3]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels
