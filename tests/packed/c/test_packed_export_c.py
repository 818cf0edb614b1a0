"""The exported C computes the program's integers, compiled without a warning, and says so itself."""
import ctypes
import dataclasses
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from compiling import GCC, STRICT, compiled, needs_compiler
from packed_networks import SHAPES, constrained, packed, packed_model, samples
from small_models import MODELS, SHAPE, WITH_FLOATS_INSIDE, small

from tinyq import nn
from tinyq.data.transforms import normalise
from tinyq.errors import BadInput, CannotCreate, UsageError
from tinyq.nn import Conv2d, Linear
from tinyq.packed.c.c_names import layer_names
from tinyq.packed.c.entry import expected_codes, find_entry, pixel_values
from tinyq.packed.c.export import COMPILED, RUNTIME, export, export_file
from tinyq.packed.file import format
from tinyq.packed.integer.lowering import lower

PROJECT = ("CMakeLists.txt", "library.json", "library.properties", "zephyr/module.yml", "zephyr/CMakeLists.txt",
           "examples/net/example.c", "examples/net/selftest.c", "examples/net_arduino/net_arduino.ino")
KINDS = ("int8", "int16")
SANITIZED = "-fsanitize=undefined,address -fno-sanitize-recover=all -g".split()


def extremes(shape):
    """Samples that reach the ends of every range, besides ordinary ones."""
    return np.concatenate([samples(3, shape, 2), 1e6 * samples(1, shape, 3), np.full((1, *shape), np.nan, np.float32)])


def assert_runs(packed_network, kind, folder, x, *options):
    sizes = export(lower(packed_network, kind), packed_network, folder, "net", x)
    run = compiled(folder, "net", *options)
    count = packed_network.graph.nodes[-1].shape[0]
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"net: ok: {len(x)} x {count} outputs; flash {sizes.flash} bytes, arena {sizes.arena} bytes\n"


SLOW = pytest.mark.slow                 # a compiler takes seconds for an array of a megabyte


@needs_compiler
@pytest.mark.parametrize("name, levels, kind", [
    ("lenet", "binary", "int8"), ("lenet", "ternary", "int16"), ("digits_cnn", "shift2", "int8"),
    ("digits_cnn", "shift1", "int16"), ("resnet20", "ternary", "int8"), ("resnet20", "ternary", "int16"),
    ("mlp:20,8", "shift1", "int8"), pytest.param("resnet18", "binary", "int8", marks=SLOW),
    pytest.param("googlenet", "ternary", "int16", marks=SLOW),
    pytest.param("resnet18", "ternary", "int16", marks=SLOW), pytest.param("googlenet", "binary", "int8", marks=SLOW)])
def test_a_network_in_c_gives_the_same_integers(tmp_path, name, levels, kind):
    assert_runs(packed(name, levels), kind, tmp_path, extremes(SHAPES[name]))


@needs_compiler
@SLOW
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resnet18", "googlenet"])
def test_a_network_of_photographs_in_c_gives_the_same_integers(tmp_path, name, kind, monkeypatch):
    monkeypatch.setitem(SHAPES, name, (3, 64, 64))
    assert_runs(packed(name), kind, tmp_path, extremes((3, 64, 64)))


@pytest.fixture(scope="module")
def sanitizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanitizers")
    (folder / "a.c").write_text("int main(void) { return 0; }\n")
    if not GCC or subprocess.run([GCC, *SANITIZED, "a.c"], cwd=folder, capture_output=True).returncode:
        pytest.skip("this compiler has no sanitizers")
    return SANITIZED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in MODELS if name not in WITH_FLOATS_INSIDE])
def test_every_operation_in_c_gives_the_same_integers_and_stays_inside_its_arrays(tmp_path, sanitizers, name, kind):
    assert_runs(small(name), kind, tmp_path, extremes(SHAPE), *sanitizers)


@pytest.mark.parametrize("levels, trits", [("binary", False), ("ternary", False), ("ternary", True), ("shift2", False),
                                           ("-4,-3,-2,-1,0,1,2,3,4", False),
                                           (",".join(map(str, range(-10, 10))), False)])
def test_every_scheme_is_decoded_in_c(tmp_path, sanitizers, levels, trits):
    assert_runs(small("groups", levels, trits=trits), "int8", tmp_path, extremes(SHAPE), *sanitizers)


def test_weights_in_bits_are_not_read_beyond_the_last_byte(tmp_path, sanitizers):
    layers = Conv2d(3, 64, 1), Conv2d(64, 2, 1), nn.Flatten(), Linear(2 * 81, 4)        # 64 weights fill 8 bytes
    network = packed_model(constrained(nn.constrain(nn.Sequential(*layers), "all"), "binary"), SHAPE)
    assert_runs(network, "int8", tmp_path, extremes(SHAPE), *sanitizers)
    assert "tinyq_binary_conv_u8(&layer_1_layer" in (tmp_path / "net.c").read_text()


@needs_compiler
def test_the_self_test_notices_one_wrong_integer(tmp_path):
    network = small("residual")
    export(lower(network, "int8"), network, tmp_path, "net", samples(2, SHAPE))
    text = (tmp_path / "net_selftest.c").read_text()
    number = re.search(r"expected\[\]\[4\] = \{\n.*\n    \{[^}]*?(-?\d+)\}", text)
    changed = text[:number.start(1)] + str(int(number[1]) + 1) + text[number.end(1):]
    (tmp_path / "net_selftest.c").write_text(changed)
    run = compiled(tmp_path, "net")
    assert run.returncode == 1
    assert run.stdout == "net: sample 2 of 2: wrong outputs\n"


@needs_compiler
def test_a_wrong_size_does_not_compile(tmp_path):
    network = small("residual")
    export(lower(network, "int8"), network, tmp_path, "net", samples(1, SHAPE))
    text = (tmp_path / "net.c").read_text()
    (tmp_path / "net.c").write_text(re.sub(r"(uint16_t first_lists\[\] = \{\n    )\d+, ", r"\1", text))
    assert (tmp_path / "net.c").read_text() != text
    with pytest.raises(subprocess.CalledProcessError):
        compiled(tmp_path, "net")


@needs_compiler
def test_the_flash_said_is_what_the_compiler_puts_there(tmp_path):
    network = packed("lenet", "ternary")
    sizes = export(lower(network, "int8"), network, tmp_path, "net")
    subprocess.run([GCC, "-std=c99", "-Os", "-c", "net.c"], cwd=tmp_path, check=True)
    told = subprocess.run(["size", "-A", "net.o"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    held = {name: int(size) for name, size in re.findall(r"^(\.\S+)\s+(\d+)", told, re.M)}
    constants = sum(size for name, size in held.items() if name.startswith((".rodata", ".data.rel.ro")))
    assert sizes.flash <= constants <= sizes.flash + 500            # pointers of 64 bits, and alignment
    assert sizes.arena <= held[".bss"] <= sizes.arena + 64
    linear = sum(t.data.nbytes for t in network.tensors.values() if len(t.shape) == 2)
    conv2 = 2 * 6 * -(-6 * 25 // 3)                                # 16 rows of 150 weights, three lists in two bytes
    assert sizes.weights == linear + network.tensors["conv1"].data.nbytes + conv2


@needs_compiler
def test_the_library_runs_on_8_bit_pixels(tmp_path):
    network = small("prepared")
    meta = {"preprocessing": '{"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}'}
    network = dataclasses.replace(network, meta=meta)
    program, values = lower(network, "int8"), pixel_values(network)
    export(program, network, tmp_path, "net", pixels=values)
    assert "of the network's input, after its mul, add," in (tmp_path / "net.h").read_text()
    subprocess.run([GCC, *STRICT, "-shared", "-fPIC", "net.c", *COMPILED, "-o", "net.so"], cwd=tmp_path,
                   check=True)
    library = ctypes.CDLL(str(tmp_path / "net.so"))
    table = np.ctypeslib.as_array((ctypes.c_uint8 * 768).in_dll(library, "net_code_of_pixel")).reshape(3, 256)
    pixels = np.random.Generator(np.random.Philox(5)).integers(0, 256, (20, *SHAPE))
    channels = np.arange(3)[:, None, None]
    x = normalise(pixels.astype(np.uint8), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    first, last = expected_codes(program, network, find_entry(program, network), x)
    codes = np.ascontiguousarray(table[channels, pixels])
    assert np.array_equal(codes.reshape(20, -1), first)
    for image, expected in zip(codes, last, strict=True):
        output = np.zeros(4, np.int32)
        library.net_run(image.ctypes.data_as(ctypes.c_void_p), output.ctypes.data_as(ctypes.c_void_p))
        assert np.array_equal(output, expected)


def test_pixels_are_values_only_where_the_file_says_how():
    network = small("prepared")
    for text in (None, "{", "[]", "{}", '{"mean": 1, "std": 1}', '{"mean": [0, 0], "std": [1, 1]}',
                 '{"mean": [0, 0, 0], "std": [0, 1, 1]}', '{"mean": ["a", 0, 0], "std": [0, 1, 1]}', "[" * 100_000):
        assert pixel_values(dataclasses.replace(network, meta={"preprocessing": text})) is None
    assert pixel_values(network) is None


@needs_compiler
def test_two_networks_of_both_kinds_link_together(tmp_path):
    network = small("residual")
    for kind in KINDS:
        export(lower(network, kind), network, tmp_path, f"net_{kind}")
    (tmp_path / "main.c").write_text('#include "net_int8.h"\n#include "net_int16.h"\nint main(void) { return 0; }\n')
    subprocess.run([GCC, *STRICT, "main.c", "net_int8.c", "net_int16.c", *COMPILED], cwd=tmp_path, check=True)


def test_the_c_is_integers_without_a_heap(tmp_path):
    network = packed("resnet20", "ternary")
    export(lower(network, "int8"), network, tmp_path, "net")
    text = "".join(re.sub(r"/\*.*?\*/", "", (tmp_path / name).read_text(), flags=re.S) for name in (*RUNTIME, "net.c"))
    assert not re.search(r"\b(float|double|malloc|calloc|alloca|free|long|printf)\b", text)
    assert set(re.findall(r"#include (\S+)", text)) == {"<stddef.h>", "<stdint.h>", '"tinyq_runtime.h"', '"net.h"',
                                                        '"tinyq_kernels.h"', '"tinyq_internal.h"', "TINYQ_CONFIG",
                                                        '"tinyq_additions.h"', "<arm_mve.h>"}


def test_an_export_has_the_same_bytes_again(tmp_path):
    network = small("concatenated")
    for folder in ("a", "b"):
        export(lower(network, "int16"), network, tmp_path / folder, "net")
    a, b = (sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file()) for folder in ("a", "b"))
    assert [path.read_bytes() for path in a] == [path.read_bytes() for path in b]
    assert {str(path.relative_to(tmp_path / "a")) for path in a} == {*RUNTIME, *PROJECT, "net.c", "net.h",
                                                                    "net_selftest.c"}


def test_a_network_with_floats_is_refused_with_the_way_out(tmp_path):
    network = packed("lenet", float_layer_bits=32)
    with pytest.raises(UsageError, match=re.escape("computes conv1 (Conv2d), fc3 (Linear) in floats")):
        export(lower(network, "int8"), network, tmp_path / "c", "net")
    with pytest.raises(UsageError, match="computes tanh in floats$"):
        export(lower(small("island"), "int16"), small("island"), tmp_path / "c", "net")
    assert not (tmp_path / "c").exists()


def test_floats_at_the_end_are_left_to_the_caller_and_named(tmp_path):
    network = small("softmax")
    export(lower(network, "int8"), network, tmp_path, "net")
    header = (tmp_path / "net.h").read_text()
    assert "the values before the network's last operations (max, sub, exp, sum, div), which are in floats" in header
    assert "#define NET_OUTPUTS 4" in header and "largest logit" not in header


@pytest.mark.parametrize("name", ["", "1net", "a-b", "é", "tinyq_runtime", "a b", "../a", "a\n", "stdint", "math"])
def test_a_name_that_c_does_not_have_is_refused(tmp_path, name):
    network = small("residual")
    with pytest.raises(UsageError, match="cannot name C files"):
        export(lower(network, "int8"), network, tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_a_name_from_a_file_cannot_leave_its_comment(tmp_path):
    network = small("residual")
    graph = format.graph_json.to_json(network.graph)
    evil = "*/ int evil; /*"
    graph["nodes"][0]["weight"]["tensor"] = evil
    tensors = {evil if name == "first" else name: tensor for name, tensor in network.tensors.items()}
    network = dataclasses.replace(network, graph=format.graph_json.from_json(graph, 1 << 20), tensors=tensors)
    export(lower(network, "int8"), network, tmp_path, "net")
    assert "TINYQ_LAYER_HOOK(0); /* int_evil */" in (tmp_path / "net.c").read_text()


def test_layers_have_the_names_of_their_weights_in_c_all_different():
    labels = ["layer1.0.conv1", "int", "relu", "relu", "relu_2", "relu", "tinyq_conv", "3", "", "*/ x", "é", "a" * 99]
    names = layer_names(labels)
    assert names == ["layer1_0_conv1", "int", "relu", "relu_2", "relu_2_2", "relu_3", "layer_tinyq_conv", "layer_3",
                     "layer", "x", "layer_2", "a" * 40]


@needs_compiler
@pytest.mark.parametrize("file, name", [("my net-2.tq.h5", "my_net_2"), ("3.tq.h5", "net_3"), ("é.tq.h5", "net__"),
                                        ("tinyq.h5", "net_tinyq_h5"), ("stdint.tq.h5", "net_stdint"),
                                        ("NET.tq.h5", "NET")])
def test_a_packed_file_is_exported_under_its_name(tmp_path, file, name):
    format.write(tmp_path / file, packed("mlp:20,8", "ternary"))
    report = export_file(tmp_path / file, tmp_path / "c", "int8")
    assert report["bytes_flash"] > report["bytes_flash_weights"] > 0 and report["bytes_arena"] > 0
    assert compiled(tmp_path / "c", name).returncode == 0


@needs_compiler
def test_exports_into_one_folder_replace_none_and_are_used_together(tmp_path):
    network, folder = packed("mlp:20,8", "ternary"), tmp_path / "c"
    for name in ("a-b", "a_b", "net", "Net", "stddef"):
        format.write(tmp_path / f"{name}.tq.h5", network)
    for name in ("a-b", "net", "Net", "stddef", "a-b"):                 # the same file again is no other
        export_file(tmp_path / f"{name}.tq.h5", folder, "int8")
    with pytest.raises(CannotCreate, match="c/a_b.h: is of a-b.tq.h5, and would be replaced; choose another folder"):
        export_file(tmp_path / "a_b.tq.h5", folder, "int8")
    (folder / "a_b.h").write_text("int mine;")
    with pytest.raises(CannotCreate, match="a_b.h: is of another program"):
        export_file(tmp_path / "a-b.tq.h5", folder, "int8")
    names = ("net", "Net", "net_stddef")
    included, used = "".join(f'#include "{name}.h"\n' for name in names), " || ".join(f"!{name}_run" for name in names)
    (folder / "main.c").write_text(f"{included}int main(void)\n{{\n    return {used};\n}}\n")
    sources = [f"{name}.c" for name in names]
    subprocess.run([GCC, "-std=c99", "-I.", "main.c", *sources, *COMPILED], cwd=folder, check=True)


def test_what_cannot_be_exported_is_said(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        export_file(tmp_path / "none.tq.h5", tmp_path, "int8")
    with pytest.raises(UsageError, match="activations float32: choose from: int16, int8"):
        export_file(tmp_path / "none.tq.h5", tmp_path, "float32")
    format.write(tmp_path / "a.tq.h5", dataclasses.replace(packed("mlp:20,8"), ranges=None))
    with pytest.raises(UsageError, match="packed without calibration"):
        export_file(tmp_path / "a.tq.h5", tmp_path, "int8")


@needs_compiler
@pytest.mark.parametrize("old", ["net.h", "net.c", "net_selftest.c", "examples/net/selftest.c"])
def test_files_of_two_exports_are_not_compiled_together(tmp_path, old):
    """A kill between two files of an export into a folder that exists leaves such a mixture."""
    one, other = (small("residual", levels) for levels in ("ternary", "binary"))
    export(lower(one, "int8"), one, tmp_path / "old", "net")
    export(lower(other, "int8"), other, tmp_path / "new", "net")
    shutil.copy(tmp_path / "old" / old, tmp_path / "new" / old)
    sources = ["net.c", "net_selftest.c", "examples/net/selftest.c", *COMPILED]
    done = subprocess.run([GCC, "-std=c99", "-I.", *sources], cwd=tmp_path / "new", capture_output=True, text=True)
    assert done.returncode and "net.h is of another export than this file; export the network again" in done.stderr


def test_an_export_that_is_killed_leaves_all_files_or_none(tmp_path):
    network = small("residual")
    format.write(tmp_path / "n.tq.h5", network)
    code = ("import os, signal, sys\nfrom tinyq.packed.c.export import export_file\nleft = int(sys.argv[3])\n"
            "sync = os.fsync\ndef killed(descriptor):\n    global left\n    left -= 1\n    sync(descriptor)\n"
            "    if not left: os.kill(os.getpid(), signal.SIGKILL)\nos.fsync = killed\n"
            "export_file(sys.argv[1], sys.argv[2], 'int8')")
    for at in (1, 9, 25, 99):
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "n.tq.h5", tmp_path / "c", str(at)])
        if done.returncode:
            assert at < 99 and not (tmp_path / "c").exists() and len(list(tmp_path.glob(".c.*.tmp"))) > 0
    assert len([path for path in (tmp_path / "c").rglob("*") if path.is_file()]) == 11 + len(RUNTIME)
