"""infer --bench: what is measured of each network, in words and as JSON, and wrong uses."""
import dataclasses
import json

import numpy as np
import pytest
from packed_networks import SHAPES, packed, samples

from tinyq.__main__ import main
from tinyq.packed import latency
from tinyq.packed.file import format
from tinyq.packed.network import PackedNetwork, with_golden

META = {"model": "lenet", "data": "", "method": "cbp", "constrain": "inner", "input_shape": "1,28,28",
        "class_names": [str(i) for i in range(10)]}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("latency") / "n.tq.h5"
    format.write(file, dataclasses.replace(with_golden(packed("lenet")), meta=META))
    return str(file)


@pytest.mark.parametrize("name", [latency.UNPACKED, "int8"])
def test_so_many_runs_are_measured_and_the_bytes_are_the_network_s(path, name):
    found = latency.measure(path, name, 2, 5, None)
    assert found["runs"] == 5 and found["least_ms"] <= found["p50_ms"] <= found["p95_ms"] <= found["most_ms"]
    held = format.read(path)
    whole = sum(4 * tensor.rows * tensor.k for tensor in held.tensors.values())
    if name == "int8":
        assert found["weight_bytes"] == PackedNetwork(held, "int8").resident_bytes < whole / 4
    else:
        assert found["weight_bytes"] >= whole
    assert found["process_bytes_most"] >= found["process_bytes"] > found["weight_bytes"]


def test_the_float_network_gives_the_packed_one_s_bits(path):
    held, x = format.read(path), samples(3, SHAPES["lenet"])
    assert np.array_equal(PackedNetwork(latency._unpacked(held))(x), PackedNetwork(held)(x))


@pytest.mark.parametrize("apart", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_infer_measures_each_network_in_a_process_of_its_own(path, apart, capsys, monkeypatch):
    if not apart:                                           # in this process, for speed
        monkeypatch.setattr(latency, "_in_a_process", latency.measure)
    assert main(["infer", path, "--bench", "--runs", "3", "--activations", "int8", "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [n["name"] for n in report["networks"]] == ["float", "int8"] and report["batch"] == 1
    assert all(n["runs"] == 3 and n["threads"] == 1 for n in report["networks"])
    assert not apart or len({n["process_bytes"] for n in report["networks"]}) == 2
    lines = latency.as_lines(report)
    assert len(lines) == 6 and lines[1].split()[:2] == ["network", "kernels"] and "after a warm-up" in lines[-1]


@pytest.mark.parametrize("flags, says", [
    ("--bench --data", "--bench takes samples of its own"), ("--bench p.png", "--bench takes samples of its own"),
    ("--bench --runs 0", "--runs 0: must be at least 1"), ("--bench --batch x", "--batch x: must be a whole number"),
    ("--bench --activations int4", "--activations int4: did you mean"), ("--runs 3 --data", "--runs is for --bench")])
def test_wrong_uses_are_refused(path, flags, says, capsys):
    assert main(["infer", path, *flags.split()]) == 2 and says in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_that_ends_early_is_named(path, monkeypatch):
    monkeypatch.setattr(latency, "UNPACKED", "int4")
    with pytest.raises(latency.UsageError, match="activations int4: did you mean"):
        latency.compare(path, (), 1, 1, None)
