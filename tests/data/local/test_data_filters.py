"""Image trees as people have them: each filter of input shows as a number, nothing is left out in silence."""
import io

import numpy as np
import pytest
from image_trees import EITHER, in_folder
from PIL import Image

from tinyq import data
from tinyq.data.images.decode import ImageFile
from tinyq.data.images.formats import SUFFIXES
from tinyq.errors import BadInput
from tinyq.run.dry_run import splits

SMALL = {"size": 14, "resize": 16, "validation": 0}


def picture(form="PNG"):
    file = io.BytesIO()
    Image.fromarray(np.full((20, 24, 3), 200, np.uint8)).save(file, form)
    return file.getvalue()


PNG = picture()


def lengths(bundle):
    return {name: len(part) for name in ("train", "validation", "test") if (part := getattr(bundle, name))}


@EITHER
@pytest.mark.parametrize("form", SUFFIXES)
def test_every_suffix_of_a_format_is_read(tmp_path, stored, form):
    held = picture(form)
    names = [f"val/a/_{k}{suffix}" for suffix in SUFFIXES[form] for k in (suffix, suffix.upper())]
    bundle = data.load("imagefolder", stored(tmp_path, dict.fromkeys(names, held)), **SMALL)
    x, _ = bundle.test.batch(np.arange(len(names)))
    assert len(x) == len(names) and "passed over" not in splits(bundle)
    assert (abs((x[:, 0] * 0.229 + 0.485) * 255 - 200) < 3).all()


@EITHER
def test_what_is_passed_over_is_counted_by_its_reason_and_said(tmp_path, stored):
    contents = dict.fromkeys(["train/a/0.png", "val/a/0.png"], PNG)
    contents |= dict.fromkeys(["train/a/0.heic", "train/a/1.heic", "val/a/more/2.heic", "val/a/notes.TXT",
                               "val/a/LICENSE", "val/a/.DS_Store", "val/.git/x.png", "val/.git/y.png",
                               "readme.md", "train/list.csv", "__MACOSX/train/a/._0.png", "val/a/odd.\u202epng"], b"")
    bundle = data.load("imagefolder", stored(tmp_path, contents), **SMALL)
    assert lengths(bundle) == {"train": 1, "test": 1}
    expected = {".heic": 3, "hidden": 3, "outside the class folders": 2, "without suffix": 2, ".txt": 1}
    assert bundle.manifest["passed_over"] == expected
    assert splits(bundle).endswith("; passed over: 3 .heic, 3 hidden, 2 outside the class folders, 2 without suffix, "
                                   "1 .txt")


def test_evaluate_says_what_was_passed_over(tmp_path, monkeypatch, capsys):
    from tinyq import models
    from tinyq.__main__ import main
    from tinyq.files import safetensors

    monkeypatch.chdir(in_folder(tmp_path, dict.fromkeys(["val/a/0.png", "val/b/0.png", "val/b/1.heic"], PNG)))
    safetensors.write("net.safetensors", models.build("logistic", 2, (3, 8, 8)).state_dict())
    assert main("convert net.safetensors net.h5 --model logistic --input-shape 3,8,8".split()) == 0
    assert main("evaluate net.h5 --data-path .".split()) == 0
    assert capsys.readouterr().out.endswith("\npassed over  2 outside the class folders, 1 .heic\n")


@EITHER
def test_images_in_sub_folders_belong_to_their_class(tmp_path, stored):
    names = ["train/a/0.png", "train/a/more/1.png", "train/a/more/deep/2.png", "train/b/only/3.png", "valid/a/x/4.png",
             "valid/b/5.png"]
    bundle = data.load("imagefolder", stored(tmp_path, dict.fromkeys(names, PNG)), **SMALL)
    assert bundle.train.names == names[:4] and bundle.train.labels.tolist() == [0, 0, 0, 1]
    assert bundle.test.names == names[4:] and bundle.manifest["passed_over"] == {}


@EITHER
@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_has_three_names(tmp_path, stored, name):
    contents = {f"{split}/a/{k}.png": PNG for split, n in (("train", 3), (name, 2), ("test", 1)) for k in range(n)}
    where = stored(tmp_path, contents)
    assert lengths(data.load("imagefolder", where, size=14)) == {"train": 3, "validation": 2, "test": 1}
    assert lengths(data.load("imagefolder", where, **SMALL)) == {"train": 5, "test": 1}


@EITHER
def test_without_training_images_both_other_parts_are_there(tmp_path, stored):
    where = stored(tmp_path, dict.fromkeys(["valid/a/0.png", "test/a/0.png", "test/a/1.png"], PNG))
    assert lengths(data.load("imagefolder", where, size=14)) == {"validation": 1, "test": 2}


@EITHER
@pytest.mark.parametrize("other, message", [
    ("extra", "'extra' beside train/.*rename these folders, or move them elsewhere"),
    ("Train", "'Train' beside"), ("valid", "'val' and 'valid' are both the part val")])
def test_a_top_folder_that_would_be_left_out_is_an_error(tmp_path, stored, other, message):
    names = ["train/a/0.png", "val/a/0.png", f"{other}/a/0.png"]
    with pytest.raises(BadInput, match=message):
        data.load("imagefolder", stored(tmp_path, dict.fromkeys(names, PNG)), **SMALL)


def test_links_are_followed_but_not_in_circles(tmp_path):
    in_folder(tmp_path, dict.fromkeys(["images/a/0.png", "images/b/0.png", "images/b/more/1.png"], PNG))
    for name in ("train", "val"):
        (tmp_path / name).symlink_to("images")
    (tmp_path / "images" / "a" / "up").symlink_to("..")
    (tmp_path / "images" / "b" / "self").symlink_to("more")
    bundle = data.load("imagefolder", tmp_path, **SMALL)
    assert bundle.train.names[0] == "train/a/0.png" and bundle.manifest["passed_over"]["links to a folder above"] > 0
    assert "train/b/self/1.png" in bundle.train.names


def test_cifar_in_class_folders_refuses_a_third_part(tmp_path):
    in_folder(tmp_path, dict.fromkeys(["train/a/0.png", "test/a/0.png", "val/a/0.png"], PNG))
    with pytest.raises(BadInput, match="'val' beside train/, test/;"):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize("form", ["WebP", "BMP", "TIFF", "GIF"])
def test_a_format_under_another_format_s_name_is_refused_with_its_own(form):
    suffix = SUFFIXES[form][0]
    with pytest.raises(BadInput, match=f"neither a JPEG nor a PNG image but {form}; end its name with {suffix}"):
        ImageFile(picture(form), "a.jpg")
    assert ImageFile(picture(form), f"a{suffix}").pixels().shape == (20, 24, 4)


def webp_claiming(kind, header):
    body = kind + len(header).to_bytes(4, "little") + header
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body


@pytest.mark.parametrize("data_", [
    webp_claiming(b"VP8X", bytes(4) + b"\xff\x3f\0" * 2),
    webp_claiming(b"VP8L", b"\x2f" + b"\xff\xff\xff\x0f" + bytes(5)),
    webp_claiming(b"VP8 ", b"\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f")], ids=["extended", "lossless", "lossy"])
def test_a_webp_is_refused_by_the_size_that_its_header_claims(data_):
    with pytest.raises(BadInput, match="an image of 1638. x 1638. pixels, over the limit"):
        ImageFile(data_, "a.webp")


def test_a_webp_of_another_kind_is_unreadable():
    with pytest.raises(BadInput, match="unreadable image .*no WebP header"):
        ImageFile(webp_claiming(b"VP8?", bytes(10)), "a.webp")


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0"}], ids=str)
def test_the_size_of_a_webp_is_the_decoder_s(options):
    from tinyq.data.images.formats import webp_size

    file = io.BytesIO()
    Image.fromarray(np.zeros((21, 45, 3), np.uint8)).save(file, "WEBP", **options)
    assert webp_size(file.getvalue()) == (45, 21)
