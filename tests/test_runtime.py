"""The runtime alone: what its wheel holds, that it classifies without numba, and what it says of what it lacks."""
import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyq.__main__ import main
from tinyq.packed.network import PackedNetwork

ROOT = Path(__file__).resolve().parent.parent
# What the runtime alone does without cannot be imported, even where it is installed; nor a checkout installed with -e.
WITHOUT = """import sys
sys.modules |= dict.fromkeys(("numba", "llvmlite", "tqdm", "h5py"))
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
"""


def backend():
    spec = importlib.util.spec_from_file_location("build_wheel", ROOT / "tinyq" / "runtime" / "build_wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the unpacked wheel (site), a packed network and a picture."""
    from PIL import Image

    out = tmp_path_factory.mktemp("runtime")
    run = ("--model digits_cnn --data digits --method cbp --recipe none --epochs 1 --pretrain-epochs 0 --max-steps 2 "
           "-j 0 --audit off")
    assert main(["train", *run.split(), "--output", str(out / "run")]) == 0
    assert main(["pack", str(out / "run"), str(out / "n.tq.h5"), "--float-layer-bits", "8", "--calibrate"]) == 0
    Image.fromarray(np.arange(0, 256, 4, np.uint8).reshape(8, 8)).save(out / "p.png")
    name = backend().build_wheel(str(out))
    zipfile.ZipFile(out / name).extractall(out / "site")
    return out


def alone(folder, code, *arguments):
    """Run code with the unpacked wheel as the only tinyq; (exit code, stdout, stderr)."""
    done = subprocess.run([sys.executable, "-P", "-c", WITHOUT + code, *arguments], capture_output=True, text=True,
                          cwd=folder, env={**os.environ, "PYTHONPATH": str(folder / "site")})
    return done.returncode, done.stdout, done.stderr


COMMAND = "import runpy; name = sys.argv.pop(1); runpy.run_module(name, run_name='__main__', alter_sys=True)"


def test_the_wheel_records_its_files_and_says_what_it_needs(folder):
    wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
    info = next(name for name in wheel.namelist() if name.endswith("/METADATA")).removesuffix("METADATA")
    metadata = wheel.read(info + "METADATA").decode()
    assert re.findall("^Requires-Dist: ([a-z0-9]+)", metadata, re.M) == ["numpy", "pillow"]
    assert "Name: tinyq-numpy\n" in metadata and re.search(r"^Version: [0-9.]+\+infer$", metadata, re.M)
    recorded = [line.rsplit(",", 2) for line in wheel.read(info + "RECORD").decode().splitlines()]
    assert [path for path, _, _ in recorded] == wheel.namelist()
    assert all(int(size) == len(wheel.read(path)) for path, _, size in recorded[:-1])
    held = {name for name in wheel.namelist() if name.startswith("tinyq/")}
    assert not held & {"tinyq/nn/__init__.py", "tinyq/run/loop.py", "tinyq/kernels/gemm/matmul.py"}


def test_equal_sources_give_equal_wheels(folder, tmp_path):
    name = backend().build_wheel(str(tmp_path))
    first, second = (hashlib.sha256((where / name).read_bytes()).digest() for where in (folder, tmp_path))
    assert first == second


def test_every_module_of_the_runtime_alone_can_be_imported(folder):
    code = ("import importlib, pathlib\nfor path in sorted(pathlib.Path('site').rglob('tinyq/**/*.py')):\n"
            "    name = '.'.join(path.relative_to('site').with_suffix('').parts).removesuffix('.__init__')\n"
            "    importlib.import_module(name)\nprint(importlib.import_module('tinyq').__file__)")
    code, out, err = alone(folder, code)
    assert (code, err) == (0, "") and out.startswith(str(folder)), err


@pytest.mark.parametrize("activations", ["float32", "int8", pytest.param("int16", marks=pytest.mark.slow)])
def test_the_runtime_alone_gives_the_bits_of_the_kernels(folder, activations):
    """The stored outputs are compared as the file is loaded; here other samples are too."""
    code = ("import numpy as np\nfrom tinyq.packed.network import PackedNetwork\nfrom tinyq.streams import Streams\n"
            "network = PackedNetwork.load('n.tq.h5', sys.argv[1])\n"
            "x = Streams(5).key('x').normal((4, 1, 8, 8)).astype(np.float32)\n"
            "sys.stdout.write(network(x).tobytes().hex() + ' ' + str(network.resident_bytes))")
    code, out, err = alone(folder, code, activations)
    assert (code, err) == (0, ""), err
    from tinyq.streams import Streams

    network = PackedNetwork.load(folder / "n.tq.h5", activations)
    x = Streams(5).key("x").normal((4, 1, 8, 8)).astype(np.float32)
    logits, resident = out.split()
    assert logits == network(x).tobytes().hex() and int(resident) <= 1.1 * network.resident_bytes


def test_a_picture_is_classified_as_by_all_of_tinyq(folder, capsys, monkeypatch):
    code, out, err = alone(folder, COMMAND, "tinyq.infer", "n.tq.h5", "p.png")
    assert (code, err) == (0, "")
    monkeypatch.chdir(folder)
    assert main(["infer", "n.tq.h5", "p.png"]) == 0 and capsys.readouterr().out == out


@pytest.mark.parametrize("line, missing", [
    ("tinyq.train", "tinyq.train"), ("tinyq train --data digits", "tinyq.train"),
    ("tinyq.audit verify run", "tinyq.audit"), ("tinyq data where", "tinyq.data"),
    ("tinyq.infer n.tq.h5 --data", "tinyq.saved.eval_splits"), ("tinyq.infer run p.png", "tinyq.run")])
def test_what_the_runtime_alone_lacks_is_one_line_with_the_remedy(folder, line, missing):
    code, out, err = alone(folder, COMMAND, *line.replace("tinyq ", "tinyq.__main__ ").split())
    assert (code, out) == (2, "")
    assert err == (f"tinyq: {missing} is not in tinyq's runtime alone, which is installed here; pip install . in a "
                   "checkout of tinyq replaces it by all of tinyq\n")


@pytest.mark.parametrize("content, says", [(None, "No such file or directory"), (b"hello\n", "not an HDF5 file"),
                                           ("n.tq.h5", "cut short")])
def test_a_file_that_is_not_there_or_damaged_is_named_as_that(folder, content, says):
    name = f"damaged-{len(says)}.tq.h5"
    if content is not None:
        (folder / name).write_bytes((folder / content).read_bytes()[:3000] if isinstance(content, str) else content)
    code, out, err = alone(folder, COMMAND, "tinyq.infer", name, "p.png")
    assert (code, out) == (65, "") and err.startswith(f"tinyq: {name}: ") and says in err and err.count("\n") == 1


def test_a_name_of_what_the_runtime_alone_lacks_is_refused(folder):
    code, _, err = alone(folder, "from tinyq.train import train")
    assert code == 1 and "ImportError: tinyq.train is not in tinyq's runtime alone" in err


def pip(*words, **where):
    done = subprocess.run([*words], capture_output=True, text=True, **where)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_all_of_tinyq_and_the_runtime_alone_replace_each_other(tmp_path):
    """Without a network: an environment that sees this one's packages, in which pip installs without dependencies."""
    python = str(tmp_path / "venv" / "bin" / "python")
    pip(sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "venv")
    install = [python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    pip(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT)
    whole, = tmp_path.glob("*.whl")
    for what, files in ((ROOT / "tinyq" / "runtime", False), (whole, True), (ROOT / "tinyq" / "runtime", False)):
        pip(*install, what)
        shown = pip(python, "-m", "pip", "show", "-f", "tinyq-numpy")
        assert ("+infer" in shown) != files and ("tinyq/nn/module.py" in shown) == files
        found = subprocess.run([python, "-P", "-c", "import tinyq.nn"], capture_output=True, cwd=tmp_path)
        assert (found.returncode == 0) == files, found.stderr
