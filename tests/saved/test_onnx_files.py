"""`convert RUN|MODEL.h5|MODEL.tq.h5 OUT.onnx`: what the file says, how it compares, and what is refused."""
import json
import shlex

import pytest

from tinyq.__main__ import main
from tinyq.files.foreign import onnx_model
from tinyq.files.read import sha256_of
from tinyq.saved.onnx import onnx_runtime

TINY = ("--model mlp:8,8 --data iris --method cbp --recipe none --threads 1 -j 0 --pretrain-epochs 1 --epochs 1 "
        "--audit off")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    assert main(f"train {TINY} --output {folder}/run".split()) == 0
    assert main(f"pack {folder}/run {folder}/n.tq.h5 --float-layer-bits 8 --calibrate".split()) == 0
    return folder


needs_onnx = pytest.mark.skipif(not onnx_runtime.installed("onnx"), reason="onnx is not installed")
needs_runtime = pytest.mark.skipif(not onnx_runtime.installed("onnxruntime"), reason="onnxruntime is not installed")


@needs_onnx
@needs_runtime
@pytest.mark.parametrize("source", ["run", "run/model.h5", "n.tq.h5"])
def test_a_network_is_written_checked_and_compared(run, tmp_path, capsys, source):
    assert main(f"convert {run}/{source} {tmp_path}/a.onnx --data iris".split()) == 0
    out = capsys.readouterr().out
    assert "float32 activations" in out and "samples (100.00%) of the test part of iris" in out
    held = onnx_model.read_model(tmp_path / "a.onnx")
    found = onnx_model.metadata_of(held)
    file = run / ("run/model.h5" if source == "run" else source)
    assert json.loads(found["class_names"])[0] == "setosa" and found["source_sha256"] == sha256_of(file)
    assert len(json.loads(found["preprocessing"])["mean"]) == 4 and held["producer_name"] == "tinyq"
    batch, features = held["graph"]["input"][0]["type"]["tensor_type"]["shape"]["dim"]
    assert batch["dim_param"] == "batch" and features["dim_value"] == 4
    first = (tmp_path / "a.onnx").read_bytes()
    assert main(f"convert {run}/{source} {tmp_path}/a.onnx".split()) == 0
    assert (tmp_path / "a.onnx").read_bytes() == first and [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


@needs_onnx
@needs_runtime
def test_codes_are_written_and_layers_compared(run, tmp_path, capsys):
    assert main(f"convert {run}/n.tq.h5 {tmp_path}/a.onnx --activations int8 --data iris --compare".split()) == 0
    out = capsys.readouterr().out
    assert "int8 activations" in out and "codes that differ" in out
    assert [line.split()[0] for line in out.splitlines()[-4:]] == ["flatten", "fc1", "fc2", "fc3"]
    assert main(f"convert {run}/run {tmp_path}/a.onnx --compare".split()) == 0
    assert "samples stored in the file" in capsys.readouterr().out


def test_where_float32_and_int8_part(run, capsys):
    assert main(f"convert {run}/n.tq.h5 --compare".split()) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "16 samples of noise:"
    assert [line.split()[0] for line in out[-4:]] == ["flatten", "fc1", "fc2", "fc3"]


def test_a_network_without_ranges_names_the_command_that_finds_them(run, tmp_path, capsys):
    target = tmp_path / "a.onnx"
    for source in ("run", "run/model.h5"):
        assert main(f"convert {run}/{source} {target} --activations int8".split()) == 2
        said = capsys.readouterr().err
        words = shlex.split(said[said.index("python -m tinyq."):])
        assert main([words[2].removeprefix("tinyq."), *words[3:]]) == 0
        assert main(f"convert {words[4]} --compare".split()) == 0
    assert not target.exists()


@pytest.mark.parametrize("line, said", [
    ("RUN/run", "name the file to write, OUT.h5, OUT.safetensors or OUT.onnx; or give --compare"),
    ("RUN/run OUT.safetensors --activations int8", "--activations: no effect unless OUT ends in .onnx"),
    ("RUN/run OUT.onnx --activations int4", "choose from: float32, int8"),
    ("RUN/run OUT.onnx --weights int3", "--weights int3: did you mean"),
    ("RUN/n.tq.h5 OUT.onnx --model mlp:8,8", "n.tq.h5 is packed and holds its network itself"),
    ("RUN/run OUT.onnx --mean 0.5 --key ema", "--key, --mean: no effect when OUT ends in .onnx"),
    ("RUN/n.tq.h5 --compare --weights int8", "--weights: no effect when layers are compared without OUT"),
    ("RUN/run OUT.onnx --data-path .", "--data-path: no effect without --data NAME"),
    ("RUN/run OUT.npz", "convert writes .h5, .safetensors and .onnx")])
def test_mistakes(run, tmp_path, capsys, line, said):
    assert main(["convert", *line.replace("RUN", str(run)).replace("OUT", f"{tmp_path}/a").split()]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_without_the_package_the_line_says_what_to_install(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert main(f"convert {run}/run {tmp_path}/a.onnx".split()) == 2
    said = capsys.readouterr().err
    assert said == "tinyq: this needs onnx, which is not installed: pip install onnx\n" and not list(tmp_path.iterdir())


@needs_onnx
def test_without_onnx_runtime_the_file_is_written_and_the_line_says_so(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "installed", lambda name: False)
    assert main(f"convert {run}/run {tmp_path}/a.onnx".split()) == 0
    assert "not compared with ONNX Runtime, which is not installed: pip install onnxruntime" in capsys.readouterr().out


@needs_onnx
def test_an_onnx_package_that_does_not_know_the_operator_set_is_named(run, tmp_path, capsys, monkeypatch):
    import onnx

    monkeypatch.setattr(onnx.defs, "onnx_opset_version", lambda: 21)
    assert main(f"convert {run}/n.tq.h5 {tmp_path}/a.onnx --weights int2".split()) == 2
    assert "knows operator sets up to 21, not 25" in capsys.readouterr().err and not list(tmp_path.iterdir())
