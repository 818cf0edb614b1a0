"""Exit codes, one line on stderr, and the nearest right name."""
import errno
import os
import subprocess
import sys

import pytest

from tinyq import errors

CODES = {
    errors.TinyqError: 70, errors.UsageError: 2, errors.BadInput: 65, errors.CannotCreate: 73,
    errors.InputOutputError: 74, errors.Busy: 75, errors.AuditMismatch: 76, errors.Diverged: 70,
}


def raising(error):
    def command(argv):
        raise error

    return command


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_each_error_ends_a_command_with_its_code_and_one_line(kind, capsys):
    assert errors.exit_code_of(raising(kind("weights.h5: not HDF5;\nconvert it first")), []) == CODES[kind]
    captured = capsys.readouterr()
    assert captured.err == "tinyq: weights.h5: not HDF5; convert it first\n"
    assert captured.out == ""


def test_an_unknown_error_is_internal_and_says_how_to_see_more(capsys):
    assert errors.exit_code_of(raising(ValueError("boom")), []) == 70
    assert capsys.readouterr().err == "tinyq: internal error: ValueError: boom; run again with --debug\n"


@pytest.mark.parametrize("module, code, text", [
    ("llvmlite.binding", 2, "this needs numba, which is not installed: pip install numba"),
    ("onnxruntime", 2, "this needs onnxruntime, which is not installed: pip install onnxruntime"),
    ("PIL", 2, "this needs pillow, which is not installed: pip install pillow"),
    ("tinyq.nothing", 70, "internal error: ModuleNotFoundError")])
def test_a_package_that_is_not_installed_is_named(capsys, module, code, text):
    def command(argv):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    assert errors.exit_code_of(command, []) == code and text in capsys.readouterr().err


def test_an_error_of_the_system_is_shown_as_it_is(capsys):
    error = FileNotFoundError(2, "No such file or directory", "x.h5")
    assert errors.exit_code_of(raising(error), []) == 74
    assert capsys.readouterr().err == "tinyq: [Errno 2] No such file or directory: 'x.h5'\n"


def test_interrupted_is_130(capsys):
    assert errors.exit_code_of(raising(KeyboardInterrupt()), []) == 130
    assert capsys.readouterr().err == "tinyq: interrupted\n"


def test_debug_adds_the_traceback_and_is_not_passed_on(capsys):
    assert errors.exit_code_of(raising(errors.BadInput("x")), ["--debug"]) == 65
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == "tinyq: x"
    assert errors.exit_code_of(raising(ValueError("boom")), ["--debug"]) == 70
    seen = []
    assert errors.exit_code_of(seen.extend, ["a", "--debug", "b"]) == 0
    assert seen == ["a", "b"]


@pytest.mark.parametrize("returned, code", [(None, 0), (0, 0), (3, 3)])
def test_a_command_that_returns_gives_its_own_code(returned, code):
    assert errors.exit_code_of(lambda argv: returned, []) == code


@pytest.mark.parametrize("lines", [1, 100_000], ids=["buffered", "more than a buffer"])
def test_a_reader_that_goes_away_is_141_and_silent(lines):
    program = (
        "import sys; from tinyq.errors import exit_code_of\n"
        "def command(argv):\n"
        "    sys.stdin.read()\n"                                     # the reader has gone by now
        f"    for _ in range({lines}): print('x' * 20)\n"
        "sys.exit(exit_code_of(command, []))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_a_near_miss_is_named_and_a_far_one_is_not():
    choices = ["ternary", "binary"]
    assert errors.did_you_mean("ternery", choices) == "did you mean 'ternary'? choose from: binary, ternary"
    assert errors.did_you_mean("xyz", choices) == "choose from: binary, ternary"


def test_a_log_on_a_full_disk_hides_neither_the_end_nor_its_code():
    for command, code in (("--model nosuch", 2), ("--model mlp:4 --data iris --dry-run", 74)):
        with open("/dev/full", "w") as full:
            ended = subprocess.run([sys.executable, "-m", "tinyq.train", *command.split()], stdout=full, stderr=full,
                                   timeout=300)
        assert ended.returncode == code, command


def unloaded():
    try:
        raise OSError("libllvmlite.so: failed to map segment from shared object")
    except OSError:
        raise OSError("Could not find/load shared object file 'libllvmlite.so'") from None


@pytest.mark.parametrize("command", [
    raising(MemoryError()), raising(SystemError("error return without exception set")),
    raising(ImportError("libhdf5.so: failed to map segment from shared object")),
    raising(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))), lambda argv: unloaded()])
def test_memory_that_runs_out_anywhere_is_one_line(capsys, command):
    assert errors.exit_code_of(command, []) == 70
    said = capsys.readouterr().err
    assert said.startswith("tinyq: out of memory; ") and said.count("\n") == 1
