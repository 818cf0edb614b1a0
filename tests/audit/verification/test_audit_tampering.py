"""Whatever is changed in a run folder, be it one bit of one byte, verify or replay finds it."""
import random
import shutil
from pathlib import Path

import pytest
from audit_runs import train

from tinyq.audit.replay.replay import replay
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.errors import TinyqError

FILES = ("ledger.jsonl", "config.toml", "model.h5", "float.h5", "checkpoints/step-000000028.h5",
         "checkpoints/step-000000035.h5")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original") / "run"
    train(folder)
    verify(folder)
    return folder


def found(run) -> bool:
    """Whether verify, or else a replay of every step, refuses the folder."""
    try:
        verify(run)
        replay(Source(run, {}), range(1, 36))
    except TinyqError:
        return True
    return False


def byte_edits(original, count, seed):
    """(file, place, byte) at random, every file as often as any other."""
    draw = random.Random(seed)
    for _ in range(count):
        name = draw.choice(FILES)
        data = (original / name).read_bytes()
        place = draw.randrange(len(data))
        yield name, place, draw.choice([b for b in range(256) if b != data[place]])


def line_edits(original, count, seed):
    """The ledger's lines with some left out, or in another order, or one of them twice."""
    draw, lines = random.Random(seed), (original / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    for _ in range(count):
        changed = list(lines)
        kind = draw.randrange(3)
        i, j = sorted(draw.sample(range(len(lines)), 2))
        if kind == 0:
            del changed[i:i + draw.randrange(1, 4)]
        elif kind == 1:
            changed[i], changed[j] = changed[j], changed[i]
        else:
            changed.insert(j, changed[i])
        yield b"".join(changed)


def unnoticed_bytes(original, run, edits):
    shutil.copytree(original, run)
    missed = []
    for name, place, byte in edits:
        data = bytearray((original / name).read_bytes())
        data[place] = byte
        (run / name).write_bytes(bytes(data))
        if not found(run):
            missed.append((name, place, byte))
        shutil.copy(original / name, run / name)
    assert not found(run)
    return missed


def unnoticed_lines(original, run, edits):
    shutil.copytree(original, run)
    missed = []
    for data in edits:
        Path(run / "ledger.jsonl").write_bytes(data)
        if not found(run):
            missed.append(data)
    return missed


def test_random_single_byte_edits_are_found(original, tmp_path):
    assert unnoticed_bytes(original, tmp_path / "run", byte_edits(original, 60, seed=0)) == []


def test_reordered_and_removed_records_are_found(original, tmp_path):
    assert unnoticed_lines(original, tmp_path / "run", line_edits(original, 30, seed=0)) == []


@pytest.mark.slow
def test_a_thousand_single_byte_edits_are_found(original, tmp_path):
    assert unnoticed_bytes(original, tmp_path / "run", byte_edits(original, 1000, seed=1)) == []


@pytest.mark.slow
def test_two_hundred_reorderings_and_removals_are_found(original, tmp_path):
    assert unnoticed_lines(original, tmp_path / "run", line_edits(original, 200, seed=1)) == []
