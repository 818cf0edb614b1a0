"""Image folders and zips of them: which images, which labels, which are left out."""
import io
import zipfile

import numpy as np
import pytest
from image_trees import EITHER, in_folder, in_zip
from PIL import Image

from tinyq import data
from tinyq.data.local.tree import FolderTree, ZipTree
from tinyq.errors import BadInput, UsageError
from tinyq.streams import Streams

SMALL = {"size": 14, "resize": 16}


def picture(k, shape=(20, 24)):
    file = io.BytesIO()
    Image.fromarray(np.full((*shape, 3), (k % 256, k // 256, 0), np.uint8)).save(file, "PNG")
    return file.getvalue()


def names_of(**splits):
    """{"train/cat/0.png": bytes}: as many images of each class as asked for."""
    keys = [f"{split}/{name}/{k}.png" for split, classes in splits.items()
            for name, n in classes.items() for k in range(n)]
    return {key: picture(k) for k, key in enumerate(keys)}


@EITHER
def test_labels_follow_the_class_folders_in_order(tmp_path, stored):
    where = stored(tmp_path, names_of(train={"b": 3, "a": 2}, val={"a": 1, "b": 1}))
    bundle = data.load("imagefolder", where, validation=0, **SMALL)
    assert bundle.class_names == ("a", "b") and bundle.input_shape == (3, 14, 14)
    assert bundle.train.labels.tolist() == [0, 0, 1, 1, 1] and bundle.test.labels.tolist() == [0, 1]
    x, y = bundle.train.batch(np.array([4, 0]))
    assert x.shape == (2, 3, 14, 14) and x.dtype == np.float32 and y.tolist() == [1, 0]
    red = [round(float(v)) for v in (x[:, 0, 0, 0] * np.float32(0.229) + np.float32(0.485)) * 255]
    assert red == [2, 3]                                    # b/2.png and a/0.png


@EITHER
def test_one_folder_around_the_parts_is_passed_through(tmp_path, stored):
    contents = names_of(train={"a": 30, "b": 30}, test={"a": 2, "b": 2})
    (tmp_path / "plain").mkdir()
    plain = data.load("imagefolder", in_folder(tmp_path / "plain", contents), **SMALL)
    beside = {"__MACOSX/photos/x.txt": b"", ".hidden/y": b""}
    around = {f"photos/{name}": held for name, held in contents.items()} | beside
    (tmp_path / "deep").mkdir()
    deep = data.load("imagefolder", stored(tmp_path / "deep", around), **SMALL)
    assert deep.manifest["sha256"] == plain.manifest["sha256"]
    (tmp_path / "deeper").mkdir()
    two = stored(tmp_path / "deeper", {f"x/{name}": held for name, held in around.items()})
    with pytest.raises(BadInput, match="neither val/ nor test/ here, but 'x'"):
        data.load("imagefolder", two, **SMALL)


def test_folder_and_zip_give_the_same_manifest(tmp_path):
    contents = names_of(train={"a": 30, "b": 30}, test={"a": 2, "b": 2})
    folder, packed = (data.load("imagefolder", stored(tmp_path, contents), **SMALL) for stored in (in_folder, in_zip))
    assert folder.manifest == packed.manifest


@EITHER
def test_the_last_images_of_each_class_validate(tmp_path, stored):
    where = stored(tmp_path, names_of(train={"a": 4, "b": 6, "c": 5}, val={"a": 1, "b": 1, "c": 1}))
    bundle = data.load("imagefolder", where, validation=7, **SMALL)
    assert np.bincount(bundle.validation.labels).tolist() == [3, 2, 2]
    assert bundle.validation.names[:3] == ["train/a/1.png", "train/a/2.png", "train/a/3.png"]
    assert not set(bundle.validation.names) & set(bundle.train.names)
    assert bundle.test.names[0].startswith("val/")


@EITHER
def test_a_folder_of_its_own_validates_or_is_folded_in(tmp_path, stored):
    where = stored(tmp_path, names_of(train={"a": 2}, val={"a": 1}, test={"a": 1}))
    bundle = data.load("imagefolder", where, **SMALL)
    assert [s.names for s in (bundle.train, bundle.validation, bundle.test)] == [
        ["train/a/0.png", "train/a/1.png"], ["val/a/0.png"], ["test/a/0.png"]]
    folded = data.load("imagefolder", where, validation=0, **SMALL)
    assert len(folded.train) == 3 and folded.validation is None
    with pytest.raises(UsageError, match="its folder val/"):
        data.load("imagefolder", where, validation=1, **SMALL)


@EITHER
def test_images_to_test_alone_need_no_training_folder(tmp_path, stored):
    bundle = data.load("imagefolder", stored(tmp_path, names_of(val={"a": 1, "b": 1})), **SMALL)
    assert bundle.train is None and bundle.validation is None and len(bundle.test) == 2


def test_a_list_of_classes_fixes_the_labels(tmp_path):
    where = in_folder(tmp_path, names_of(val={"n3": 1, "n1": 2}))
    (tmp_path / "classes.txt").write_text("n2 two\nn1 one\n\nn3 three\n")
    bundle = data.load("imagefolder", where, classes=str(tmp_path / "classes.txt"), **SMALL)
    assert bundle.class_names == ("n2", "n1", "n3") and bundle.test.labels.tolist() == [1, 1, 2]
    (tmp_path / "classes.txt").write_text("n1\nn2\n")
    with pytest.raises(BadInput, match="unknown classes: 'n3'"):
        data.load("imagefolder", where, classes=str(tmp_path / "classes.txt"), **SMALL)
    (tmp_path / "classes.txt").write_text("n1\nn1\n")
    with pytest.raises(BadInput, match="two lines name the class folder .n1."):
        data.load("imagefolder", where, classes=str(tmp_path / "classes.txt"), **SMALL)


@EITHER
@pytest.mark.parametrize("splits, message", [
    ({"other": {"a": 1}}, "neither val/ nor test/"),
    ({"train": {"a": 1}}, "neither val/ nor test/"),
    ({"train": {"a": 3, "b": 3}, "val": {"a": 1, "b": 1, "c": 1}}, "'val' has folders of unknown classes: 'c'"),
    ({"train": {"a": 3, "b": 3}, "val": {"a": 1}}, "'val' lacks the classes 'b'"),
])
def test_layouts_that_would_go_wrong_silently_are_refused(tmp_path, stored, splits, message):
    with pytest.raises(BadInput, match=message):
        data.load("imagefolder", stored(tmp_path, names_of(**splits)), validation=0, **SMALL)


@EITHER
def test_all_empty_class_folders_are_named_at_once(tmp_path, stored):
    where = stored(tmp_path, names_of(val={"a": 1}))
    if where.is_dir():
        for name in ("b", "c"):
            (where / "val" / name).mkdir()
        (where / "val" / "c" / "notes.txt").write_text("no image")
    else:
        with zipfile.ZipFile(where, "a") as archive:
            archive.writestr("val/b/", b"")
            archive.writestr("val/c/", b"")
            archive.writestr("val/c/notes.txt", b"no image")
    with pytest.raises(BadInput, match="no .jpg, .jpeg, .png images for 'b', 'c'; fill or remove"):
        data.load("imagefolder", where, **SMALL)


def test_what_is_no_image_or_hidden_is_passed_over(tmp_path):
    passed_over = ("val/a/.DS_Store", "val/.git/x.png", "val/a/._0.png", "readme.txt")
    where = in_folder(tmp_path, names_of(val={"a": 2}) | dict.fromkeys(passed_over, b""))
    assert len(data.load("imagefolder", where, **SMALL).test) == 2


def test_grey_pictures_and_those_of_sixteen_bits_are_read_as_their_eight_bit_colours(tmp_path):
    grey = np.arange(400, dtype=np.uint16).reshape(20, 20) * 160 + 7
    eight = (grey >> 8).astype(np.uint8)
    (tmp_path / "val" / "a").mkdir(parents=True)
    for name, pixels in (("0", grey), ("1", eight), ("2", np.repeat(eight[..., None], 3, 2))):
        Image.fromarray(pixels).save(tmp_path / "val" / "a" / f"{name}.png")
    x, _ = data.load("imagefolder", tmp_path, **SMALL).test.batch(np.arange(3))     # before: the first was refused
    assert x[0].tobytes() == x[1].tobytes() == x[2].tobytes() and x.std() > 0


def test_odd_file_names_are_read_and_shown_in_one_line(tmp_path):
    names = ["with space.png", "new\nline.png", "quote'.png", "caf\u00e9.PNG", "bad\udcff.jpg"]
    contents = {f"val/a/{name}": picture(k) for k, name in enumerate(names)}
    contents["val/a/new\nline.png"] = b"broken"
    bundle = data.load("imagefolder", in_folder(tmp_path, contents), **SMALL)
    assert len(bundle.test) == 5 and bundle.manifest["sha256"]
    with pytest.raises(BadInput, match=r"'val/a/new\\nline.png': neither") as caught:
        bundle.test.batch(np.arange(5))
    assert "\n" not in str(caught.value)


def broken_set(tmp_path, broken, n=12, **options):
    contents = names_of(val={"a": n})
    for k in broken:
        contents[f"val/a/{k}.png"] = contents[f"val/a/{k}.png"][:40]
    return data.load("imagefolder", in_folder(tmp_path, contents), **SMALL, **options).test


def test_an_unreadable_image_stops_the_run_and_is_named(tmp_path):
    with pytest.raises(BadInput, match="'val/a/3.png': unreadable image .* --imagefolder.bad-image skip"):
        broken_set(tmp_path, [3]).batch(np.arange(6))


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_left_out_of_x_y_and_indices_and_counted(tmp_path, workers):
    dataset = broken_set(tmp_path, [3], bad_image="skip")
    position = dataset.names.index("val/a/3.png")
    batches = list(data.Loader(dataset, 4, workers=workers).epoch())
    assert [len(b.x) for b in batches].count(3) == 1
    assert all(len(b.x) == len(b.y) == len(b.indices) for b in batches)
    assert sorted(np.concatenate([b.indices for b in batches])) == [k for k in range(12) if k != position]
    assert list(dataset.skipped) == [position] and "val/a/3.png" in dataset.skipped[position]


def test_the_bundle_and_its_manifest_count_the_skipped_images_of_each_split(tmp_path):
    contents = names_of(train={"a": 4}, val={"a": 3})
    contents["train/a/2.png"] = b"broken"
    bundle = data.load("imagefolder", in_folder(tmp_path, contents), validation=1, bad_image="skip", **SMALL)
    before = bundle.manifest
    assert bundle.skipped == {"test": 0, "train": 0, "validation": 0}
    list(data.Loader(bundle.train, 2).epoch())
    assert bundle.skipped == {"test": 0, "train": 1, "validation": 0}
    assert {split: about["skipped"] for split, about in bundle.manifest["splits"].items()} == bundle.skipped
    assert bundle.manifest["sha256"] == before["sha256"] and before["splits"]["train"]["skipped"] == 0


def test_a_batch_of_which_nothing_is_left_is_empty(tmp_path):
    dataset = broken_set(tmp_path, [3], bad_image="skip")
    x, y = dataset.batch(np.array([dataset.names.index("val/a/3.png")]))
    assert x.shape == (0, 3, 14, 14) and len(y) == 0
    lengths = [len(batch.y) for batch in data.Loader(dataset, 1).epoch()]
    assert len(lengths) == 12 and lengths[dataset.names.index("val/a/3.png")] == 0 and sum(lengths) == 11


def test_too_many_unreadable_images_stop_even_a_run_that_skips(tmp_path):
    dataset = broken_set(tmp_path, [3, 5], bad_image="skip")
    with pytest.raises(BadInput, match="2 of 12 images are unreadable, more than one in a thousand; .*: 'val/a/"):
        dataset.batch(np.arange(12))


@pytest.mark.parametrize("options, message", [
    ({"bad_image": "skp"}, "did you mean 'skip'"), ({"random_view": "resize"}, "did you mean 'resized'"),
    ({"size": 0}, "must lie inside"), ({"size": 32, "resize": 16}, "must lie inside"),
])
def test_wrong_options_are_usage_errors(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        data.load("imagefolder", tmp_path, **options)


@pytest.mark.parametrize("random_view", ["resized", "crop"])
def test_augmented_photographs_are_the_same_for_any_threads_and_order(tmp_path, random_view):
    rng = np.random.Generator(np.random.Philox(0))
    for k in range(10):
        folder = tmp_path / "train" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save(folder / f"{k}.jpg")
    in_folder(tmp_path, names_of(val={"a": 1, "b": 1}))
    bundle = data.load("imagefolder", tmp_path, validation=0, random_view=random_view, jitter=0.2, **SMALL)

    def samples(workers, batch_size):
        loader = data.Loader(bundle.train, batch_size, Streams(0), shuffle=True, augment=True, workers=workers)
        return {int(k): x.tobytes() for batch in loader.epoch(2) for k, x in zip(batch.indices, batch.x, strict=True)}

    assert samples(0, 4) == samples(3, 4) == samples(2, 1)


@pytest.mark.parametrize("name", ["../evil/a.png", "/val/a/0.png", "val/../../a.png", "val\\a\\0.png", "./val/a/0.png"])
def test_zip_members_that_would_leave_the_archive_are_refused(tmp_path, name):
    with pytest.raises(BadInput, match="outside the archive"):
        ZipTree(in_zip(tmp_path, {name: picture(0)}))


def test_a_zip_member_that_occurs_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
            archive.writestr("val/a/0.png", picture(0))
            archive.writestr("val/a/0.png", picture(1))
    with pytest.raises(BadInput, match="occurs twice"):
        ZipTree(tmp_path / "twice.zip")


def test_a_damaged_zip_member_and_a_damaged_zip_are_bad_input(tmp_path):
    path = in_zip(tmp_path, names_of(val={"a": 1}))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(picture(0)[40:], bytes(len(picture(0)) - 40), 1))
    with pytest.raises(BadInput, match="'val/a/0.png' cannot be unpacked"):
        ZipTree(path).read("val/a/0.png")
    path.write_bytes(whole[:-30])
    with pytest.raises(BadInput, match="not a readable zip file"):
        ZipTree(path)


def test_a_zip_bomb_is_refused_by_what_it_claims(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("val/a/0.png", "w") as member:
            for _ in range(101):
                member.write(bytes(1_000_000))
    with pytest.raises(BadInput, match="claims 101,000,000 bytes for one image"):
        ZipTree(path)


def test_a_missing_folder_is_said_to_be_missing(tmp_path):
    with pytest.raises(BadInput, match="no such folder"):
        FolderTree(tmp_path / "nowhere")


def test_a_sample_of_imagenet_is_read_with_its_labels(shared_data):
    bundle = data.load("imagefolder", shared_data("imagenet-sample"), classes=str(shared_data("imagenet_classes.txt")))
    assert bundle.num_classes == 1000 and len(bundle.test) == 200
    x, y = bundle.test.batch(np.array([0, 199]))
    assert x.shape == (2, 3, 224, 224) and y.tolist() == [0, 995]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_member_that_unpacks_to_far_more_than_it_is_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", method) as archive:
        archive.writestr("val/a/0.png", bytes(40_000_000))
    with pytest.raises(BadInput, match="member 'val/a/0.png' claims 40,000,000 bytes, unpacked from "):
        ZipTree(tmp_path / "bomb.zip")


def test_zip_members_that_share_their_bytes_are_refused(tmp_path):
    path = in_zip(tmp_path, {f"val/a/{i}.png": picture(0) for i in range(3)})
    data = path.read_bytes()
    at = data.index(b"PK\1\2")
    each = (len(data) - 22 - at) // 3
    entries = b"".join(data[at:at + each].replace(b"0.png", b"%d.png" % i) for i in range(10))
    end = bytearray(data[-22:])
    end[8:10] = end[10:12] = (10).to_bytes(2, "little")
    end[12:16] = len(entries).to_bytes(4, "little")
    path.write_bytes(data[:data.index(b"PK\3\4", 4)] + entries + end)
    with pytest.raises(BadInput, match="its members overlap|not a readable zip file"):
        ZipTree(path)
