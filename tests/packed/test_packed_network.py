"""A packed network as an object: what it keeps in memory, and what it does when its kernels are wrong."""
import dataclasses
import gc
import types
import weakref

import numpy as np
import pytest
from packed_networks import SHAPES, constrained, packed, samples
from small_models import MODELS, SHAPE, small

from tinyq import models, nn
from tinyq.errors import BadInput
from tinyq.kernels.jit.isa import ISA
from tinyq.packed.file import format
from tinyq.packed.file.encode_model import pack
from tinyq.packed.integer import calibrate
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.network import PackedNetwork, with_golden

needs_kernels = pytest.mark.skipif(ISA is None, reason="no integer kernels for this processor")


def arrays_kept(root):
    """Bytes of all arrays that can be reached from an object, each once; not through modules and their globals."""
    seen, left, total = set(), [root], 0
    while left:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType):
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            total += thing.nbytes if thing.base is None else 0
            left.append(thing.base)
        elif isinstance(thing, types.FunctionType):
            left += [cell.cell_contents for cell in thing.__closure__ or ()]
        else:
            left += gc.get_referents(thing)
    return total


@pytest.mark.parametrize("kind", format.KINDS)
def test_nothing_of_the_file_s_codes_stays(kind):
    network = packed("lenet")
    data = [weakref.ref(tensor.data) for tensor in network.tensors.values()]
    x = samples(3, SHAPES["lenet"])
    expected = PackedNetwork(network, kind)(x)
    run = PackedNetwork(network, kind)                      # the file's network can be used again
    del network
    gc.collect()
    assert not any(reference() for reference in data)
    assert np.array_equal(run(x), expected)


@pytest.mark.parametrize("kind", format.KINDS)
@pytest.mark.parametrize("name", [*MODELS, "lenet"])
def test_resident_bytes_are_those_of_all_arrays(name, kind):
    """Before the first batch, which needs room of its own; beside the weights there are only pooling windows."""
    held = small(name) if name in MODELS else packed(name)
    network = PackedNetwork(held, kind)                     # without golden outputs nothing has run yet
    assert network.resident_bytes <= arrays_kept(network) <= network.resident_bytes + 4096


@needs_kernels
def test_kernels_that_give_other_sums_are_not_used(monkeypatch, capsys):
    from tinyq.packed.integer.compiled_executor import CompiledExecutor

    network = with_golden(packed("lenet"))
    x = samples(3, SHAPES["lenet"])
    expected = PackedNetwork(network, "int8")(x)
    right = CompiledExecutor.__call__
    monkeypatch.setattr(CompiledExecutor, "__call__", lambda self, x: right(self, x) + np.float32(1))
    run = PackedNetwork(network, "int8")
    assert run.executor == "numpy" and np.array_equal(run(x), expected)
    said = capsys.readouterr().err
    assert f"the {ISA.name} kernels compute wrong sums on this machine; NumPy is used" in said
    assert run.resident_bytes <= PackedNetwork(packed("lenet"), "int8").resident_bytes
    monkeypatch.setattr(NumpyExecutor, "__call__", lambda self, x: expected[:len(x)])
    with pytest.raises(BadInput, match="outputs differ from those stored in the file"):
        PackedNetwork(network, "int8")


def test_what_is_to_be_told_about_the_instruction_set_is_told_once(monkeypatch, capsys):
    from tinyq.kernels.jit import isa

    monkeypatch.setattr(isa, "NOTE", "a note of this test")
    for kind in ("int8", "int16", "int8"):
        PackedNetwork(packed("mlp:20,8"), kind)
    assert capsys.readouterr().err.count("tinyq: a note of this test\n") == 1


# Ratio of the weights' size as float32 to their size in memory: with float activations, and with int8 activations and
# float layers in bytes. Instruction sets without products of four bytes keep those layers in 16 bits (the last column).
@pytest.mark.parametrize("name, float32, int8, int8_by_pairs", [
    ("resnet18", 7, 13, 11.9), ("googlenet", 4.5, 9, 7.3), pytest.param("resnet50", 7, 11, 9.8, marks=pytest.mark.slow),
    pytest.param("alexnet", 7, 13, 10.7, marks=pytest.mark.slow)])
def test_resident_weights_are_so_many_times_smaller(name, float32, int8, int8_by_pairs):
    shape = (3, 63, 63) if name == "alexnet" else (3, 32, 32)
    model = constrained(nn.constrain(models.build(name, 1000, shape), "inner"))
    network = PackedNetwork(pack(model, shape, {}))
    assert network.float_bytes == 4 * sum(p.data.size for p in model.parameters() if p.data.ndim > 1)
    assert network.float_bytes >= float32 * network.resident_bytes
    edges = pack(model, shape, {}, float_layer_bits=8)
    edges = dataclasses.replace(edges, ranges=calibrate.ranges(edges, [samples(1, shape)]))
    network = PackedNetwork(edges, "int8")
    by_pairs = ISA is not None and not ISA.wide
    assert network.float_bytes >= (int8_by_pairs if by_pairs else int8) * network.resident_bytes


def test_another_size_of_batch_takes_the_last_one_s_place():
    network = PackedNetwork(small("island"), "int16")
    sizes = [arrays_kept(network) for n in (5, 9, 2, 5) if network(samples(n, SHAPE)) is not None]
    assert sizes[0] == sizes[3]
