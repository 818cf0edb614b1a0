"""Promise 1 on AArch64, emulated: .ci/aarch64 makes the environment and runs these; AARCH64_CPUS names processors."""
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packed_networks import packed
from test_same_bits import WEIGHTS_SHA256

from tinyq.__main__ import main
from tinyq.packed.file import format

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
FOLDER = Path(os.environ.get("TINYQ_AARCH64", Path.home() / ".cache/tinyq-aarch64"))
# QEMU's name -> the instruction set that doctor must name
INTEGER_KERNELS = {"cortex-a72": "neon", "cortex-a76": "dotprod", "neoverse-v1": "i8mm"}
CPUS = os.environ.get("AARCH64_CPUS", "").split() or [*INTEGER_KERNELS]
NETWORKS = (("lenet", "ternary"), ("lenet", "shift1"), ("resnet20", "shift2"), ("mlp:20,8", "shift1"),
            ("digits_cnn", "binary"))
RUN = ("--model mlp:16,8 --data digits --method cbp --recipe none --pretrain-epochs 1 --epochs 1 --max-steps 12 "
       "--threads 1 --workers 0")
TESTS = ("tests/kernels", "tests/packed")


def reason_to_skip():
    """Return why nothing can be emulated here, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the aarch64 environment is emulated on Linux on x86"
    if not (FOLDER / "complete").exists():
        return f"no aarch64 environment in {FOLDER}: .ci/aarch64 build makes it"
    result = emulated(CPUS[0], "true")
    return None if result.returncode == 0 else f"nothing can be emulated here: {result.stderr.strip()[-200:]}"


def emulated(cpu, *command):
    """Run a command on an emulated processor, in a copy of this checkout; /exchange is FOLDER/exchange."""
    return subprocess.run([ROOT / ".ci/aarch64", "run", cpu, *map(str, command)], capture_output=True, text=True,
                          timeout=4 * 3600)


def output_of(cpu, *command):
    result = emulated(cpu, "python3", *command)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    return result.stdout


REASON = reason_to_skip()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON)),
              pytest.mark.parametrize("cpu", CPUS)]


@pytest.fixture(scope="module")
def networks():
    """Make packed networks in FOLDER/exchange/networks; what packed_logits.py prints on x86."""
    folder = FOLDER / "exchange/networks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, levels in NETWORKS:
        format.write(folder / f"{name.replace(':', '-')}-{levels}.tq.h5", packed(name, levels))
    command = [sys.executable, HERE / "packed_logits.py", folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests/packed/integer")}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def run():
    """A run whose ledger was written on x86."""
    folder = FOLDER / "exchange/run"
    shutil.rmtree(folder, ignore_errors=True)
    assert main(["train", *RUN.split(), "--output", str(folder)]) == 0


def test_doctor_names_the_integer_kernels(cpu):
    said = dict(line.split(maxsplit=1) for line in output_of(cpu, "-m", "tinyq.doctor").splitlines())
    assert said["machine"] == "aarch64" and said["instruction"].split() == ["set", "neon"]
    assert cpu not in INTEGER_KERNELS or said["integer"].split()[1] == f"{INTEGER_KERNELS[cpu]};"


def test_packed_networks_have_the_same_logits_and_size_in_memory(cpu, networks):
    here = output_of(cpu, "-c", "import sys, runpy; sys.path.append('tests/packed/integer'); "
                      "sys.argv[1:] = ['/exchange/networks']; runpy.run_path('tests/contracts/packed_logits.py', "
                      "run_name='__main__')")
    found, expected = ([line.split() for line in text.splitlines()] for text in (here, networks))
    assert [line[:3] for line in found] == [line[:3] for line in expected] and len(found) == 15
    for line, on_x86 in zip(found, expected, strict=True):
        assert int(line[3]) <= 1.05 * int(on_x86[3]), (line, on_x86)           # tiles have other sizes


def test_a_ledger_written_on_x86_is_verified_and_replayed(cpu, run):
    assert "verified" in output_of(cpu, "-m", "tinyq", "audit", "verify", "/exchange/run")
    assert "every digest equal" in output_of(cpu, "-m", "tinyq", "audit", "replay", "/exchange/run", "--all", "--final")


@pytest.mark.parametrize("name", ["lenet", "digits", "resnet20"])
def test_a_training_has_the_committed_hash(cpu, name):
    assert output_of(cpu, "tests/contracts/fixed_run.py", name, 2).split()[-1] == WEIGHTS_SHA256[name]


@pytest.mark.parametrize("tests", TESTS)
def test_the_tests_of_kernels_and_packed_networks(cpu, tests):
    output_of(cpu, "-m", "pytest", "-p", "no:cacheprovider", tests)
