"""A remedy that a message names works: shown commands are pasted and run, named flags exist."""
import ast
import re
import shlex
from pathlib import Path

import pytest

from tinyq.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parent.parent
TINY = ("--model mlp:8,8 --data iris --method cbp --recipe none --threads 1 -j 0 --pretrain-epochs 0 --epochs 1 "
        "--audit off")
NETS = """\
from tinyq.nn import BatchNorm1d, Linear, ReLU, Sequential

def normed(n, shape):
    return Sequential(Linear(*shape, 8), BatchNorm1d(8), ReLU(), Linear(8, 8), Linear(8, n))

def two(n, shape):
    return Sequential(Linear(*shape, 8), ReLU(), Linear(8, n))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders whose names a shell would take apart: a run, one stopped within, one of an own network, and a model."""
    folder = tmp_path_factory.mktemp("it's (1) $HOME & more")
    (folder / "nets.py").write_text(NETS)
    for name, flags in (("run", ""), ("stopped", "--max-steps 0"), ("own", "--epochs 2 -b 60 --model nets.py:normed")):
        words = [str(folder / word) if word.startswith("nets.py") else word for word in f"{TINY} {flags}".split()]
        assert main(["train", *words, "--output", str(folder / name)]) == 0
    for name in ("stopped", "own"):                                     # as a kill at the end leaves them
        for file in ("model.h5", "result.json"):
            (folder / name / file).unlink()
    assert main(["pack", str(folder / "run"), str(folder / "plain.tq.h5")]) == 0
    return folder


def said(capsys, line, runs, code):
    """What a command that ends with this code says on standard error; RUNS/ in it is the folder of the runs."""
    words = [word.replace("RUNS/", f"{runs}/") for word in shlex.split(line)]
    capsys.readouterr()
    assert main(words) == code, capsys.readouterr().err
    return capsys.readouterr().err.strip().splitlines()[-1]


SHOWN = [                                       # a command whose message ends with another command
    (f"train {TINY} --output RUNS/run", 73), ("evaluate RUNS/stopped", 65), ("pack RUNS/own RUNS/own.tq.h5", 65),
    ("pack RUNS/run/model.tq.h5 --c RUNS/firmware", 2)]


@pytest.mark.parametrize("line, code", SHOWN, ids=lambda v: str(v)[:20])
def test_a_shown_command_runs_as_it_stands(capsys, runs, line, code):
    message = said(capsys, line, runs, code)
    words = shlex.split(message[message.index("python -m tinyq."):])
    assert words[:2] == ["python", "-m"] and main([words[2].removeprefix("tinyq."), *words[3:]]) == 0


# A line that fails, the remedy it names, and the line with the remedy.
REMEDIES = [
    (f"train {TINY} --learning-rate 0.1", "did you mean '--lr'", f"train {TINY} --lr 0.1 --print-config"),
    (f"train {TINY} --batch_size 8", "did you mean '--batch-size'", f"train {TINY} --batch-size 8 --print-config"),
    (f"train {TINY} --levels tenary", "did you mean 'ternary'", f"train {TINY} --levels ternary --print-config"),
    (f"train {TINY} --schedule step --lr-steps 1,2", "--schedule multistep",
     f"train {TINY} --schedule multistep --lr-steps 1,2 --print-config"),
    (f"train {TINY} --model RUNS/nets.py:two", "add --constrain all",
     f"train {TINY} --model RUNS/nets.py:two --constrain all --dry-run"),
    (f"train {TINY} --model RUNS/nets.py:normed -b 1", "take at least 2",
     f"train {TINY} --model RUNS/nets.py:normed -b 2 --dry-run"),
    (f"train {TINY} --model RUNS/nets.py", "say which function it is",
     f"train {TINY} --model RUNS/nets.py:normed --dry-run"),
    ("train --resume RUNS/own", "add --trust", "train --resume RUNS/own --trust"),
    ("evaluate RUNS/own", "name it with --model", "evaluate RUNS/own --model RUNS/nets.py:normed"),   # finished above
    ("infer RUNS/plain.tq.h5 --data --activations int8", "infer with --calibrate",
     "infer RUNS/plain.tq.h5 --data --activations int8 --calibrate"),
    ("pack RUNS/plain.tq.h5 --c RUNS/c", "for C, export the trained network: python -m tinyq.pack RUN --c",
     "pack RUNS/run --c RUNS/c"),
    ("pack RUNS/run RUNS/out.h5", "OUT.tq.h5", "pack RUNS/run RUNS/out.tq.h5"),
    ("trian --help", "did you mean 'train'", f"train {TINY} --print-config"),
]


@pytest.mark.parametrize("line, remedy, mended", REMEDIES, ids=[f"{k} {mended[:24]}" for k, (_, _, mended) in
                                                                enumerate(REMEDIES)])
def test_a_named_remedy_works(capsys, runs, line, remedy, mended):
    words = [word.replace("RUNS/", f"{runs}/") for word in shlex.split(line)]
    capsys.readouterr()
    if main(words):                                     # the run that another line has finished is no mistake any more
        assert remedy in capsys.readouterr().err
    assert main([word.replace("RUNS/", f"{runs}/") for word in shlex.split(mended)]) == 0


def test_a_file_that_names_code_is_run_with_the_flag_that_it_shows(capsys, runs):
    (runs / "c.toml").write_text(f"model = \"{runs}/nets.py:normed\"\ndata = 'iris'\nmethod = 'cbp'\nrecipe = 'none'\n")
    message = said(capsys, "train --config RUNS/c.toml --dry-run", runs, 65)
    flags = shlex.split(message.partition("if you trust this file, add ")[2])
    assert main(["train", "--config", str(runs / "c.toml"), "--dry-run", *flags]) == 0


AUDIT = ("verify", "replay", "check", "report", "show", "head", "explain", "compare")


def texts(path):
    """(line, text) of each message in a source file: constants, and f-strings with their values left out."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Raise | ast.Call):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def test_every_flag_and_command_that_a_message_names_exists(capsys):
    known = {"--config", "--debug", "--version", "--help"}
    for command in COMMANDS:
        own = {"audit": AUDIT, "data": ("fetch", "where")}.get(command, ())
        for part in ([], *([part] for part in own)):
            try:
                main([command, *part, "--help"])
            except SystemExit:
                pass
    known |= set(re.findall(r"--[a-z][a-z0-9.-]*[a-z0-9]|--c\b", capsys.readouterr().out))
    unknown, modules = set(), {module.removesuffix(".__main__") for module, _ in COMMANDS.values()}
    for folder in ("tinyq", "data", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            for line, text in texts(path):
                named = re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+[a-z0-9]", text)
                unknown |= {(path.name, line, flag) for flag in named if not any(k.startswith(flag) for k in known)}
                unknown |= {(path.name, line, module) for module in re.findall(r"python -m (tinyq\.\w+)", text)
                            if module not in modules}
    assert unknown == set()
