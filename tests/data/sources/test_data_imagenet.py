"""ImageNet: the order of its classes, its two preparations, and the photographs that are not three colours."""
import hashlib

import numpy as np
import pytest
from PIL import Image

from tinyq import data
from tinyq.data.sources import imagenet
from tinyq.data.views import RandomCropView, RandomResizedView
from tinyq.errors import BadInput, UsageError


@pytest.fixture
def few_classes(monkeypatch, tmp_path):
    """An ImageNet of four classes, of which three have photographs; (folder, file of its classes)."""
    names = ["n01", "n02", "n03", "n04"]
    monkeypatch.setattr(imagenet, "CLASSES", 4)
    monkeypatch.setattr(imagenet, "CLASSES_SHA256", _digest(names))
    for split, count in (("train", 3), ("val", 1)):
        for name, mode in zip(names, ("RGB", "L", "CMYK"), strict=False):
            (tmp_path / split / name).mkdir(parents=True)
            for k in range(count):
                Image.new(mode, (300, 280), 90).save(tmp_path / split / name / f"{k}.JPEG", "JPEG")
    (tmp_path / "classes.txt").write_text("".join(f"{name} something\n" for name in names))
    return tmp_path, str(tmp_path / "classes.txt")


def _digest(names):
    return hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()


def test_labels_are_places_in_the_full_list(few_classes):
    folder, classes = few_classes
    bundle = data.load("imagenet", folder, classes=classes, validation=0)
    assert bundle.name == bundle.manifest["name"] == "imagenet" and bundle.num_classes == 4
    assert bundle.input_shape == (3, 224, 224)
    assert bundle.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] and bundle.test.labels.tolist() == [0, 1, 2]


def test_grey_and_cmyk_photographs_are_read(few_classes):
    folder, classes = few_classes
    bundle = data.load("imagenet", folder, classes=classes, validation=0)
    x, _ = bundle.test.batch(np.arange(3))
    grey = x[1] * np.float32([0.229, 0.224, 0.225])[:, None, None] + np.float32([0.485, 0.456, 0.406])[:, None, None]
    assert x.shape == (3, 3, 224, 224) and np.abs(grey - 90 / 255).max() < 0.01


@pytest.mark.parametrize("preprocessing, view", [("torchvision", RandomResizedView(224)),
                                                 ("rpr", RandomCropView(224, 256))])
def test_the_two_preparations(few_classes, preprocessing, view):
    folder, classes = few_classes
    bundle = data.load("imagenet", folder, classes=classes, validation=0, preprocessing=preprocessing)
    assert bundle.train.random_view == view and (bundle.train.view.size, bundle.train.view.resize) == (224, 256)


def test_an_unknown_preparation_is_refused_with_the_nearest(few_classes):
    with pytest.raises(UsageError, match="preprocessing 'torchvison'.*torchvision"):
        data.load("imagenet", few_classes[0], preprocessing="torchvison")


def test_classes_without_a_folder_need_the_list(few_classes):
    with pytest.raises(BadInput, match="the class folders: 3 classes, where ImageNet has 4; .*--imagenet.classes FILE"):
        data.load("imagenet", few_classes[0], validation=0)


@pytest.mark.parametrize("text, reason", [("n02\nn01\nn03\nn04\n", "'n01' at place 2 is out of order"),
                                          ("n01\nn02\nn03\nn05\n", "not ImageNet's 1,000 wnids"),
                                          ("n01\nn02\nn03\n", "3 classes, where")])
def test_another_list_is_refused(few_classes, text, reason):
    folder, classes = few_classes
    (folder / "classes.txt").write_text(text)
    with pytest.raises(BadInput, match=reason):
        data.load("imagenet", folder, classes=classes, validation=0)


def test_the_real_list_and_photographs(shared_data):
    bundle = data.load("imagenet", shared_data("imagenet-sample"), classes=str(shared_data("imagenet_classes.txt")))
    assert len(bundle.test) == 200 and bundle.num_classes == 1000 and bundle.train is None
    assert bundle.test.labels.tolist() == list(range(0, 1000, 5))
