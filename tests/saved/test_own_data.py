"""A user's own data through every command: trained, verified, replayed, measured, packed, inferred, exported to C."""
import json
import shutil
import struct
import subprocess

import numpy as np
import pytest

from tinyq import data
from tinyq.__main__ import main as tinyq
from tinyq.audit.ledger.hash_chain import chain
from tinyq.packed.c.export import COMPILED
from tinyq.packed.network import PackedNetwork
from tinyq.run.settings.resolve import resolve
from tinyq.saved.row_input import read_samples

CC = shutil.which("gcc") or shutil.which("cc")

FUNCTION = """import numpy as np


def flowers(path):
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    return {"x": rows[:, :4], "y": rows[:, 4].astype(int), "class_names": ["setosa", "versicolor", "virginica"]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Iris as a table, as an archive and as a function; the digits as pictures in an archive."""
    root = tmp_path_factory.mktemp("own")
    source = root / "iris.csv"
    shutil.copy(data.__path__[0] + "/iris.csv", source)
    rows = np.loadtxt(source, delimiter=",", skiprows=1)
    np.savez(root / "iris.npz", x=rows[:, :4], y=rows[:, 4].astype(int),
             class_names=np.array(["setosa", "versicolor", "virginica"]))
    (root / "flowers.py").write_text(FUNCTION)
    digits = data.load("digits", validation=0)
    pictures = {part: getattr(digits, part) for part in ("train", "test")}
    np.savez_compressed(root / "digits.npz", **{f"x_{part}": held.images[:400, 0] for part, held in pictures.items()},
                        **{f"y_{part}": held.labels[:400] for part, held in pictures.items()})
    return root


def command(*words):
    assert tinyq([str(word) for word in words]) == 0, words


def train(run, *flags):
    command("train", "--recipe", "none", "--method", "cbp", "--pretrain-epochs", 1, "--epochs", 1, *flags,
            "--output", run)
    return run


@pytest.fixture(scope="module")
def of_csv(folder):
    return train(folder / "csv", "--data", folder / "iris.csv", "--model", "mlp:8,8", "-b", 30)


@pytest.fixture(scope="module")
def of_pictures(folder):
    return train(folder / "pictures", "--data", folder / "digits.npz", "--npz.brightest", 16, "--model", "digits_cnn")


@pytest.fixture(scope="module")
def of_function(folder):
    return train(folder / "function", "--data", f"{folder}/flowers.py:flowers", "--data-path", folder / "iris.csv",
                 "--model", "mlp:8,8", "-b", 30)


@pytest.mark.parametrize("run", ["of_csv", "of_pictures", "of_function"])
def test_every_command_takes_it(run, request, folder, tmp_path, capsys):
    run = request.getfixturevalue(run)
    code = ["--trust"] if run.name == "function" else []
    own = ["--data", f"{run}/flowers.py:flowers"] if code else []
    command("audit", "verify", run, *code)
    command("audit", "replay", run, "--all", "--final", *code)
    command("evaluate", run, "--json", *own)
    command("pack", run, tmp_path / "net.tq.h5", "--float-layer-bits", 8, "--calibrate", *own[1:])
    capsys.readouterr()
    command("infer", tmp_path / "net.tq.h5", "--activations", "int8", "--json", "--data",
            f"{run}/flowers.py:flowers" if code else folder / f"{'iris.csv' if run.name == 'csv' else 'digits.npz'}",
            *(["--data-path", folder / "iris.csv"] if code else []))
    assert json.loads(capsys.readouterr().out)["n"] == json.loads((run / "result.json").read_text())["samples"]["test"]
    command("pack", tmp_path / "net.tq.h5", "--c", tmp_path / "c")
    assert ("code_of_pixel" in (tmp_path / "c" / "net.h").read_text()) == (run.name == "pictures")


MAIN = """
#include <math.h>
#include <stdio.h>
#include "net.h"
int main(void) {
    static const float mean[] = NET_INPUT_MEAN, std[] = NET_INPUT_STD;
    uint8_t codes[NET_INPUTS];
    int32_t output[NET_OUTPUTS];
    double raw;
    for (int n = 0; scanf("%lf", &raw) == 1; n++) {
        double x = ((raw / NET_RAW_DIVISOR - mean[n % 4]) / std[n % 4]) * NET_INPUT_CODES_PER_UNIT;
        codes[n % 4] = (uint8_t)fmin(255, fmax(0, nearbyint(x) + NET_INPUT_ZERO));
        if (n % 4 < 3) continue;
        net_run(codes, output);
        printf("%d\\n", output[0] >= output[1] && output[0] >= output[2] ? 0 : output[1] >= output[2] ? 1 : 2);
    }
    return 0;
}
"""


@pytest.mark.skipif(CC is None, reason="no C compiler")
def test_a_c_program_prepares_raw_features_by_the_header(of_csv, folder, tmp_path):
    command("pack", of_csv, tmp_path / "net.tq.h5", "--float-layer-bits", 8, "--calibrate")
    command("pack", tmp_path / "net.tq.h5", "--c", tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    subprocess.run([CC, "-std=c99", "net.c", "main.c", *COMPILED, "-lm", "-o", "net"], cwd=tmp_path, check=True)
    bundle = data.load("csv", folder / "iris.csv")
    raw = "\n".join(map(str, bundle.test.values.reshape(-1).tolist()))
    said = subprocess.run([tmp_path / "net"], input=raw, capture_output=True, text=True, check=True).stdout.split()
    network = PackedNetwork.load(tmp_path / "net.tq.h5", "int8")
    assert [int(k) for k in said] == network(bundle.arrays("test")[0]).argmax(axis=1).tolist()


def test_one_table_has_one_digest_whichever_way_it_is_read(folder, of_csv, of_function):
    said = [next(iter(chain(run / "ledger.jsonl"))).record["data"] for run in (of_csv, of_function)]
    assert said[0]["sha256"] == said[1]["sha256"] == data.load("npz", folder / "iris.npz").manifest["sha256"]
    weights = [json.loads((run / "result.json").read_text())["weights_sha256"] for run in (of_csv, of_function)]
    assert weights[0] == weights[1]


def test_a_file_named_as_data_is_data_at_a_path(folder, monkeypatch):
    monkeypatch.chdir(folder)
    config = resolve({"data": "IRIS.csv".lower(), "model": "mlp", "method": "backprop"}).config
    assert (config.data, config.data_path) == ("csv", "iris.csv")
    given = resolve({"model": "mlp", "method": "backprop"}, {"data": "digits.npz", "npz.brightest": 16}).config
    assert (given.data, given.data_path, given.options["npz"]["brightest"]) == ("npz", "digits.npz", 16)
    pictures = resolve({"data": "photographs/", "model": "mlp", "method": "backprop"}).config
    assert (pictures.data, pictures.data_path) == ("imagefolder", "photographs/")


def test_a_file_and_another_path_are_refused(folder, of_csv, capsys):
    for words in (("train", "--model", "mlp", "--method", "backprop"), ("evaluate", of_csv)):
        assert tinyq([*map(str, words), "--data", f"{folder}/iris.csv", "--data-path", "elsewhere.csv"]) == 2
        assert "names its file already; leave out --data-path elsewhere.csv" in capsys.readouterr().err


def test_a_changed_table_is_not_the_data_on_record(of_csv, folder, tmp_path, capsys):
    text = (folder / "iris.csv").read_text()
    (tmp_path / "iris.csv").write_text(text.replace("5.1,3.5", "5.1,3.6", 1))
    assert tinyq(["audit", "replay", str(of_csv), "--step", "1", "--data-path", str(tmp_path / "iris.csv")]) == 65
    assert "the data here are not those on record" in capsys.readouterr().err
    (tmp_path / "iris.csv").write_text(text)
    command("audit", "replay", of_csv, "--step", 1, "--data-path", tmp_path / "iris.csv")


def test_a_run_folder_does_not_choose_the_code_of_its_data(of_function, capsys):
    assert tinyq(["audit", "replay", str(of_function), "--all"]) == 65
    assert "is code, which a run folder must not choose" in capsys.readouterr().err
    assert tinyq(["evaluate", str(of_function)]) == 2
    assert "--data own: name your function, as in --data path/to/file.py:function" in capsys.readouterr().err


@pytest.mark.parametrize("name, content, message", [
    ("a.npz", b"PK", "not a readable NumPy archive"), ("a.csv", b"\xff\xfe\xff", "is no text"),
    ("a.csv", b"1,a\n2,b\n3", "line 3 has 1 column, where"),
    ("a.py:f", b"def f(): return 1", "returned a int"), ("none.npz", None, "there is no such file")])
def test_bad_data_are_one_line_and_leave_no_folder(tmp_path, monkeypatch, capsys, name, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name.partition(":")[0]).write_bytes(content)
    assert tinyq(["train", "--data", name, "--model", "mlp", "--method", "backprop"]) == 65
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tinyq: ")]
    assert len(lines) == 1 and message in lines[0] and not (tmp_path / "runs").exists()


def test_a_small_dataset_of_another_name_is_measured_whole(of_pictures, tmp_path, capsys):
    for part, n in (("train", 30), ("t10k", 20)):                       # 5,000 are held out of MNIST's own
        for kind, array in (("images-idx3", np.zeros((n, 8, 8), np.uint8)), ("labels-idx1", np.arange(n) % 10)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    command("evaluate", of_pictures, "--data", "mnist", "--data-path", tmp_path, "--json")
    assert json.loads(capsys.readouterr().out)["n"] == 20
    words = ["evaluate", str(of_pictures), "--data", "mnist", "--data-path", str(tmp_path), "--split", "train"]
    assert tinyq(words) == 65
    assert "cannot hold out 5000 of its 30 training samples" in capsys.readouterr().err


def test_summary_of_an_untrained_network_takes_own_data(folder, capsys):
    command("summary", "--model", "mlp:8", "--data", folder / "iris.csv", "--json")
    assert json.loads(capsys.readouterr().out)["layers"][0]["weight"] == [8, 4]
    assert tinyq(["summary", "--model", "mlp:8", "--data", "irsi"]) == 2
    assert "choose from: iris, digits" in capsys.readouterr().err


def test_raw_samples_without_labels_are_inferred_as_they_are_measured(of_csv, of_pictures, folder, tmp_path, capsys):
    flowers, digits = data.load("csv", folder / "iris.csv"), data.load("npz", folder / "digits.npz", brightest=16)
    np.savetxt(tmp_path / "rows.csv", flowers.test.values, delimiter=";", fmt="%.1f")
    np.savez(tmp_path / "images.npz", x=digits.test.images[:9, 0])
    for run, file, test in ((of_csv, "rows.csv", flowers.test), (of_pictures, "images.npz", digits.test)):
        packed = run / "model.tq.h5"
        x = read_samples(tmp_path / file, PackedNetwork.load(packed).meta)
        assert np.array_equal(x, test.batch(np.arange(len(x)))[0])
        capsys.readouterr()
        command("infer", packed, tmp_path / file)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(x) and lines[3].startswith(f"{tmp_path / file}[3]: ")


@pytest.mark.parametrize("name, write, message", [
    ("a.csv", lambda path: path.write_text("1,2,3\n4,5,6\n"), "where the network has 4 inputs; give all of them"),
    ("a.csv", lambda path: path.write_text("1,2,3,4,5\n6,7,8,9,1\n"), "the network has 4 inputs; leave out the"),
    ("a.npz", lambda path: np.savez(path, a=np.ones(3), b=np.ones(3)), "holds 'a', 'b'; one array, or one named x"),
    ("a.npz", lambda path: np.savez(path, x=np.ones((3, 5))), r"samples of shape (5,), where the network takes (4,)"),
    ("a.png", lambda path: path.write_bytes(b""), "the network takes inputs of shape (4,), not images")])
def test_samples_that_do_not_fit_the_network_are_refused(of_csv, tmp_path, capsys, name, write, message):
    write(tmp_path / name)
    assert tinyq(["infer", str(of_csv / "model.tq.h5"), str(tmp_path / name)]) in (2, 65)
    assert message in capsys.readouterr().err


def test_pixels_that_the_network_cannot_have_seen_are_refused(of_pictures, tmp_path, capsys):
    for value in (17, -1, 0.5):
        np.savez(tmp_path / "x.npz", x=np.full((2, 8, 8), value))
        assert tinyq(["infer", str(of_pictures / "model.tq.h5"), str(tmp_path / "x.npz")]) == 65
        assert "the network takes whole pixels of 0 to 16" in capsys.readouterr().err
