"""How an input is prepared is one fact: evaluation, infer, the packed file and C see the same array, bit for bit."""
import dataclasses
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tinyq import data, models
from tinyq.__main__ import main as tinyq
from tinyq.data.images.decode import ImageFile
from tinyq.data.images.orientation import orientation_of
from tinyq.data.views import CentreView
from tinyq.files import safetensors
from tinyq.inputs.preparation import Preparation, parse
from tinyq.packed.c.entry import pixel_values
from tinyq.packed.file import format
from tinyq.run.settings.resolve import resolve
from tinyq.saved import model_file
from tinyq.saved.attributes import preparation_of, shape_of
from tinyq.saved.eval_splits import split_for
from tinyq.saved.image_input import read_image
from tinyq.saved.packing import pack_model
from tinyq.streams import Streams

RNG = np.random.Generator(np.random.Philox(17))


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def a_photograph(path, h=90, w=130, orientation=1):
    rows, columns = np.mgrid[:h, :w]
    pixels = np.stack([rows * 255 // h, columns * 255 // w, RNG.integers(0, 256, (h, w))], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x112] = orientation
    image.save(path, exif=exif)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small copies of the datasets that need files, and each one's first test sample as a picture."""
    root = tmp_path_factory.mktemp("data")
    for part, n in (("train", 5001), ("t10k", 6)):                            # 5,000 are held out
        (root / f"{part}-images-idx3-ubyte").write_bytes(idx(RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)))
        (root / f"{part}-labels-idx1-ubyte").write_bytes(idx((np.arange(n) % 10).astype(np.uint8)))
    for name in data.class_names_of("cifar10"):
        for part in ("train", "test"):
            a_photograph(root / "small" / part / name / "0.png", 32, 32)
    for part in ("train", "val"):
        a_photograph(root / "photographs" / part / "a" / "0.png", orientation=6)
        a_photograph(root / "photographs" / part / "b" / "0.png", 300, 100)
    return root


DATA_PATH = {"mnist": ".", "cifar10": "small", "imagefolder": "photographs"}


def picture_of(root, name, tmp_path):
    """The first test sample as a file that infer takes; the digits' 17 levels are spread over 256."""
    if name == "imagefolder":
        return root / "photographs" / "val" / "a" / "0.png"
    options = {"path": root / DATA_PATH[name], "validation": 0} if name in DATA_PATH else {}
    pixels = data.load(name, **options).test.images[0]
    pixels = np.rint(pixels * (255 / 16)).astype(np.uint8) if name == "digits" else pixels
    Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def check_everyone_sees_the_same(path, root, picture, name, packed_path):
    """path: of a model.h5 for the data `name`."""
    model, attributes = model_file.load_model(path)
    if attributes.get("data") == "cifar10":
        attributes["data_options"] = '{"validation": 0}'                       # there are ten images
    where = root / DATA_PATH[name] if name in DATA_PATH else None
    dataset, _ = split_for(path, attributes, "test", name, where)
    evaluated = dataset.batch(np.array([0]))[0][0]
    format.write(packed_path, pack_model(model, attributes))
    packed = format.read(packed_path)
    for held in (attributes, packed.meta):
        assert np.array_equal(read_image(picture, held), evaluated)
    again, _ = split_for(packed_path, packed.meta, "test", name, where)
    assert np.array_equal(again.batch(np.array([0]))[0][0], evaluated)
    values, preparation = pixel_values(packed), preparation_of(path, attributes)
    size = shape_of(attributes)[1]
    image_file = ImageFile(picture.read_bytes(), str(picture), preparation.exif)
    pixels = CentreView(size, preparation.resized(size))(image_file).transpose(2, 0, 1)[:len(values)]
    assert np.array_equal(np.stack([table[plane] for table, plane in zip(values, pixels, strict=True)]), evaluated)


@pytest.mark.parametrize("name, options", [
    ("digits", {}), ("digits", {"whole": True}), ("mnist", {}), ("mnist", {"whole": True}), ("cifar10", {}),
    ("imagefolder", {"size": 64}), ("imagefolder", {"size": 20, "resize": 20}),
    ("imagefolder", {"size": 40, "exif": "apply"})], ids=str)
def test_of_a_trained_network(folder, tmp_path, name, options):
    path = {"data_path": str(folder / DATA_PATH[name])} if name in DATA_PATH else {}
    fixed = {"validation": 0} if name != "digits" else {}
    config = resolve({"data": name, "model": "logistic", "recipe": "none", "method": "backprop", **path,
                      **{f"{name}.{key}": value for key, value in {**options, **fixed}.items()}}).config
    bundle = data.load(name, config.data_path, **config.options[name])
    model = models.build("logistic", bundle.num_classes, bundle.input_shape).initialise(Streams(1))
    attributes = model_file.describe(config, bundle)
    held = model_file.weights_of(model.eval(), attributes, model_file.probe_inputs(bundle))
    model_file.files.write(tmp_path / "model.h5", held)
    check_everyone_sees_the_same(tmp_path / "model.h5", folder, picture_of(folder, name, tmp_path), name,
                                 tmp_path / "m.tq.h5")
    options_held = json.loads(attributes["data_options"])
    assert not set(options_held) & set(data.PREPARATION_OPTIONS)              # nowhere twice


@pytest.mark.parametrize("name, classes, shape, flags", [
    ("imagefolder", 2, "3,64,64", ""), ("imagefolder", 2, "3,33,33", "--resize 40"),
    ("imagefolder", 2, "3,30,30", "--mean 0.5,0.5,0.5 --std 0.25,0.5,1"),
    ("mnist", 10, "1,28,28", "--data mnist"), ("mnist", 10, "1,28,28", "--mean 0.5 --std 0.5"),
    ("digits", 10, "1,8,8", "--data digits"), ("cifar10", 10, "3,32,32", "--data cifar10")])
def test_of_a_converted_network(folder, tmp_path, capsys, monkeypatch, name, classes, shape, flags):
    monkeypatch.chdir(tmp_path)
    convert("logistic", classes, shape, flags)
    check_everyone_sees_the_same(tmp_path / "net.h5", folder, picture_of(folder, name, tmp_path), name,
                                 tmp_path / "m.tq.h5")


def convert(model, classes, shape, flags, code=0):
    state = models.build(model, classes, tuple(map(int, shape.split(",")))).initialise(Streams(1)).state_dict()
    safetensors.write("net.safetensors", state)
    given_shape = "" if "--input-shape" in flags else f"--input-shape {shape}"
    assert tinyq(f"convert net.safetensors net.h5 --model {model} {given_shape} {flags}".split()) == code


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 40), more=st.integers(0, 20), h=st.integers(1, 90), w=st.integers(1, 90),
       orientation=st.integers(1, 8), exif=st.sampled_from(["ignore", "apply"]))
def test_of_any_photograph_at_any_size(tmp_path_factory, size, more, h, w, orientation, exif):
    root = tmp_path_factory.mktemp("any")
    a_photograph(root / "val" / "a" / "0.png", h, w, orientation)
    bundle = data.load("imagefolder", root, size=size, resize=size + more, exif=exif)
    attributes = {"input_shape": f"3,{size},{size}", **model_file.preprocessing(bundle.manifest)}
    seen = read_image(root / "val" / "a" / "0.png", attributes)
    assert np.array_equal(seen, bundle.test.batch(np.array([0]))[0][0])
    other = data.load("imagefolder", root).prepared(preparation_of("x", attributes), shape_of(attributes))
    assert np.array_equal(seen, other.test.batch(np.array([0]))[0][0])


def test_iris_is_measured_in_millimetres_as_the_file_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert("mlp:8", 3, "4", "--data iris")
    attributes = model_file.load_model("net.h5")[1]
    assert attributes["class_names"] == ["setosa", "versicolor", "virginica"]
    dataset, _ = split_for("net.h5", attributes, "test")
    assert np.array_equal(dataset.features, data.load("iris").test.features)
    assert np.array_equal(preparation_of("net.h5", attributes).of_features(dataset.values), dataset.features)


# Networks without a word on their inputs

@pytest.mark.parametrize("model, classes, shape", [("mlp:8", 3, "4"), ("logistic", 10, "784"), ("lenet", 10, "1,28,28"),
                                                   ("logistic", 2, "3,20,24")])
def test_nothing_is_made_up_of_inputs_that_nothing_is_known_of(tmp_path, monkeypatch, capsys, model, classes, shape):
    monkeypatch.chdir(tmp_path)
    convert(model, classes, shape, "")
    assert "it does not say how inputs are prepared, which --data NAME would" in capsys.readouterr().out
    attributes = model_file.load_model("net.h5")[1]
    assert "preprocessing" not in attributes and attributes["data"] == ""
    assert tinyq(["evaluate", "net.h5"]) == 2 and "name some, such as mnist" in capsys.readouterr().err
    assert tinyq(["pack", "net.h5", "net.tq.h5", "--calibrate"]) == 2
    assert "such as --calibrate mnist" in capsys.readouterr().err
    assert tinyq(["pack", "net.h5", "net.tq.h5"]) == 0 and tinyq(["summary", "net.h5"]) == 0


def test_the_remedy_for_a_grey_network_works(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28).astype(np.uint8)).save("digit.png")
    convert("lenet", 10, "1,28,28", "")
    assert tinyq(["pack", "net.h5", "net.tq.h5"]) == 0
    assert tinyq(["infer", "net.tq.h5", "digit.png"]) == 65
    assert "--data NAME, such as --data mnist, and pack it again" in capsys.readouterr().err
    assert tinyq(["evaluate", "net.h5", "--data", "mnist", "--data-path", str(folder)]) == 0
    assert tinyq("convert net.safetensors net.h5 --model lenet --data mnist".split()) == 0
    assert tinyq(["pack", "net.h5", "net.tq.h5"]) == 0 and tinyq(["infer", "net.tq.h5", "digit.png"]) == 0
    assert parse(model_file.load_model("net.h5")[1]["preprocessing"], (1, 28, 28)) == Preparation((0.1307,), (0.3081,))


def test_a_preparation_that_is_only_assumed_gives_way_to_that_of_the_data_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own = data.load("cifar10", folder / "small", validation=0)
    monkeypatch.setitem(data.READERS, "cifar10", lambda path, *, validation=0: own)
    convert("logistic", 10, "3,32,32", "")
    assert "inputs as imagefolder (assumed; --data NAME says otherwise): mean 0.485" in capsys.readouterr().out
    attributes = model_file.load_model("net.h5")[1]
    seen, _ = split_for("net.h5", attributes, "test", "cifar10", str(folder))
    assert seen.mean == own.test.mean
    convert("logistic", 10, "3,32,32", "--data imagefolder")
    assert "assumed" not in capsys.readouterr().out
    said, _ = split_for("net.h5", model_file.load_model("net.h5")[1], "test", "cifar10", str(folder))
    assert said.mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize("flags, says", [
    ("--data mnits", "--data 'mnits' is unknown; did you mean 'mnist'?"),
    ("--data cifar10", "--data cifar10: its samples have the shape (3, 32, 32), which does not fit"),
    ("--data imagefolder", "does not fit inputs of shape (1, 28, 28)"),
    ("--mean 0.5", "--mean: give mean and std together"), ("--resize 40", "--resize: give mean and std together"),
    ("--mean 0.5,0.5 --std 1,1", "do not fit inputs of shape (1, 28, 28)"), ("--mean 0.5 --std 0", "above 0"),
    ("--data mnist --resize 20", "--resize: "), ("--data mnist --resize x", "--resize takes a whole number")])
def test_inputs_that_do_not_fit_are_refused(tmp_path, monkeypatch, capsys, flags, says):
    monkeypatch.chdir(tmp_path)
    convert("logistic", 10, "1,28,28", flags, 2)
    assert says in capsys.readouterr().err


def test_the_classes_of_the_data_must_be_as_many(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    convert("logistic", 7, "1,28,28", "--data mnist", 2)
    assert "has 10 classes, where the weights have 7" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"divisor": 0}, {"divisor": True}, {"divisor": 1.5}, {"brightest": 65_536},
                                    {"resize": 27}, {"resize": 1 << 15}, {"exif": "perhaps"}, {"mean": [1, 2]},
                                    {"mean": 1}, {"std": [-1]}, {"std": ["a"]}, {"mean": [float("nan")]}], ids=str)
def test_wrong_facts_are_refused(change):
    facts = {"mean": [0.0], "std": [1.0]}
    assert parse(json.dumps(facts), (1, 28, 28)) == Preparation((0.0,), (1.0,))
    with pytest.raises(ValueError, match="mean and a std above 0"):
        parse(json.dumps(facts | change), (1, 28, 28))


def test_facts_are_read_as_they_are_written():
    for preparation in (Preparation((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), resize=40, exif="apply"),
                        Preparation((0.0,) * 3, (1.0,) * 3, 16, 16)):
        assert parse(json.dumps(preparation.facts()), (3, 32, 32)) == preparation
        shown = preparation.shown()
        assert f"mean {preparation.mean[0]:g} " in shown and f"value / {preparation.divisor}" in shown


def test_a_network_of_rectangles_takes_pictures_of_its_size_alone(tmp_path):
    attributes = {"input_shape": "1,20,30", "preprocessing": json.dumps(Preparation((0.0,), (1.0,)).facts())}
    pixels = RNG.integers(0, 256, (20, 30)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", attributes)[0] * 255, pixels.astype(np.float32))
    Image.fromarray(pixels.T).save(tmp_path / "b.png")
    with pytest.raises(model_file.TinyqError, match="20 x 30 pixels, where the network takes 30 x 20; resize it"):
        read_image(tmp_path / "b.png", attributes)


# EXIF

def test_infer_says_that_an_orientation_is_ignored_and_applies_it_on_demand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    convert("logistic", 2, "3,20,20", "")
    assert tinyq(["pack", "net.h5", "net.tq.h5"]) == 0
    a_photograph(tmp_path / "turned.png", orientation=6)
    a_photograph(tmp_path / "upright.png")
    capsys.readouterr()
    assert tinyq(["infer", "net.tq.h5", "turned.png", "upright.png"]) == 0
    ignored = capsys.readouterr()
    assert ignored.err == ("turned.png: its EXIF orientation 6 is ignored, as torchvision does; --exif apply turns it "
                           "upright\n")
    assert tinyq(["infer", "net.tq.h5", "turned.png", "upright.png", "--exif", "apply"]) == 0
    applied = capsys.readouterr()
    first, second = (ignored.out.splitlines(), applied.out.splitlines())
    assert first[0] != second[0] and first[1] == second[1] and not applied.err
    assert tinyq(["infer", "net.tq.h5", "turned.png", "--exif", "aply"]) == 2
    assert "did you mean 'apply'?" in capsys.readouterr().err
    assert tinyq(["infer", "net.tq.h5", "--data", "--exif", "apply"]) == 2
    with pytest.raises(SystemExit):
        tinyq(["infer", "--help"])
    assert "--exif" in capsys.readouterr().out


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation, kind, expected", [(1, 3, 1), (8, 3, 8), (9, 3, 1), (0, 3, 1), (6, 4, 1)])
def test_orientations_are_read_in_both_byte_orders(order, orientation, kind, expected):
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    block = start + struct.pack(f"{order}IHHHIHHHHIHHI", 8, 2, 0x10F, 2, 1, 65, 0, 0x112, kind, 1, orientation, 0, 0)
    assert orientation_of(b"Exif\0\0" + block) == orientation_of(block) == expected
    for length in range(len(block)):
        assert orientation_of(block[:length]) in (1, expected)
    assert orientation_of(None) == orientation_of(b"nonsense") == 1


# --weights

@pytest.fixture(scope="module")
def normalised(tmp_path_factory):
    """A network trained on normalised digits, and one on normalised iris."""
    root = tmp_path_factory.mktemp("weights")
    for name, model in (("digits", "mlp:4"), ("iris", "mlp:4")):
        assert not tinyq(f"train --model {model} --data {name} --method backprop --recipe none --max-steps 1 "
                         f"--audit off --output {root / name}".split())
    return root


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_weights_of_another_preparation_need_the_flag_that_the_error_names(normalised, tmp_path, capsys, name):
    line = (f"train --model mlp:4 --data {name} --method backprop --recipe none --max-steps 1 --audit off "
            f"--weights {normalised / name / 'model.h5'} --{name}.whole --output {tmp_path}/")
    assert tinyq(f"{line}0".split()) == 2
    said = capsys.readouterr().err
    assert f"; --no-{name}.whole prepares these as those, --weights-preparation any trains them as they are" in said
    assert tinyq(f"{line}1 --no-{name}.whole".split()) == 0
    assert tinyq(f"{line}2 --weights-preparation any".split()) == 0


def test_the_flag_is_found_beside_other_options(normalised, tmp_path, capsys):
    line = (f"train --model mlp:4 --data iris --method backprop --recipe none --max-steps 1 --audit off "
            f"--iris.validation 0 --iris.split 2 --output {tmp_path}/")
    assert tinyq(f"{line}0".split()) == 0
    assert tinyq(f"{line}1 --iris.whole --weights {tmp_path / '0'}".split()) == 2
    assert "; --no-iris.whole prepares these as those" in capsys.readouterr().err
    assert tinyq(f"{line}2 --weights {normalised / 'iris'}".split()) == 2
    flags = capsys.readouterr().err.partition("); ")[2].partition(" prepares these as those")[0]
    assert flags.startswith("--mean=") and tinyq(f"{line}2 --weights {normalised / 'iris'} {flags}".split()) == 0


def test_weights_of_photographs_name_resize_and_exif(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    convert("logistic", 2, "3,20,20", "--data imagefolder --resize 30")
    line = (f"train --model logistic --data imagefolder --data-path {folder / 'photographs'} --method backprop "
            "--recipe none --max-steps 1 --audit off --weights net.h5 --imagefolder.validation 0 --imagefolder.size 20 "
            "-j 0 --output ")
    assert tinyq(f"{line}0 --imagefolder.exif apply".split()) == 2
    said = capsys.readouterr().err
    assert "shorter side 30" in said and "--imagefolder.resize 30 --imagefolder.exif ignore prepares" in said
    assert tinyq(f"{line}1 --imagefolder.resize 30".split()) == 0


def test_data_that_do_not_say_how_they_are_prepared_are_not_prepared_otherwise():
    bundle = data.load("digits")
    silent = dataclasses.replace(bundle, read={key: value for key, value in bundle.read.items() if key != "mean"})
    assert silent.preparation is None and bundle.preparation.brightest == 16
