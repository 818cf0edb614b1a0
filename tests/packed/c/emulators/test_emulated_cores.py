"""Exported C computes the same integers on other processors, which QEMU emulates."""
import re

import numpy as np
import pytest
from embedded.emulated_cores import TARGETS
from embedded.exported import exported
from embedded.programs import Failed, compiled, linked, run
from one_program import Networks, emulated
from packed_networks import constrained, packed_model, samples
from small_models import MODELS, SHAPE, WITH_FLOATS_INSIDE, Model, small

from tinyq import nn
from tinyq.nn import Conv2d, Linear

CORES = ("m0", "m4", "m55", "rv32", "ppc")
OTHERS = ("m3", "m4f", "m7", "m33", "m55-nomve")
BIG_ENDIAN = ("ppc",)
KINDS = ("int8", "int16")
STRICT = ("-O2 -Wall -Wextra -Werror -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align -Wundef "
          "-Wmissing-prototypes").split()
TRAPS = "-O1 -fsanitize=undefined -fsanitize-undefined-trap-on-error".split()       # needs no library
SETS = {"binary": {"levels": "binary"}, "ternary": {"levels": "ternary"}, "trits": {"levels": "ternary", "trits": True},
        "shift1": {"levels": "shift1"}, "shift2": {"levels": "shift2"}, "odd": {"levels": "-3,-1,0,2"}}


def everything(m, x):
    """Convolutions with strides 1 and 2, groups and padding, a residual sum, both poolings, behind products or not."""
    x = nn.ReLU()(m.first(x))
    x = nn.ReLU()(m.second(x) + x)
    x = nn.MaxPool2d(2)(nn.ReLU()(m.third(nn.MaxPool2d(3, 1, 1)(x))))       # 4x4
    x = nn.ReLU()(m.strided(x))                                             # 2x3
    x = m.pointwise(nn.AvgPool2d(2, 1, 1)(x))                               # 3x4
    return m.last(nn.Flatten()(x))


def network(levels, **options):
    layers = {"first": Conv2d(3, 6, 3, padding=1), "second": Conv2d(6, 6, 3, padding=1),
              "third": Conv2d(6, 6, 3, padding=1), "strided": Conv2d(6, 9, (3, 2), 2, 1, groups=3),
              "pointwise": Conv2d(9, 7, 1), "last": Linear(7 * 12, 5)}
    return packed_model(constrained(nn.constrain(Model(everything, **layers), "all"), levels), SHAPE, **options)


def inputs():
    """Samples that reach the ends of every range, besides an ordinary one."""
    return np.concatenate([samples(1, SHAPE, 2), 1e6 * samples(1, SHAPE, 3)])


@pytest.fixture(scope="module")
def level_sets(tmp_path_factory):
    """A network per level set and kind of activations."""
    return Networks.exported(tmp_path_factory.mktemp("sets"), {
        f"{name}_{kind}": (network(**options), kind, inputs()) for name, options in SETS.items() for kind in KINDS})


@pytest.mark.parametrize("core", CORES)
def test_every_level_set_gives_the_same_integers_on(core, level_sets, tmp_path):
    said = level_sets.run(emulated(core), tmp_path, *STRICT, big_endian=core in BIG_ENDIAN)
    assert said == f"0 of {len(level_sets.arenas)} wrong\n"


@pytest.mark.parametrize("core", [pytest.param("m4", marks=pytest.mark.slow), "m55"])
def test_the_instructions_of_a_core_are_used_without_undefined_behaviour(core, level_sets, tmp_path):
    said = level_sets.only(lambda name: name.endswith("int8")).run(emulated(core), tmp_path, *TRAPS)
    assert said == f"0 of {len(SETS)} wrong\n"


def test_the_program_that_comes_with_an_export_runs_on_a_core(tmp_path):
    target, files = emulated("m0"), exported(small("residual"), "int8", inputs(), tmp_path)
    sources = [*files.sources, tmp_path / "net_selftest.c", tmp_path / "examples" / "net" / "selftest.c"]
    objects = compiled(target, sources, tmp_path / "objects", *files.flags, "-Os")
    assert run(target, linked(target, objects, tmp_path / "net.elf")).startswith("net: ok: 1 x 4 outputs")


def changed(folder, pattern, replacement):
    """A network whose self-test was changed."""
    one = Networks.exported(folder, {"net": (network("ternary"), "int8", inputs())})
    text = (folder / "net_selftest.c").read_text()
    assert re.search(pattern, text)
    (folder / "net_selftest.c").write_text(re.sub(pattern, replacement, text, count=1))
    return one


def test_a_wrong_integer_on_a_core_is_noticed(tmp_path):
    one = changed(tmp_path / "c", r"(expected\[\]\[5\] = \{\n    \{.*\n    \{-?)(\d)", r"\g<1>1\2")
    with pytest.raises(Failed, match=r"net: sample 2\n1 of 1 wrong\n"):
        one.run(emulated("m4"), tmp_path, "-O0")


def test_undefined_behaviour_on_a_core_is_noticed(tmp_path):
    one = changed(tmp_path / "c", "int right = 0;", "int right = 0; output[0] += INT32_MAX; output[0]++;")
    with pytest.raises(Failed, match="hardfault"):
        one.run(emulated("m4"), tmp_path, *TRAPS)


@pytest.mark.slow
@pytest.mark.parametrize("optimisation", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("core", CORES)
def test_every_level_set_gives_the_same_integers_at_every_optimisation_on(core, optimisation, level_sets, tmp_path):
    said = level_sets.run(emulated(core), tmp_path, optimisation, big_endian=core in BIG_ENDIAN)
    assert said == f"0 of {len(level_sets.arenas)} wrong\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_operation_gives_the_same_integers_on_every_core(name, tmp_path):
    cases = {f"{model}_{kind}": (small(model, **SETS[name]), kind, inputs())
             for model in MODELS if model not in WITH_FLOATS_INSIDE for kind in KINDS}
    networks, missing = Networks.exported(tmp_path / "c", cases), []
    for core in (*CORES, *OTHERS):
        if TARGETS[core].missing():
            missing.append(TARGETS[core].missing())
            continue
        said = networks.run(TARGETS[core], tmp_path / core, "-O2", big_endian=core in BIG_ENDIAN)
        assert said == f"0 of {len(cases)} wrong\n", core
    if missing:
        pytest.skip("; ".join(sorted(set(missing))))
