"""Read MNIST, or a dataset in the same four IDX files: 28x28 grey images in ten classes."""
import zipfile
from pathlib import Path

from tinyq.data.bundle import DataBundle, make_bundle
from tinyq.data.datasets import ImageArray
from tinyq.data.local.idx import find_idx, read_idx
from tinyq.data.local.npz import read_npz
from tinyq.data.local.roots import folder_with
from tinyq.data.splits import check_labels, hold_out_last
from tinyq.errors import BadInput
from tinyq.inputs.preparation import Preparation

FILES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
         "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
ARCHIVE = "mnist.npz"                                                   # as Keras fetches it
FOLDERS = ("raw", "MNIST/raw", "MNIST", "mnist/MNIST/raw")              # as torchvision leaves them
LOOKED_FOR = ("train-images-idx3-ubyte and the other three, or train-images.idx3-ubyte, each as .gz or not, "
              f"or {ARCHIVE}")
MEAN, STD = (0.1307,), (0.3081,)                    # of the 60,000 training images


def load_mnist(path: str | Path | None = None, *, validation: int = 5000, padding: int = 0, flip: bool = False,
               whole: bool = False) -> DataBundle:
    """Read MNIST: four IDX files, as .gz or not, or Keras' mnist.npz, in `path`, `path`/mnist or `path`/MNIST/raw.

    BadInput for a missing or damaged file.

    Args:
        path: folder of the files, or an .npz file.
        validation: number of training images held out for validation, the last ones; 0 trains on all.
        padding: pixels by which a training image is shifted at random, in each direction over a black border.
        flip: mirror half of the training images.
        whole: scale inputs as pixel / 256 without normalising, so that a discrete network computes exactly.
    """
    folder = located(path)
    (images, labels), test = _read_npz(folder) if folder.is_file() else (
        _read_pair(folder, *FILES[split]) for split in ("train", "test"))
    if images.shape[1:] != test[0].shape[1:] or not images[0].size:
        raise BadInput(f"{str(folder)!r}: training images of shape {images.shape[1:]}, test images of shape "
                       f"{test[0].shape[1:]}; the files do not belong together")
    training, validating = hold_out_last(len(labels), validation, "mnist")
    arrays = {"train": (images[training], labels[training]), "test": test}
    if validation:
        arrays["validation"] = images[validating], labels[validating]
    how = preparation(whole=whole)
    splits = {name: ImageArray(pixels, digits, how.mean, how.std, how.divisor, padding, flip)
              for name, (pixels, digits) in arrays.items()}
    return make_bundle("mnist", splits, images.shape[1:], map(str, range(10)), **how.facts())


def preparation(*, whole: bool = False) -> Preparation:
    """Return how MNIST's pixels become input."""
    return Preparation((0.0,), (1.0,), 256) if whole else Preparation(MEAN, STD)


def located(path: str | Path | None) -> Path:
    """Return the folder of the IDX files, or the .npz file; BadInput, with the names looked for, where neither is."""
    if path is not None and Path(path).is_file():
        return Path(path) if Path(path).suffix == ".npz" or zipfile.is_zipfile(path) else Path(path).parent
    folder = folder_with("mnist", path, _holds, LOOKED_FOR, FOLDERS)
    return folder if find_idx(folder, FILES["train"][0]) else folder / ARCHIVE


def _holds(folder):
    return find_idx(folder, FILES["train"][0]) or (folder / ARCHIVE).is_file()


def _read_npz(path):
    """Return ((images, labels) to train, to test) of the archive that Keras fetches."""
    found = read_npz(path, {"x_train": 3, "y_train": 1, "x_test": 3, "y_test": 1})
    pairs = []
    for split in ("train", "test"):
        images, labels = found[f"x_{split}"], check_labels(found[f"y_{split}"], 10, f"{str(path)!r} (y_{split})")
        if len(images) != len(labels) or not len(labels):
            raise BadInput(f"{str(path)!r}: {len(images)} images for {len(labels)} labels in x_{split} and y_{split}; "
                           "it is damaged")
        pairs.append((images[:, None], labels))
    return pairs


def _read_pair(folder, images_name, labels_name):
    """Read the labels, which are small, and then as many images."""
    labels = check_labels(read_idx(_found(folder, labels_name), 1), 10, str(Path(folder) / labels_name))

    def check_count(shape):
        if shape[0] != len(labels) or not len(labels):
            raise BadInput(f"{str(Path(folder) / images_name)!r}: {shape[0]} images for the {len(labels)} labels "
                           f"of {labels_name}; the files do not belong together")

    return read_idx(_found(folder, images_name), 3, check_count)[:, None], labels


def _found(folder, name):
    path = find_idx(folder, name)
    if path is None:
        raise BadInput(f"{str(folder)!r}: {name} (or {name}.gz) is missing; fetch it: python -m tinyq.data fetch mnist")
    return path
