"""What comes with the C files: classes and their names, the example, the self-test, build files, provenance."""
import dataclasses
import json
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from compiling import GCC, STRICT, compiled, needs_compiler
from packed_networks import packed, samples
from small_models import SHAPE, small

from tinyq import __version__
from tinyq.data.transforms import normalise
from tinyq.files.read import sha256_of
from tinyq.packed.c.c_names import string_literal
from tinyq.packed.c.c_source import Samples
from tinyq.packed.c.entry import expected_codes, find_entry, pixel_values
from tinyq.packed.c.export import COMPILED, RUNTIME, export, export_file
from tinyq.packed.c.project.provenance import AUTHORS, LICENSE
from tinyq.packed.file import format
from tinyq.packed.integer.lowering import lower

GXX, CMAKE = shutil.which("g++"), shutil.which("cmake")
ROOT = Path(__file__).resolve().parents[3]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# Names that would end a string, a comment or a line, or begin a trigraph or an escape.
NAMES = ['a "quoted" */ one', "tab\tand\nline", "what??/ \\x41 @DIGEST@", "Käse 🧀"]
EXAMPLE = ("{name}.c", "examples/{name}/example.c")


@cache
def of_pictures(**meta):
    facts = {"preprocessing": json.dumps({"mean": MEAN, "std": STD}), "class_names": NAMES}
    return dataclasses.replace(small("prepared"), meta=facts | meta)


def written(folder, network, kind="int8", given=None):
    export(lower(network, kind), network, folder, "net", given, pixel_values(network))
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def classes_of(network, kind, x):
    program = lower(network, kind)
    return expected_codes(program, network, find_entry(program, network), x)[1].argmax(axis=1)


def said(folder, *arguments, given):
    return subprocess.run([folder / "net.out", *arguments], input=given, capture_output=True, check=True).stdout


@needs_compiler
@pytest.mark.parametrize("kind", ["int8", "int16"])
def test_the_example_takes_pixels_of_either_order_to_the_name_of_a_class(tmp_path, kind):
    network = of_pictures()
    written(tmp_path, network, kind)
    compiled(tmp_path, "net", sources=EXAMPLE)
    pictures = np.random.Generator(np.random.Philox(3)).integers(0, 256, (8, *SHAPE)).astype(np.uint8)
    for picture, label in zip(pictures, classes_of(network, kind, normalise(pictures, MEAN, STD)), strict=True):
        name = f"{NAMES[label]}\n".encode()
        assert said(tmp_path, "chw", given=picture.tobytes()) == name
        assert said(tmp_path, "hwc", given=picture.transpose(1, 2, 0).tobytes()) == name
    for arguments, given in (["hwc"], b"few"), (["wrong"], bytes(243)), ([], bytes(243)):
        done = subprocess.run([tmp_path / "net.out", *arguments], input=given, capture_output=True)
        assert done.returncode == 2 and done.stderr == b"give hwc or chw, and 243 bytes of pixels on standard input\n"


@needs_compiler
def test_the_example_takes_measurements_to_predicted_numbers(tmp_path):
    mean, std = [5.8, 3.0, 3.7, 1.2, 0.5], [0.8, 0.4, 1.7, 0.7, 0.25]
    facts = {"mean": mean, "std": std, "brightest": 0, "divisor": 2}
    network = dataclasses.replace(packed("mlp:20,8", "ternary"), meta={
        "preprocessing": json.dumps(facts), "loss": "mse", "targets": "numbers"})
    written(tmp_path, network)
    compiled(tmp_path, "net", "-lm", sources=EXAMPLE)
    raw = 2 * (mean + 2 * np.multiply(std, samples(20, (5,)).astype(np.float64)))
    program = lower(network, "int8")
    codes = expected_codes(program, network, find_entry(program, network), ((raw / 2 - mean) / std).astype(np.float32))
    quant = program.quants[program.end]
    values = (codes[1] - quant.zero).astype(np.float32) * np.float32(quant.scale)
    for row, expected in zip(raw, values, strict=True):
        found = said(tmp_path, given=" ".join(map(str, row.tolist())).encode()).decode()
        assert found.split() == [f"{value:g}" for value in expected.tolist()]


@needs_compiler
@pytest.mark.parametrize("meta, start", [({"loss": "mse", "targets": "numbers"}, b"-?[0-9.e-]+\n"), ({}, b"[0-3]\n")])
def test_without_names_the_example_prints_numbers(tmp_path, meta, start):
    written(tmp_path, dataclasses.replace(small("residual"), meta=meta))
    compiled(tmp_path, "net", "-lm", sources=EXAMPLE)
    assert re.match(start, said(tmp_path, given=b"0.5 " * 243))


def test_only_tasks_of_classes_are_classified(tmp_path):
    regression = {"loss": "mse", "targets": "numbers", "class_names": list("abcd")}
    for name, network in (("numbers", dataclasses.replace(small("residual"), meta=regression)),
                          ("floats_at_the_end", small("softmax"))):
        assert not any("class_of" in text or "class_names[" in text
                       for text in written(tmp_path / name, network, given=Samples(samples(1, SHAPE), np.array([0]))
                                           ).values())
    for names in (["a"], ["a", "b", "c", 4], "abcd", None):
        header = written(tmp_path / "few", dataclasses.replace(small("residual"), meta={"class_names": names}))["net.h"]
        assert "net_classify(" in header and "class_names" not in header


def test_a_name_is_a_string_of_c_whatever_it_holds():
    assert string_literal('a"b\\c?\n\0é\ud800') == r'"a\042b\134c\077\012\000\303\251\077"'
    assert len(string_literal("x" * 10_000)) == 202


@needs_compiler
def test_the_self_test_says_how_many_labels_are_right(tmp_path):
    network, x = small("residual"), samples(5, SHAPE)
    labels = classes_of(network, "int8", x)
    labels[3] = (labels[3] + 1) % 4
    files = written(tmp_path, network, given=Samples(x, labels))
    assert "#define NET_SELFTEST_SAMPLES 5" in files["net.h"] and "stdio" not in files["net_selftest.c"]
    assert compiled(tmp_path, "net").stdout.startswith("net: ok: 5 x 4 outputs, 4 of 5 classes right; flash ")


@needs_compiler
def test_a_hook_runs_before_each_layer_and_after_the_last(tmp_path):
    network = small("residual")
    written(tmp_path, network)
    (tmp_path / "hooks.h").write_text("#include <stdio.h>\n#define TINYQ_LAYER_HOOK(i) printf(\"%d \", i)\n")
    sources = ["net.c", "net_selftest.c", "examples/net/selftest.c", *COMPILED]
    subprocess.run([GCC, *STRICT, '-DTINYQ_CONFIG="hooks.h"', *sources, "-o", "net.out"], cwd=tmp_path, check=True)
    run = subprocess.run([tmp_path / "net.out"], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("0 1 2 3 4 net: ok")
    assert "#define NET_LAYERS 4" in (tmp_path / "net.h").read_text()


@pytest.mark.skipif(GXX is None, reason="no C++ compiler")
@pytest.mark.parametrize("standard", ["c++11", "c++17", "c++20"])
def test_all_files_compile_as_cplusplus_without_a_warning(tmp_path, standard):
    written(tmp_path, of_pictures(), given=Samples(samples(2, SHAPE), np.array([0, 1])))
    strict = ("-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-align=strict -Wswitch-default "
              "-Wundef -Werror -I.").split()
    sources = ["net.c", "net_selftest.c", "examples/net/selftest.c", *COMPILED]
    subprocess.run([GXX, "-x", "c++", f"-std={standard}", *strict, "-O1", *sources, "-o", "net.out"], cwd=tmp_path,
                   check=True)
    assert subprocess.run([tmp_path / "net.out"], stdout=subprocess.DEVNULL).returncode == 0
    written(tmp_path / "values", dataclasses.replace(packed("mlp:20,8"), meta={
        "preprocessing": json.dumps({"mean": [1], "std": [2], "brightest": 0})}))
    for folder in (tmp_path, tmp_path / "values"):
        subprocess.run([GXX, "-x", "c++", f"-std={standard}", *strict, "-fsyntax-only", "examples/net/example.c"],
                       cwd=folder, check=True)


ARDUINO = """\
#include <stdio.h>
struct { void begin(long) {} operator bool() { return true; } void print(const char *text) { printf("%s", text); }
         void println(const char *text) { puts(text); } void println(int number) { printf("%d\\n", number); } } Serial;
"""


@pytest.mark.skipif(GXX is None, reason="no C++ compiler")
def test_the_sketch_runs_the_self_test(tmp_path):
    files = written(tmp_path, small("residual"))
    (tmp_path / "sketch.cpp").write_text(ARDUINO + files["examples/net_arduino/net_arduino.ino"]
                                         + "\nint main() { setup(); loop(); }\n")
    subprocess.run([GCC, *STRICT, "-c", "net.c", "net_selftest.c", *COMPILED], cwd=tmp_path, check=True)
    objects = sorted(tmp_path.glob("*.o"))
    subprocess.run([GXX, "-std=c++11", "-I.", "sketch.cpp", *objects, "-o", "sketch"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "sketch"], capture_output=True, check=True).stdout == b"net: ok\n"


def test_arduino_and_platformio_find_what_they_ask_for(tmp_path):
    files = written(tmp_path, small("residual"))
    properties = dict(line.split("=", 1) for line in files["library.properties"].splitlines() if line[0] != "#")
    assert set("name version author maintainer sentence paragraph category url architectures".split()) <= {*properties}
    library = json.loads(files["library.json"])
    assert library["name"] == properties["name"] == "net" and library["license"] == LICENSE
    assert re.fullmatch(r"\d+\.\d+\.\d+", library["version"])
    # Without src/, Arduino compiles what lies beside library.properties: no file there may have a main.
    assert not any(re.search(r"\bmain\b", text) for file, text in files.items() if "/" not in file)


def test_each_file_says_where_it_comes_from(tmp_path):
    path = tmp_path / "net.tq.h5"
    format.write(path, packed("mlp:20,8", "ternary"))
    export_file(path, tmp_path / "c", "int8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert LICENSE == project["license"] and __version__ == project["version"]
    assert AUTHORS == project["authors"][0]["name"] and AUTHORS.lower() in (ROOT / "LICENSE").read_text()
    for file in (tmp_path / "c").rglob("*"):
        text = file.read_text() if file.is_file() else ""
        shared = file.name in (*RUNTIME, "CMakeLists.txt", "module.yml") or file.suffix == ".ino"
        assert not text or f"Written by tinyq {__version__}" in text
        assert not text or f"SPDX-License-Identifier: {LICENSE}" in text or file.name == "library.json"
        assert not text or (sha256_of(path) in text) != shared, file
    assert f'#define NET_PACKED_SHA256 "{sha256_of(path)}"' in (tmp_path / "c" / "net.h").read_text()


@needs_compiler
def test_a_runtime_of_another_version_does_not_compile(tmp_path):
    files = written(tmp_path, small("residual"))
    (tmp_path / RUNTIME[0]).write_text(re.sub("(TINYQ_RUNTIME_EXPORT 0x)[0-9a-f]*", r"\g<1>1", files[RUNTIME[0]]))
    done = subprocess.run([GCC, "-c", "net.c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "tinyq_runtime.h is of another version than this file; export all" in done.stderr


def test_build_files_of_others_stay_and_own_ones_are_replaced(tmp_path):
    (tmp_path / "zephyr").mkdir()
    for file in ("CMakeLists.txt", "zephyr/module.yml"):
        (tmp_path / file).write_text("mine")
    (tmp_path / "library.json").write_text("Written by tinyq 0.0.0")
    files = written(tmp_path, small("residual"))
    assert files["CMakeLists.txt"] == files["zephyr/module.yml"] == "mine"
    assert json.loads(files["library.json"])["name"] == "net"


# What Zephyr's CMake has: the module's file is read as west would have it read.
ZEPHYR = """
function(zephyr_library)
  add_library(module STATIC)
endfunction()
function(zephyr_library_sources)
  target_sources(module PRIVATE ${ARGV})
endfunction()
function(zephyr_include_directories)
  target_include_directories(module PUBLIC ${ARGV})
endfunction()
add_subdirectory(networks/zephyr)
add_executable(zephyr_app main.c)
target_link_libraries(zephyr_app PRIVATE module)
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A folder with two networks; one has the name of a target of CMake's own."""
    if CMAKE is None:
        pytest.skip("no CMake")
    for name, model in (("net", "residual"), ("test", "concatenated")):
        network, folder = small(model), tmp_path_factory.getbasetemp() / "networks"
        export(lower(network, "int8"), network, folder, name)
    return folder


def run_all(folder, *commands):
    return [subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
            for command in commands]


def test_cmake_builds_and_tests_the_networks_of_a_folder(tmp_path, networks):
    *_, tested = run_all(tmp_path, ["cmake", "-S", networks, "-B", "."], ["cmake", "--build", ".", "-j2"], ["ctest"])
    assert "100% tests passed, 0 tests failed out of 2" in tested


def test_cmake_builds_a_network_whose_name_ends_as_a_self_test(tmp_path):
    if CMAKE is None:
        pytest.skip("no CMake")
    network = small("residual")
    export(lower(network, "int8"), network, tmp_path / "files", "net_selftest")
    *_, tested = run_all(tmp_path, ["cmake", "-S", "files", "-B", "."], ["cmake", "--build", ".", "-j2"], ["ctest"])
    assert "100% tests passed, 0 tests failed out of 1" in tested


def test_cmake_links_networks_to_a_program_as_their_own_and_as_zephyrs(tmp_path, networks):
    (tmp_path / "main.c").write_text('#include "net.h"\n#include "test.h"\n'
                                     "int main(void) { return net_selftest() || test_selftest(); }\n")
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(app C)\nadd_subdirectory({networks} networks)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app PRIVATE tinyq::net tinyq::test)\n"
        + ZEPHYR.replace("networks/zephyr", f"{networks}/zephyr zephyr"))
    run_all(tmp_path, ["cmake", "-S", ".", "-B", "all"], ["cmake", "--build", "all", "-j2"], ["all/app"],
            ["all/zephyr_app"])


@pytest.mark.skipif(CMAKE is None, reason="no CMake")
def test_cmake_refuses_folders_with_kernels_of_two_versions(tmp_path):
    for name in ("one", "two"):
        network = small("residual")
        export(lower(network, "int8"), network, tmp_path / name, name)
    text = (tmp_path / "two" / "CMakeLists.txt").read_text()
    (tmp_path / "two" / "CMakeLists.txt").write_text(re.sub("0x[0-9a-f]{16}u", "0x0000000000000001u", text))
    (tmp_path / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.13)\nproject(app C)\n"
                                             "add_subdirectory(one)\nadd_subdirectory(two)\n")
    done = subprocess.run(["cmake", "-S", ".", "-B", "build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "two needs another version of tinyq's runtime" in " ".join(done.stderr.split())


@needs_compiler
def test_the_c_of_the_page_compiles(tmp_path):
    blocks = re.findall(r"```c\n(.*?)```", (ROOT / "tinyq" / "packed" / "README.md").read_text(), re.S)
    facts = {"preprocessing": json.dumps({"mean": [0.5], "std": [0.5]}), "class_names": list("0123456789")}
    for name in ("digits", "lenet"):
        network = dataclasses.replace(packed("digits_cnn", "ternary"), meta=facts)
        export(lower(network, "int8"), network, tmp_path, name, pixels=pixel_values(network))
    assert len(blocks) == 2
    for k, block in enumerate(blocks):
        (tmp_path / f"block_{k}.c").write_text(block)
        strict = [flag for flag in STRICT if flag != "-Wmissing-prototypes"]
        subprocess.run([GCC, *strict, "-c", f"block_{k}.c"], cwd=tmp_path, check=True)
