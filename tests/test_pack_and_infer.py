"""From a run to its packed file and what it computes, as a user does it."""
import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tinyq.__main__ import main as tinyq
from tinyq.packed.file import format
from tinyq.packed.network import PackedNetwork
from tinyq.saved.image_input import read_image
from tinyq.saved.measure import logits_of
from tinyq.saved.model_file import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run on the digits."""
    folder = tmp_path_factory.mktemp("packed") / "run"
    assert not tinyq(f"train --max-steps 200 --pretrain-epochs 2 --epochs 2 --output {folder}".split())
    return folder


def printed(capsys, line):
    capsys.readouterr()
    assert not tinyq(line.split())
    return json.loads(capsys.readouterr().out)


def failed(capsys, line):
    capsys.readouterr()
    code = tinyq(line.split())
    err = capsys.readouterr().err
    assert err.startswith("tinyq: ") and err.count("\n") == 1, err
    return code, err


def test_a_run_leaves_a_packed_network_of_its_own_evaluation(run):
    model, _ = load_model(run / "model.h5")
    network = PackedNetwork.load(run / "model.tq.h5")
    for n in (1, 3, 16):
        x = np.random.default_rng(n).standard_normal((n, 1, 8, 8)).astype(np.float32)
        assert np.array_equal(network(x), logits_of(model, x))
    result = json.loads((run / "result.json").read_text())
    assert result["bytes_packed_file"] == (run / "model.tq.h5").stat().st_size


def test_the_weights_of_the_file_are_those_that_were_trained(run):
    model, _ = load_model(run / "model.h5")
    tensors = format.read(run / "model.tq.h5").tensors
    for name, parameter in model.named_parameters():
        if parameter.data.ndim > 1:
            shown = parameter.parametrization.effective(parameter.data) if parameter.parametrization else parameter.data
            assert np.array_equal(tensors[name.removesuffix(".weight")].effective(), shown), name


def test_pack_prints_what_it_wrote(capsys, run, tmp_path):
    target = tmp_path / "out.tq.h5"
    report = printed(capsys, f"pack {run} {target} --json")
    assert report["same_bits_as_trained"] is True and report["largest_difference"] == 0
    held = format.read(target)
    assert report["bytes_payload"] == sum(a.nbytes for a in held.payload().values())
    assert report["bytes_file"] == target.stat().st_size and report["bytes_codes_in_theory"] == 23040 * 2 // 8
    trits = printed(capsys, f"pack {run} {tmp_path / 'trits.tq.h5'} --trits --json")
    assert trits["bytes_codes_in_theory"] == 922 + 3687 and trits["same_bits_as_trained"]
    small = printed(capsys, f"pack {run} {tmp_path / 'small.tq.h5'} --float-layer-bits 8 --calibrate --json")
    assert small["bytes_float"] < report["bytes_float"] and not small["same_bits_as_trained"]
    assert small["compared_on"] == "8 training samples" and report["compared_on"] == "uniform noise"
    assert 0 < small["largest_difference_int16"] < small["largest_difference_int8"] < 0.1 * small["largest_logit"]
    again = tmp_path / "again.tq.h5"
    printed(capsys, f"pack {run} {again} --json")
    assert again.read_bytes() == target.read_bytes()


def test_infer_counts_as_evaluate_does(capsys, run):
    trained = printed(capsys, f"evaluate {run} --json")
    packed = printed(capsys, f"infer {run / 'model.tq.h5'} --data --json")
    assert (packed["n"], packed["top1"]) == (trained["n"], trained["top1"])
    for kind, points in (("int8", 0.02), ("int16", 0.003)):
        found = printed(capsys, f"infer {run / 'model.tq.h5'} --data digits --activations {kind} --json")
        assert abs(found["top1"] - trained["top1"]) <= points


def test_infer_says_what_an_image_shows(capsys, run, tmp_path):
    from tinyq import data

    bundle, network = data.load("digits"), PackedNetwork.load(run / "model.tq.h5")
    mean, std = (np.array(bundle.manifest[key]) for key in ("mean", "std"))
    right = 0
    for i in range(20):
        x, y = bundle.test.batch(np.array([i]))
        pixels = np.rint((x[0, 0] * std + mean) * 255).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "digit.png")
        image, = printed(capsys, f"infer {run / 'model.tq.h5'} {tmp_path / 'digit.png'} --json")["images"]
        shares = [c["probability"] for c in image["classes"]]
        assert len(shares) == 5 and shares == sorted(shares, reverse=True) and 0 <= shares[-1] and 0.5 < sum(shares)
        assert sum(shares) <= 1 + 1e-9
        logits = network(read_image(tmp_path / "digit.png", network.meta)[None])[0].astype(np.float64)
        assert image["classes"][0]["class"] == network.meta["class_names"][logits.argmax()]
        assert shares[0] == pytest.approx(1 / np.exp(logits - logits.max()).sum())
        right += image["classes"][0]["class"] == str(y[0])
    assert right >= 16


HIDE_NUMBA = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
sys.modules["numba"] = sys.modules["llvmlite"] = None
importlib.util.find_spec = lambda name, package=None: None if name in ("numba", "llvmlite") else find(name, package)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("kind", ["float32", "int8", "int16"])
def test_without_numba_the_outputs_are_the_same(run, kind):
    """The golden outputs in the file, which have the kernels' bits, are compared when it is loaded."""
    command = [sys.executable, "-c", HIDE_NUMBA, "tinyq.infer", run / "model.tq.h5", "--data", "--activations", kind]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and "correct" in result.stdout, result.stderr
    assert "numba is not installed; NumPy is used instead" in result.stderr


@pytest.mark.parametrize("command", [["tinyq.evaluate", "{run}"], ["tinyq.train", "--max-steps", "1"]])
def test_what_needs_numba_says_so(run, tmp_path, command):
    command = [sys.executable, "-c", HIDE_NUMBA, *(part.format(run=run) for part in command)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.splitlines()[-1] == "tinyq: this needs numba, which is not installed: pip install numba"


def test_the_doctor_does_without_numba():
    result = subprocess.run([sys.executable, "-c", HIDE_NUMBA, "tinyq.doctor"], capture_output=True, text=True)
    assert result.returncode == 0 and "not installed: packed networks run" in result.stdout, result.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the processor that is named is an x86")
def test_an_instruction_set_that_is_not_here_gives_way_and_says_so(run):
    command = [sys.executable, "-m", "tinyq.infer", run / "model.tq.h5", "--data", "--activations", "int8"]
    restricted = {**os.environ, "NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse,+sse2", "TINYQ_ISA": "vnni"}
    result = subprocess.run(command, env=restricted, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0 and "(numpy)" in result.stdout, result.stderr
    assert "TINYQ_ISA=vnni: this machine does not have it; numpy computes" in result.stderr


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_an_instruction_set_that_does_not_exist_is_a_mistake(run, kind):
    command = [sys.executable, "-m", "tinyq.infer", run / "model.tq.h5", "--data", "--activations", kind]
    result = subprocess.run(command, env={**os.environ, "TINYQ_ISA": "avx3"}, capture_output=True, text=True)
    assert result.returncode == 2 and "TINYQ_ISA=avx3: did you mean 'avx2'?" in result.stderr
    assert "Traceback" not in result.stderr


def test_packing_asks_for_the_instruction_set_before_it_writes(run, tmp_path):
    command = [sys.executable, "-m", "tinyq.pack", run, tmp_path / "out.tq.h5"]
    result = subprocess.run(command, env={**os.environ, "TINYQ_ISA": "avx3"}, capture_output=True, text=True)
    assert result.returncode == 2 and not (tmp_path / "out.tq.h5").exists()


@pytest.mark.parametrize("line, code, text", [
    ("pack {run} out.h5", 2, "OUT.tq.h5"),
    ("pack {packed} out.tq.h5", 2, "--c DIR"),
    ("pack {run} {folder}/out.tq.h5 --float-layer-bits 4", 2, "--float-layer-bits 4"),
    ("pack {run} {folder}/no/such/folder/out.tq.h5", 73, "out.tq.h5"),
    ("infer {packed} --data --activations int4", 2, "int4"),
    ("infer {packed}", 2, "--data"),
    ("infer {packed} {packed}", 65, "neither a JPEG nor a PNG"),
    ("infer {packed} {folder}/none.png", 65, "none.png"),
    ("infer {packed} --data iris", 65, "iris"),
    ("infer {packed} --data --split tset", 2, "test"),
    ("infer {packed} --data --threads none", 2, "--threads none"),
    ("infer {packed} --data --calibrate", 2, "--calibrate is for --activations int8 and int16"),
    ("pack {packed} out.tq.h5 --c {folder}/c", 2, "OUT: no effect when exporting C"),
    ("pack {packed} --c {folder}/c --float-layer-bits 8 --trits", 2,
     "--float-layer-bits, --trits: no effect when exporting C"),
    ("pack {run} {folder}/out.tq.h5 --activations int16", 2, "--activations: no effect when packing"),
    ("pack {run} {folder}/out.tq.h5 --data-path nowhere", 2, "--data-path: no effect when packing"),
    ("pack {packed} --c {folder}/c --data-path nowhere", 2, "--data-path: no effect when exporting C"),
    ("pack {packed} --c {folder}/c --data iris", 65, "iris"),
    ("pack {packed} --c {folder}/c", 2, "for C, export the trained network: python -m tinyq.pack"),
    ("pack {run} --c {folder}/c --data", 2, "--data: no effect when packing"),
    ("pack {run} --c {folder}/c --float-layer-bits 32", 2, "--float-layer-bits 32: C needs 8; leave it out"),
    ("pack {run} --c {folder}/c --activations int4", 2, "int4"),
    ("pack {run} {folder}/no/folder/out.tq.h5 --c {folder}/c", 73, "out.tq.h5"),
    ("pack {run} {folder}/out.h5 --c {folder}/c", 2, "OUT.tq.h5"),
    ("pack {run}", 2, "OUT.tq.h5"),
])
def test_a_mistake_is_one_line_and_its_code(capsys, run, tmp_path, line, code, text):
    found, err = failed(capsys, line.format(run=run, packed=run / "model.tq.h5", folder=tmp_path))
    assert found == code and text in err and not list(tmp_path.iterdir())


@pytest.fixture
def pictures(tmp_path):
    """A folder with four pictures, one of them broken, three other files, a hidden one and a hidden folder."""
    folder = tmp_path / "pictures"
    (folder / "b" / "c").mkdir(parents=True)
    deep = (np.arange(64, dtype=np.uint16) * 1024 + 255).reshape(8, 8)
    Image.fromarray(deep).save(folder / "b" / "deep.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(folder / "b" / "c" / "grey.PNG")
    Image.fromarray(np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, 2)).save(folder / "colour.png")
    (folder / "a.jpg").write_bytes(b"no image")
    (folder / ".cache").mkdir()
    for name in ("notes.txt", "b/list.csv", "b/c/x.npz", ".hidden.png", ".cache/0.png"):
        (folder / name).write_bytes(b"")
    return folder


def test_of_several_pictures_those_that_cannot_be_read_are_named_and_the_others_shown(capsys, run, pictures):
    paths = [pictures / "colour.png", pictures / "a.jpg", pictures / "b/deep.png"]
    assert tinyq(["infer", str(run / "model.tq.h5"), *map(str, paths)]) == 65       # before: ended at the second
    out, err = capsys.readouterr()
    assert [line.partition(": ")[0] for line in out.splitlines()] == [str(paths[0]), str(paths[2])]
    named, summed = err.splitlines()
    assert "a.jpg" in named and summed == "tinyq: 1 of 3 pictures could not be read; the lines above name them"


def test_a_folder_is_walked_in_order_and_what_was_passed_over_is_counted(capsys, run, pictures):
    assert tinyq(["infer", str(run / "model.tq.h5"), str(pictures)]) == 65      # before: "is not a plain file"
    out, err = capsys.readouterr()
    names = [line.partition(": ")[0].removeprefix(f"{pictures}/") for line in out.splitlines()]
    assert names == ["b/c/grey.PNG", "b/deep.png", "colour.png"]
    assert len({line.partition(": ")[2] for line in out.splitlines()}) == 1         # 8 bits, 16 bits, RGB: one image
    assert err.splitlines()[0] == f"{pictures}: 4 pictures; 5 other or hidden files passed over"
    assert "1 of 4 pictures could not be read" in err.splitlines()[-1]
    (pictures / "a.jpg").unlink()
    report = printed(capsys, f"infer {run / 'model.tq.h5'} {pictures} --json")
    assert [image["image"] for image in report["images"]] == [f"{pictures}/{name}" for name in names]


def test_the_report_in_json_holds_the_reason_for_each_picture_that_is_left_out(capsys, run, pictures):
    assert tinyq(["infer", str(run / "model.tq.h5"), str(pictures), "--json"]) == 65
    images = json.loads(capsys.readouterr().out)["images"]
    assert ["classes" in image for image in images] == [False, True, True, True]
    assert "neither a JPEG nor a PNG" in images[0]["error"]


def test_a_folder_without_pictures_is_refused(capsys, run, tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    code, err = failed(capsys, f"infer {run / 'model.tq.h5'} {tmp_path}")
    assert code == 65 and "no pictures in this folder or below it, but 1 other or hidden file;" in err


def test_trits_are_for_ternary_weights(capsys, run, tmp_path):
    binary = tmp_path / "binary"
    assert not tinyq(f"train --max-steps 2 --pretrain-epochs 0 --levels binary --output {binary}".split())
    code, err = failed(capsys, f"pack {binary} {tmp_path / 'out.tq.h5'} --trits")
    assert code == 2 and "no weights of this network are ternary" in err and not (tmp_path / "out.tq.h5").exists()


def test_levels_that_are_no_whole_multiples_have_no_integers_and_packing_says_so(capsys, tmp_path):
    odd = tmp_path / "odd"
    assert not tinyq(f"train --max-steps 2 --pretrain-epochs 0 --levels=-1.5,-0.3,0,0.7 --output {odd}".split())
    report = printed(capsys, f"pack {odd} {tmp_path / 'out.tq.h5'} --float-layer-bits 8 --calibrate --json")
    assert all("with whole k up to 127" in report[f"largest_difference_{kind}"] for kind in ("int8", "int16"))
    code, err = failed(capsys, f"pack {odd} {tmp_path / 'c.tq.h5'} --c {tmp_path / 'c'}")
    assert code == 2 and err.startswith(f"tinyq: {odd}: ") and "with whole k up to 127" in err
    assert not (tmp_path / "c.tq.h5").exists() and not (tmp_path / "c").exists()


@pytest.mark.parametrize("meta", [
    {"input_shape": 5}, {"preprocessing": "{}"}, {"preprocessing": "nope"}, {"preprocessing": 3},
    {"preprocessing": '{"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}'}, {"preprocessing": '{"mean": [0.5], "std": [0]}'},
    {"preprocessing": '{"mean": [1e400], "std": [1]}'}, {"preprocessing": '{"mean": [0], "std": [1], "resize": 1e9}'}],
    ids=str)
def test_a_file_that_does_not_say_how_images_are_prepared_is_refused(capsys, run, tmp_path, meta):
    import dataclasses

    packed = format.read(run / "model.tq.h5")
    format.write(tmp_path / "other.tq.h5", dataclasses.replace(packed, meta=packed.meta | meta))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    code, err = failed(capsys, f"infer {tmp_path / 'other.tq.h5'} {tmp_path / 'black.png'} {tmp_path / 'black.png'}")
    assert code == 65 and ("preprocessing" in err or "input_shape" in err)


def test_a_file_without_calibration_says_what_to_do(capsys, run, tmp_path):
    target = tmp_path / "plain.tq.h5"
    printed(capsys, f"pack {run} {target} --json")
    code, err = failed(capsys, f"infer {target} --data --activations int8")
    assert code == 2 and "--calibrate" in err
    assert printed(capsys, f"infer {target} --data --activations int8 --calibrate --json")["top1"] > 0.5


def test_a_file_that_gives_other_outputs_than_it_holds_is_refused(capsys, run, tmp_path):
    import dataclasses

    packed = format.read(run / "model.tq.h5")
    golden = {kind: logits + np.float32(1) for kind, logits in packed.golden.items()}
    format.write(tmp_path / "other.tq.h5", dataclasses.replace(packed, golden=golden))
    for kind in format.KINDS:
        code, err = failed(capsys, f"infer {tmp_path / 'other.tq.h5'} --data --activations {kind}")
        assert code == 65 and "outputs differ from those stored in the file" in err


def test_one_command_from_a_run_to_c_that_is_measured_on_the_test_part(capsys, run, tmp_path):
    report = printed(capsys, f"pack {run} --c {tmp_path / 'c'} --json")
    assert report["file"] == str(tmp_path / "c" / "digits_cnn.tq.h5")
    for activations, name in (("int8", "accuracy_int8"), ("float32", "accuracy_float")):
        told = printed(capsys, f"infer {run if name == 'accuracy_float' else report['file']} --data --json "
                               f"--activations {activations}")
        assert report[name] == told["top1"] and report["tested_on"] == f"{told['n']} samples of the test part of digits"
    assert [layer["layer"] for layer in report["layers"] if layer["macs"]] == ["conv1", "conv2", "conv3", "fc"]
    assert sum(layer["flash"] for layer in report["layers"]) + 256 == report["bytes_flash"]
    header = (tmp_path / "c" / "digits_cnn.h").read_text()
    assert "#define DIGITS_CNN_SELFTEST_LABELS 8" in header
    assert '    "9"' in (tmp_path / "c" / "digits_cnn.c").read_text()


def test_in_one_step_and_in_two_the_files_are_the_same(capsys, run, tmp_path):
    printed(capsys, f"pack {run} {tmp_path / 'net.tq.h5'} --c {tmp_path / 'one'} --json --activations int16")
    one = (tmp_path / "net.tq.h5").read_bytes()
    printed(capsys, f"pack {run} {tmp_path / 'net.tq.h5'} --float-layer-bits 8 --calibrate --json")
    assert (tmp_path / "net.tq.h5").read_bytes() == one
    two = printed(capsys, f"pack {tmp_path / 'net.tq.h5'} --c {tmp_path / 'two'} --data --json --activations int16")
    three = tmp_path / "three"
    printed(capsys, f"pack {run} {three / 'net.tq.h5'} --c {three} --json --activations int16")
    files = {folder: {path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob("*")
                      if path.is_file()} for folder in ("one", "two", "three")}
    assert files["one"] == files["two"] and "accuracy_int16" in two
    assert {str(path) for path in files["three"].keys() - files["one"].keys()} == {"net.tq.h5"}


def test_rounded_layers_are_the_reason_why_the_bits_are_not_those_of_training(capsys, run, tmp_path):
    for flags, said in ("", "yes"), (" --float-layer-bits 8", "no: layers are rounded to 8 bits"):
        assert not tinyq(f"pack {run} {tmp_path / 'net.tq.h5'}{flags}".split())
        line, = (line for line in capsys.readouterr().out.splitlines() if line.startswith("same bits as trained"))
        assert line.split("  ")[-1].strip() == said


def test_an_export_that_is_refused_writes_nothing(capsys, run, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "net.c").write_text("int mine;")
    code, err = failed(capsys, f"pack {run} {tmp_path / 'net.tq.h5'} --c {tmp_path / 'c'}")
    assert code == 73 and "c/net.c: is of another program, and would be replaced; choose another folder" in err
    assert [path.name for path in tmp_path.rglob("*")] == ["c", "net.c"]


def test_the_table_shows_each_layer_and_the_totals(capsys, run, tmp_path):
    assert not tinyq(f"pack {run} --c {tmp_path / 'c'}".split())
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    assert lines[start].split() == "layer operation output MACs flash bytes RAM bytes".split()
    assert lines[start + 2].startswith("conv1 ") and lines[-1].split()[:3] == ["all", "layers", "601,600"]
