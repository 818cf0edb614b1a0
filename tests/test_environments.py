"""Every command in odd surroundings works, or says in one line what is wrong; no internal error, no crash."""
import os
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from tinyq.__main__ import main

IRIS = "--model mlp:8,8 --data iris --method cbp --recipe none --epochs 1 --pretrain-epochs 1 -j 0"
LINES = {
    "train": f"train {IRIS} --output OUT/run", "dry run": f"train {IRIS} --dry-run", "resume": "train --resume RUN",
    "settings": f"train {IRIS} --print-config", "evaluate": "evaluate RUN", "pack": "pack RUN OUT/n.tq.h5",
    "c": "pack PACKED --c OUT/c", "infer": "infer PACKED --data", "int8": "infer PACKED --data --activations int8",
    "convert": "convert RUN OUT/n.safetensors", "summary": "summary RUN", "doctor": "doctor",
    "verify": "audit verify RUN", "replay": "audit replay RUN --step 1", "check": "audit check RUN --step 1",
    "report": "audit report RUN -o OUT/r.html --checks 0 --points 2", "show": "audit show RUN --step 1",
    "compare": "audit compare RUN RUN",
    "explain": "audit explain RUN --step 1 --weight fc1.bias[0]",
    "where": "data where", "help": "train --help", "version": "--version", "offline": "data fetch mnist --offline",
}
WITHOUT_KERNELS = ("where", "help", "version", "offline")       # they mind no variable of numba's


@dataclass
class Surroundings:
    """What is odd: variables (None: not set), the umask, Python's flags, a working directory that is removed."""

    variables: dict = field(default_factory=dict)
    umask: int = 0o022
    flags: tuple = ()
    no_folder: bool = False
    code: int = 0


def wrong(variable, value):
    return f"{variable}={value}", Surroundings({variable: value}, code=2)


WRONG = dict([wrong("NUMBA_NUM_THREADS", value) for value in ("0", "-1", "abc", "", "100000", "\u00b2", "9" * 5000)]
             + [wrong("NUMBA_THREADING_LAYER", value) for value in ("nonsense", "")]
             + [wrong("NUMBA_THREADING_LAYER_PRIORITY", "omp"), wrong("NUMBA_DISABLE_JIT", "1"),
                wrong("NUMBA_CPU_NAME", "nonsense"), wrong("NUMBA_CPU_FEATURES", "avx2"),
                wrong("NUMBA_CPU_FEATURES", "+nonsense"), wrong("NUMBA_CACHE_LOCATOR_CLASSES", "nonsense"),
                wrong("NUMBA_OPT", "x"), wrong("NUMBA_BOUNDSCHECK", "x"), wrong("NUMBA_DEBUG_CACHE", "x"),
                wrong("NUMBA_LOOP_VECTORIZE", "x"), wrong("TINYQ_ISA", "sse9")])
ODD = {
    "no HOME": Surroundings({"HOME": None, "TINYQ_CACHE": None}),
    "HOME that is missing": Surroundings({"HOME": "/nonexistent", "TINYQ_CACHE": None}),
    "HOME that is read-only": Surroundings({"HOME": "/proc", "TINYQ_CACHE": None}),
    "HOME that is empty": Surroundings({"HOME": "", "TINYQ_CACHE": None}),
    "no PATH": Surroundings({"PATH": None}), "no TMPDIR": Surroundings({"TMPDIR": "/nonexistent"}),
    "TINYQ_CACHE=/proc": Surroundings({"TINYQ_CACHE": "/proc"}),
    "TINYQ_CACHE=": Surroundings({"TINYQ_CACHE": "", "XDG_CACHE_HOME": "/proc"}),
    "TINYQ_DATA": Surroundings({"TINYQ_DATA": "/proc/nonexistent"}),
    "TINYQ_ISA=numpy": Surroundings({"TINYQ_ISA": "numpy"}), "TINYQ_ISA=amx": Surroundings({"TINYQ_ISA": "amx"}),
    "-OO": Surroundings(flags=("-OO",)), "-O": Surroundings(flags=("-O",)), "-I": Surroundings(flags=("-I",)),
    "-W error": Surroundings(flags=("-W", "error")), "-X dev": Surroundings(flags=("-X", "dev")),
    **{f"umask {mask:03o}": Surroundings(umask=mask) for mask in (0o000, 0o002, 0o007, 0o077)},
    "LC_ALL=C": Surroundings({"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "ascii": Surroundings({"PYTHONIOENCODING": "ascii"}),
    "COLUMNS=0": Surroundings({"COLUMNS": "0", "TERM": "dumb"}), "COLUMNS=x": Surroundings({"COLUMNS": "x"}),
    "OMP_NUM_THREADS=0": Surroundings({"OMP_NUM_THREADS": "0"}), "OMP=x": Surroundings({"OMP_NUM_THREADS": "x"}),
    "OMP_THREAD_LIMIT": Surroundings({"OMP_THREAD_LIMIT": "1"}),
    "GOMP_SPINCOUNT": Surroundings({"GOMP_SPINCOUNT": "x"}),
    "workqueue": Surroundings({"NUMBA_THREADING_LAYER": "workqueue"}),
    "NUMBA_NUM_THREADS=200": Surroundings({"NUMBA_NUM_THREADS": "200"}),
    "NUMBA_CAPTURED_ERRORS": Surroundings({"NUMBA_CAPTURED_ERRORS": "new_style"}),
    "NUMBA_DEVELOPER_MODE": Surroundings({"NUMBA_DEVELOPER_MODE": "1"}),
    "MALLOC_PERTURB_": Surroundings({"MALLOC_PERTURB_": "165"}),
    "a removed working directory": Surroundings(no_folder=True),
}
# the default run: every wrong value once, and each oddity with the command that it concerns most
QUICK = [*((name, "infer") for name in ("NUMBA_NUM_THREADS=0", "NUMBA_THREADING_LAYER=nonsense", "NUMBA_OPT=x")),
         ("no HOME", "doctor"), ("HOME that is read-only", "settings"), ("-OO", "pack"), ("-OO", "help"),
         ("umask 002", "convert"), ("a removed working directory", "train"), ("TINYQ_CACHE=/proc", "where")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("environments")
    assert main(f"train {IRIS} --output {folder}/run".split()) == 0
    assert main(f"pack {folder}/run {folder}/n.tq.h5 --float-layer-bits 8 --calibrate".split()) == 0
    return folder


def run(trained, out, surroundings, command):
    """Exit code and the lines on stderr, but for the notices of the first compilation and of a cache of no use."""
    line = LINES[command].replace("RUN", f"{trained}/run").replace("PACKED", f"{trained}/n.tq.h5")
    environment = {**os.environ, **surroundings.variables}
    folder = out / "working"
    folder.mkdir()
    starting = [sys.executable, *surroundings.flags, "-m", "tinyq", *line.replace("OUT", str(out)).split()]
    if surroundings.no_folder:
        starting = ["sh", "-c", f'rmdir "{folder}"; exec "$@"', "sh", *starting]
    done = subprocess.run(starting, cwd=folder, umask=surroundings.umask, capture_output=True, text=True, timeout=300,
                          env={name: value for name, value in environment.items() if value is not None})
    expected = ("compiling kernels", " so far", " left", "kernels cannot be kept here", "libgomp: ",
                "this machine does not have it")
    said = [text for text in done.stderr.splitlines() if text.strip()]
    return done.returncode, [text for text in said if not any(notice in text for notice in expected)]


def holds(trained, out, name, command):
    surroundings = {**WRONG, **ODD}[name]
    code, said = run(trained, out, surroundings, command)
    assert code >= 0 and not any("internal error" in line or "Traceback" in line for line in said), (code, said)
    concerned = 2 if surroundings.code == 2 and command not in WITHOUT_KERNELS else 65 if command == "offline" else 0
    if surroundings.no_folder:
        assert len(said) == (code != 0)
    else:
        assert (code, len(said)) == (concerned, int(concerned > 0)), said
    if concerned == 2:
        assert name.partition("=")[0] in said[0]


@pytest.mark.parametrize("name, command", QUICK)
def test_odd_surroundings_are_withstood_or_named(trained, tmp_path, name, command):
    holds(trained, tmp_path, name, command)


@pytest.mark.slow
@pytest.mark.parametrize("command", LINES)
@pytest.mark.parametrize("name", [*WRONG, *ODD])
def test_all_commands_in_all_surroundings(trained, tmp_path, name, command):
    holds(trained, tmp_path, name, command)


@pytest.mark.parametrize("command, code, says", [
    ("doctor", 0, ""), ("data where", 2, "no home folder for the datasets"),
    ("data fetch mnist --offline", 2, "no home folder for the datasets"),
    ("infer PACKED --data", 0, "kernels cannot be kept here (this user has no home folder)")])
def test_a_user_without_a_home(trained, tmp_path, command, code, says):
    """As in a container with a number for a user."""
    start = ("import pwd, sys\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
             "from tinyq.__main__ import main\nsys.exit(main(sys.argv[1:]))")
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "TINYQ_CACHE", "TINYQ_DATA",
                                                                              "XDG_CACHE_HOME")}
    line = command.replace("PACKED", f"{trained}/n.tq.h5").split()
    done = subprocess.run([sys.executable, "-c", start, *line], cwd=tmp_path, env=kept, capture_output=True, text=True)
    assert done.returncode == code and says in done.stderr and not os.listdir(tmp_path), done.stderr
    assert "internal error" not in done.stderr and done.stderr.count("\n") <= 2
