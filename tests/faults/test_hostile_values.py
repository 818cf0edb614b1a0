"""Hostile text in every field of everything that a foreign run folder holds: none of it reaches an output raw."""
import csv
import hashlib
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tinyq.__main__ import main
from tinyq.files import hdf5
from tinyq.output.quoting import FORMULA_STARTS
from tinyq.packed.file import format as packed_files
from tinyq.run import checkpoint

sys.path.insert(0, str(Path(__file__).parent.parent / "audit"))
import audit_runs  # noqa: E402

EVIL = "=1+1\x1b]0;owned\x07\x9b31m\nverified: forged\r\x7f\u202e<script>alert(1)</script>\"'"
TRAIN = ("train --model mlp:8,16 --data iris --method cbp --recipe none -b 16 --epochs 2 --pretrain-epochs 1 "
         "--max-steps 9 --threads 1 -j 0 --print-freq 3 --audit-every 9 --output").split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("hostile") / "run"
    assert main([*TRAIN, str(run)]) == 0
    return run


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


class Outputs:
    """Runs commands and looks at everything that they print and write."""

    def __init__(self, capsys, folder):
        self.capsys, self.folder = capsys, folder

    def __call__(self, *commands):
        codes = []
        for command in commands:
            self.capsys.readouterr()
            argv = [part.replace("RUN", str(self.folder)) for part in command.split()]
            code, (out, err) = main(argv), self.capsys.readouterr()
            assert code != 70, f"{command}: {err}"
            codes.append(code)
            for text in (out, err):
                check_text(command, text)
        for path in self.folder.parent.rglob("*"):
            if path.suffix in (".html", ".svg"):
                check_markup(path)
            elif path.suffix in (".c", ".h"):
                check_text(path, path.read_text())
        return codes


def check_text(command, text):
    raw = [c for c in text if not c.isprintable() and c != "\n"]
    assert not raw, f"{command}: {raw}: {text[:500]!r}"
    assert not any(line.startswith("verified: forged") for line in text.splitlines()), command


def check_markup(path):
    text = path.read_text()
    check_text(path, text)
    assert "<script>alert" not in text and text.count("<script") == (path.suffix == ".html"), path


def places(value, at=()):
    """The keys to every text in nested lists and dicts; of a dict's keys too, as (..., None, key)."""
    if isinstance(value, str):
        yield at
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, None, key)
            yield from places(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from places(inner, (*at, index))


def put(value, place, text=EVIL):
    """Replace the text, or the key, at a place."""
    *way, last = place
    if way and way[-1] is None:
        for key in way[:-1]:
            value = value[key]
        value[text] = value.pop(last)
        return
    for key in way:
        value = value[key]
    value[last] = text


def records(run):
    return [json.loads(line) for line in (run / "ledger.jsonl").read_text().splitlines()]


KINDS = ("begin", "phase", "step", "epoch", "check", "file", "end")


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_ledger(capsys, run, whole, kind, every):
    """Every field is shown; every so many fields, the steps are replayed and the page is made too."""
    seen = Outputs(capsys, run)
    last = [r for r in records(whole) if r["record"] == kind][-1]
    number = records(whole).index(last)
    last = {key: value for key, value in last.items() if key != "prev"}
    if kind == "check":
        last["faults"] = ["a fault"]
    for place_number, place in enumerate(places(last)):
        changed = json.loads(json.dumps(last))
        put(changed, place)

        def change(found, changed=changed):
            found[number] = changed

        shutil.copy(whole / "ledger.jsonl", run / "ledger.jsonl")
        audit_runs.rewrite(run, change)
        seen("audit verify RUN", "audit head RUN", "audit show RUN", "audit show RUN --json")
        replayed = kind in ("begin", "phase", "check") or place[0] in ("figures", "metrics", None)
        if replayed and place_number % every == 0:
            seen("audit replay RUN --step 9", "audit report RUN -o RUN.html --checks 0 --points 2")


@pytest.mark.parametrize("record", [{"record": "exception", "message": EVIL}, {"record": EVIL},
                                    {"record": "resume", "repeated": 1, "head": EVIL, "environment": {EVIL: EVIL}}])
def test_further_records(capsys, run, record):
    audit_runs.rewrite(run, lambda found: found.append({"step": 9, **record}))
    Outputs(capsys, run)("audit verify RUN", "audit head RUN", "audit show RUN", "audit show RUN --json",
                         "audit replay RUN --step 9", "audit report RUN -o RUN.html --checks 0 --points 2",
                         "train --resume RUN --max-steps 12")


def test_every_setting_of_a_configuration(capsys, run, whole):
    seen, lines = Outputs(capsys, run), (whole / "config.toml").read_text().splitlines()
    evil = json.dumps(EVIL)
    settings = [n for n, line in enumerate(lines) if " = " in line]
    for number in settings:
        name, _, value = lines[number].partition(" = ")
        for text in (f"{name} = {evil}", f"{evil} = {value}"):
            (run / "config.toml").write_text("\n".join([*lines[:number], text, *lines[number + 1:]]))
            seen("train --config RUN/config.toml --print-config", "train --resume RUN", "audit verify RUN")
    for extra in (f"data_path = {evil}", f"output = {evil}", f"weights = {evil}", f"[{evil}]\nx = 1", f"# {EVIL}"):
        (run / "config.toml").write_text("\n".join(["\n".join(lines).partition("\n[")[0], extra]))
        seen("train --config RUN/config.toml --print-config", "train --config RUN/config.toml --dry-run",
             "train --resume RUN", "evaluate RUN", "audit verify RUN", "audit replay RUN --step 9")


def test_every_field_of_a_result(capsys, run, whole):
    seen = Outputs(capsys, run)
    result = json.loads((whole / "result.json").read_text())
    for key in result:
        (run / "result.json").write_text(json.dumps({**result, key: EVIL}))
        seen("train --resume RUN", "audit verify RUN")
    (run / "result.json").write_text(json.dumps({**result, "levels": EVIL, "method": EVIL, "skipped": {EVIL: 1}}))
    seen("train --resume RUN")


def test_every_field_of_the_metrics(capsys, run, whole):
    seen, lines = Outputs(capsys, run), (whole / "metrics.jsonl").read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"epoch"' in line)
    for key in json.loads(lines[number]):
        (run / "metrics.jsonl").write_text(
            "\n".join([*lines[:number], json.dumps({**json.loads(lines[number]), key: EVIL}), *lines[number + 1:], ""]))
        (run / "result.json").unlink(missing_ok=True)
        seen("train --resume RUN")


def attributes_of(path):
    with hdf5.Reader(path) as file:
        return file.attributes()


def test_every_attribute_of_a_weight_file(capsys, run, whole):
    seen = Outputs(capsys, run)
    for name, value in attributes_of(whole / "model.h5").items():
        for evil in ([EVIL] * len(value) if isinstance(value, list) else EVIL, json.dumps({EVIL: EVIL})):
            shutil.copy(whole / "model.h5", run / "model.h5")
            with h5py.File(run / "model.h5", "a") as file:
                file.attrs[name] = evil
            seen("evaluate RUN", "evaluate RUN --json", "summary RUN", "summary RUN --json", "audit verify RUN",
                 "pack RUN RUN/x.tq.h5", "convert RUN RUN/x.safetensors")


def test_every_value_of_a_packed_file(capsys, run, whole):
    seen = Outputs(capsys, run)
    for name, value in packed_files.read(whole / "model.tq.h5").meta.items():
        packed = packed_files.read(whole / "model.tq.h5")
        packed.meta[name] = [EVIL] * len(value) if isinstance(value, list) else EVIL
        packed_files.write(run / "model.tq.h5", packed)
        seen("infer RUN/model.tq.h5 --data", "infer RUN/model.tq.h5 --data iris --json",
             "pack RUN/model.tq.h5 --c RUN/c --json", "audit verify RUN")


def test_every_text_of_a_checkpoint(capsys, run, whole):
    seen = Outputs(capsys, run)
    newest = max((whole / "checkpoints").iterdir())
    position, states = checkpoint.load(newest)
    for key, value in position.made_with.items():
        position.made_with = {**position.made_with, key: EVIL, EVIL: EVIL}
        checkpoint.write(run / "checkpoints" / newest.name, position, states)
        seen("train --resume RUN", "audit verify RUN", "audit replay RUN --step 9")
        position.made_with[key] = value
        del position.made_with[EVIL]
    position.ledger_head = EVIL
    checkpoint.write(run / "checkpoints" / newest.name, position, states)
    seen("train --resume RUN --max-steps 12", "audit verify RUN")
    position, states = checkpoint.load(newest)
    for owner in ("model", "optimizer", EVIL.replace("/", "")):
        checkpoint.write(run / "checkpoints" / newest.name, position,
                         {**states, owner: {**states.get(owner, {}), EVIL.replace("/", ""): np.zeros(3)}})
        seen("train --resume RUN --max-steps 12", "audit verify RUN")


def test_a_recorded_name_of_a_file(capsys, run, whole):
    seen = Outputs(capsys, run)
    for name in (EVIL.replace("/", ""), "checkpoints/" + EVIL.replace("/", "")):
        (run / name).write_bytes(b"x")
        audit_runs.rewrite(run, lambda found, name=name: found.append(
            {"record": "file", "step": 9, "file": name, "sha256": hashlib.sha256(b"x").hexdigest()}))
        seen("audit verify RUN", "audit show RUN", "audit replay RUN --step 9",
             "audit report RUN -o RUN.html --checks 0 --points 2", "train --resume RUN --max-steps 12")


def test_names_of_classes_and_images(capsys, tmp_path):
    """A spreadsheet runs no cell, a terminal shows every name."""
    classes = ["=1+1", "@SUM(1)", EVIL.replace("/", ""), "-1"]
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in classes:
            (tmp_path / "d" / part / name).mkdir(parents=True)
            for n in range(4):
                picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
                picture.save(tmp_path / "d" / part / name / f"={n}.png")
    seen = Outputs(capsys, tmp_path / "run")
    data = f"--data imagefolder --data-path {tmp_path}/d"
    codes = seen(
         f"train --model mlp:8,16 {data} --imagefolder.size 8 --imagefolder.resize 8 --imagefolder.validation 0 -b 4 "
         "--method cbp --recipe none --pretrain-epochs 0 --epochs 1 --threads 1 -j 0 --output RUN",
         "evaluate RUN --predictions RUN/p.csv", "evaluate RUN --json",
         "summary RUN", "infer RUN/model.tq.h5 --data", "audit verify RUN", "audit report RUN -o RUN.html --points 2")
    assert codes == [0] * len(codes)
    text = (tmp_path / "run" / "p.csv").read_text()
    check_text("p.csv", text)
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]
    assert len(cells) > 20 and not any(cell.startswith((*FORMULA_STARTS, "\t", "\r")) for cell in cells)
