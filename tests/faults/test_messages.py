"""Each fault ends a command with its exit code and one line that says what, which file, and what to do."""
import errno
import fcntl
import io
import itertools
import json
import os
import struct
import subprocess
import sys
import tarfile
import time

import hostile
import numpy as np
import operations
import pytest
from PIL import Image

from tinyq.__main__ import main
from tinyq.data.local.archive import read_members
from tinyq.errors import BadInput, exit_code_of
from tinyq.files import safetensors
from tinyq.run import checkpoint

IRIS = "--model mlp:8 --data iris --method backprop --recipe none --epochs 6 --threads 1 -j 0"


def ends(capsys, line, code):
    """The one line on stderr of a command that ends with this code."""
    capsys.readouterr()
    assert main(line.split() if isinstance(line, str) else line) == code
    err = capsys.readouterr().err.removeprefix(
        "tinyq: compiling kernels for this CPU (once, in a minute or two; later runs load them)\n")
    assert err.startswith("tinyq: ") and err.count("\n") == 1 and "Traceback" not in err and "internal" not in err
    return err


@pytest.fixture
def run(tmp_path):
    assert main(f"train {IRIS} --output {tmp_path}/r --max-steps 1".split()) == 0
    return tmp_path / "r"


@pytest.mark.parametrize("kind, code, says", [
    ("EROFS", 73, "r: cannot create this folder (Read-only file system); choose another path"),
    ("EACCES", 73, "r: cannot create this folder (Permission denied); choose another path")])
def test_a_folder_that_takes_no_run(capsys, tmp_path, kind, code, says):
    def refuse(number, name, path, arguments, call):
        raise operations.error(getattr(errno, kind)) if name in ("mkdir", "open") else AssertionError(name)

    with operations.watched(tmp_path, refuse):
        assert says in ends(capsys, f"train {IRIS} --output {tmp_path}/r", code)


def test_a_folder_that_becomes_read_only_stops_no_training_but_has_no_result(capsys, tmp_path, run):
    def refuse(number, name, path, arguments, call):
        if name in ("mkdir", "unlink", "replace") or name == "open" and arguments[1] & os.O_CREAT \
                and not path.endswith(".lock"):
            raise operations.error(errno.EROFS)
        return call()

    before = operations.below(run)
    with operations.watched(run, refuse):
        said = ends(capsys, f"train --resume {run} --max-steps 9", 73)
    assert "cannot create this file (Read-only file system); make its folder writable or choose another" in said
    assert operations.below(run) == before


@pytest.mark.parametrize("kind, says", [("ENOSPC", "No space left on device"), ("EDQUOT", "Disk quota exceeded"),
                                        ("EIO", "Input/output error")])
def test_a_disk_that_fails_at_the_end(capsys, tmp_path, run, kind, says):
    class AtTheEnd(operations.Failing):
        def __call__(self, number, name, path, arguments, call):
            return super().__call__(1 if "model.h5" in path else 0, name, path, arguments, call)

    with operations.watched(run, AtTheEnd(1, kind)):
        said = ends(capsys, f"train --resume {run} --max-steps 9", 73 if kind == "EIO" else 74)
    assert "model.h5: " in said and says in said and ("go on with: python -m tinyq.train --resume" in said
                                                      or "or choose another" in said)


def test_two_runs_in_one_folder(capsys, run):
    code = ("import sys, time\nfrom tinyq.files.lock import locked\nwith locked(sys.argv[1]):\n"
            "    print('held', flush=True)\n    time.sleep(60)")
    holder = subprocess.Popen([sys.executable, "-c", code, run], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        before = operations.below(run)
        for line in (f"train --resume {run}", f"train {IRIS} --output {run}"):
            assert "another run is working in this folder; wait for it or choose another" in ends(capsys, line, 75)
        assert operations.below(run) == before
        assert main(f"audit verify {run}".split()) == 0         # whole, although the run might go on
        (run / "model.h5").unlink()                             # as a run does that saves it again
        assert "a run is working in this folder" in ends(capsys, f"audit verify {run}", 75)
    finally:
        holder.kill()
        holder.communicate()
    assert "is on record, but missing" in ends(capsys, f"audit verify {run}", 76)


def test_a_clock_that_jumps_changes_nothing(tmp_path, monkeypatch):
    calls, ten_years = itertools.count(), 10 * 365 * 86400

    def jump(call, unit):
        return lambda: call() + (-1) ** next(calls) * ten_years * unit

    outcome = []
    for name in ("a", "b"):
        main(f"train {IRIS} --output {tmp_path}/{name}".split())
        outcome.append(json.loads((tmp_path / name / "result.json").read_text())["weights_sha256"])
        monkeypatch.setattr(time, "time", jump(time.time, 1))
        monkeypatch.setattr(time, "time_ns", jump(time.time_ns, 10**9))
        for path in (tmp_path / "a").rglob("*"):
            os.utime(path, (0, 0))
    assert outcome[0] == outcome[1]
    assert main(f"train --resume {tmp_path}/a".split()) == 0


def test_memory_that_is_not_there(capsys, monkeypatch):
    def exhausted(argv):
        return np.ones(1 << 45)

    assert exit_code_of(exhausted, []) == 70
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "out of memory; try a smaller --batch-size" in err and "--dry-run" in err
    assert exit_code_of(exhausted, ["--debug"]) == 70 and "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("limit, size, code, says", [
    ("NOFILE", 12, 0, ""), ("FSIZE", 3000, 74, "; then go on with: python -m tinyq.train --resume")])
def test_a_process_that_may_open_few_files_or_small_ones(tmp_path, limit, size, code, says):
    script = ("import resource, sys\nfrom tinyq.__main__ import main\n"
              f"resource.setrlimit(resource.RLIMIT_{limit}, ({size}, {size}))\nsys.exit(main(sys.argv[1:]))")
    process = subprocess.run([sys.executable, "-c", script, *f"train {IRIS} --output {tmp_path}/r".split()],
                             capture_output=True, text=True)
    lines = [line for line in process.stderr.splitlines() if "compiling kernels" not in line]
    assert process.returncode == code and len(lines) == bool(says), process.stderr
    assert not says or lines[0].startswith("tinyq: ") and says in lines[0]


def test_numbers_beyond_reason(capsys, tmp_path):
    said = ends(capsys, f"train {IRIS} --output {tmp_path}/t --threads 100000", 2)
    assert "--threads 100000: must be at most 4096" in said
    for flags in ("--lr 1e38 --opt adam", "--lr 1e308", "--lr 1e30 --weight-decay 1e30"):
        said = ends(capsys, f"train {IRIS} {flags} --output {tmp_path}/{len(flags)}", 70)
        assert "try a lower " in said and "--lr" in said


def test_a_run_within_too_little_memory(tmp_path):
    """An address space that ends a little above what the imports take: one line or a whole run, never a crash."""
    line = ("train --model mlp:3000,3000 --data digits --method backprop --recipe none --epochs 1 -b 64 --threads 1 "
            f"-j 0 --max-steps 3 --output {tmp_path}/r").split()
    code = ("import resource, sys\nfrom tinyq.__main__ import main\nfrom tinyq import kernels\nkernels.relu\n"
            "import numpy, numba\nnumba.set_num_threads(1)\n"
            "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
            "most = size + (int(sys.argv[1]) << 20)\nresource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
            "sys.exit(main(sys.argv[2:]))")
    codes = set()
    for i, extra in enumerate((60, 1500)):
        process = subprocess.run([sys.executable, "-c", code, str(extra), *line[:-1], f"{tmp_path}/r{i}"],
                                 capture_output=True, text=True)
        assert process.returncode in (0, 70), (extra, process.returncode, process.stderr[-500:])
        assert process.returncode == 0 or process.stderr.count("tinyq: ") == 1 and "memory" in process.stderr
        codes.add(process.returncode)
    assert codes == {0, 70}


def all_damaged(run):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:100])


def another_config(run):
    path = run / "config.toml"
    path.write_text(path.read_text().replace("batch_size = 128", "batch_size = 64"))


def no_toml(run):
    (run / "config.toml").write_text("= \x00")


def fewer_records(run):
    (run / "metrics.jsonl").unlink()


@pytest.mark.parametrize("harm, code, says", [
    (all_damaged, 65, "no checkpoint to resume from"), (another_config, 65, "differ from those of the checkpoint"),
    (no_toml, 65, "config.toml"), (fewer_records, 65, "metrics.jsonl: cannot be read")], ids=lambda h: getattr(
        h, "__name__", None))
def test_a_run_folder_that_was_changed(capsys, tmp_path, harm, code, says):
    assert main(f"train {IRIS} --output {tmp_path}/r --max-steps 4".split()) == 0
    harm(tmp_path / "r")
    assert says in ends(capsys, f"train --resume {tmp_path}/r --max-steps 5", code)


def positions(**values):
    return lambda position, states: vars(position).update(values)


def states(owner, change):
    return lambda position, states: change(states.setdefault(owner, {}))


@pytest.mark.parametrize("change", [
    positions(phase=7), positions(phase=-1), positions(steps="3"), positions(epoch=1.5), positions(records=1 << 60),
    positions(seconds="x"), positions(made_with=[]), positions(skipped=3), positions(skipped={"train": "x"}),
    positions(skipped={"train": [-1]}), positions(test_float=[1]), positions(made_with={"lr": 3}),
    states("model", dict.clear), states("model", lambda s: s.update(extra=np.ones(3))),
    states("model", lambda s: s.update({name: np.ones(3, np.float32) for name in s})),
    states("model", lambda s: s.update({name: value.astype(np.float64) for name, value in s.items()})),
    states("optimizer", dict.clear), states("optimizer", lambda s: s.update(extra=1)),
    states("optimizer", lambda s: s.update(dict.fromkeys(s, np.zeros(2)))),
    states("method", dict.clear), states("method", lambda s: s.update(dict.fromkeys(s, np.zeros(2)))),
    states("schedule", lambda s: s.update(dict.fromkeys(s, np.zeros(2)))), states("schedule", dict.clear)],
    ids=range(23))
@pytest.mark.parametrize("method", ["backprop", "cbp"])
def test_a_checkpoint_whose_seal_fits_and_whose_contents_do_not(capsys, tmp_path, method, change):
    line = IRIS.replace("mlp:8", "mlp:8,8").replace("backprop", method)
    if method == "cbp":
        line += " --pretrain-epochs 1"
    # A ledger would refuse any other checkpoint than the one on record (76).
    assert main(f"train {line} --schedule plateau --audit off --output {tmp_path}/r --max-steps 2".split()) == 0
    position, held, _ = checkpoint.load_newest(tmp_path / "r" / "checkpoints")
    change(position, held)
    for path in (tmp_path / "r" / "checkpoints").iterdir():
        path.unlink()
    checkpoint.write(tmp_path / "r" / "checkpoints" / "step-000000002.h5", position, held)
    capsys.readouterr()
    code = main(f"train --resume {tmp_path}/r --max-steps 3".split())
    err = capsys.readouterr().err
    assert code == 65 and err.count("\n") == 1 and "internal" not in err, err


@pytest.mark.parametrize("suffix", [".h5", ".pth", ".safetensors"])
def test_weight_files_that_are_none(capsys, tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    for data in (b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", os.urandom(100)):
        path.write_bytes(data)
        said = ends(capsys, f"convert {path} {tmp_path}/out.h5 --model lenet", 65)
        assert path.name in said and not (tmp_path / "out.h5").exists()
    os.unlink(path)
    assert "No such file" in ends(capsys, f"convert {path} {tmp_path}/out.h5 --model lenet", 65)


def test_weights_that_are_not_finite(capsys, tmp_path):
    safetensors.write(tmp_path / "x.safetensors", {"fc.weight": np.full((3, 4), np.nan, np.float32),
                                                   "fc.bias": np.zeros(3, np.float32)})
    said = ends(capsys, f"convert {tmp_path}/x.safetensors {tmp_path}/out.h5 --model logistic", 65)
    assert "x.safetensors" in said


def pictures(folder, **bad):
    """An image tree of two classes with some files replaced."""
    rng = np.random.Generator(np.random.Philox(0))
    for part, count in (("train", 12), ("val", 4)):
        for k in range(count):
            path = folder / part / "ab"[k % 2] / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    for name, data in bad.items():
        (folder / "train" / "a" / f"{name.removeprefix('n')}.png").write_bytes(data)
    return (f"train --model mlp:4 --data imagefolder --data-path {folder} --method backprop --recipe none --epochs 1 "
            f"-j 0 --threads 1 --imagefolder.size 8 --imagefolder.resize 8 --imagefolder.validation 0 -b 4 "
            f"--output {folder.parent}/r")


def gif():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize("data, says", [
    (b"broken", "neither a JPEG nor a PNG image"), (b"", "neither a JPEG nor a PNG image"),
    (gif(), "neither a JPEG nor a PNG image"), (hostile.png_bomb(60_000, 60_000), "over the limit of 50,000,000"),
    (hostile.png_bomb(100, 100)[:60], "unreadable image")], ids=["text", "empty", "gif", "bomb", "cut"])
def test_a_bad_image_fails_or_is_skipped(capsys, tmp_path, data, says):
    line = pictures(tmp_path / "d", n4=data)
    said = ends(capsys, line, 65)
    assert says in said and "train/a/4.png" in said and "--imagefolder.bad-image skip" in said
    assert main(f"{line}2 --imagefolder.bad-image skip".split()) == 0


def a_link_to_nowhere(path):
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("put, says", [(a_link_to_nowhere, "No such file"), (os.mkfifo, "is not a plain file"),
                                       (os.mkdir, "is not a plain file")])
def test_an_image_that_is_no_file(capsys, tmp_path, put, says):
    line = pictures(tmp_path / "d")
    (tmp_path / "d" / "train" / "a" / "4.png").unlink()
    put(tmp_path / "d" / "train" / "a" / "4.png")
    said = ends(capsys, line, 65)
    assert says in said and "train/a/4.png" in said and "--imagefolder.bad-image skip" in said
    assert main(f"{line}2 --imagefolder.bad-image skip".split()) == 0


def test_a_list_of_classes_that_never_ends(capsys, tmp_path):
    line = pictures(tmp_path / "d")
    os.mkfifo(tmp_path / "classes")
    assert "classes: is not a plain file" in ends(capsys, f"{line} --imagefolder.classes {tmp_path}/classes", 65)


def test_an_empty_class_and_a_name_that_is_hard_to_print(capsys, tmp_path):
    line = pictures(tmp_path / "d")
    os.mkdir(os.fsencode(tmp_path / "d" / "train") + b"/\x1b[2J\xff\n")
    said = ends(capsys, line, 65)
    assert "has no .jpg, .jpeg, .png images for " in said and "\x1b" not in said


def test_labels_that_are_no_digits(capsys, tmp_path):
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 2, 28, 28) + bytes(2 * 784))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 2) + bytes([3, 77]))
    said = ends(capsys, f"train --model logistic --data mnist --data-path {tmp_path} --method backprop --recipe none "
                        f"--output {tmp_path}/r", 65)
    assert "labels" in said and not (tmp_path / "r").exists()


EVIL = [("../out", tarfile.REGTYPE), ("/out", tarfile.REGTYPE), ("f/../../out", tarfile.REGTYPE),
        ("f/a", tarfile.SYMTYPE), ("f/a", tarfile.LNKTYPE), ("f/a", tarfile.CHRTYPE), ("f/a", tarfile.FIFOTYPE),
        ("f/a", tarfile.DIRTYPE), ("f/b", tarfile.REGTYPE), ("f/" + "x" * 5000, tarfile.REGTYPE)]


@pytest.mark.parametrize("size", [0, 6, 1 << 20, 1 << 60])
@pytest.mark.parametrize("name, kind", EVIL, ids=range(len(EVIL)))
def test_evil_archives_write_nothing(tmp_path, name, kind, size):
    """Forty of them; nothing is ever unpacked by a path of theirs."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size if kind == tarfile.REGTYPE else 0, "/etc/passwd"
    with tarfile.open(tmp_path / "evil.tar.gz", "w:gz") as archive:
        archive.addfile(info, io.BytesIO(bytes(size)) if size <= 1 << 20 else None)
    before = operations.below(tmp_path)
    with pytest.raises(BadInput, match="evil.tar.gz"):
        read_members(tmp_path / "evil.tar.gz", "f", {"a": 5})
    assert operations.below(tmp_path) == before and not (tmp_path.parent / "out").exists()


@pytest.mark.parametrize("text, code", [
    ("epochs = 'x'", 2), ("epochs = -1", 2), ("nonsense = 1", 2), ("lr = nan", 2), ("model = '../../etc/passwd'", 2),
    ("seed = 99999999999999999999999999", 2),
    ("a = " + "[" * 100_000, 65), ("[epochs]\na=1", 2), ("epochs = [1, {", 65), ("\xff", 65)])
def test_configs_that_make_no_sense(capsys, tmp_path, text, code):
    (tmp_path / "c.toml").write_text(text, encoding="latin-1")
    ends(capsys, f"train --config {tmp_path}/c.toml --data iris --output {tmp_path}/r", code)
    assert not (tmp_path / "r").exists()


def test_training_goes_on_where_there_are_no_locks_and_no_advice(capsys, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    assert main(f"train {IRIS} --output {tmp_path}/r".split()) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "r: this file system has no locks (No locks available)" in said
    assert main(f"audit verify {tmp_path}/r".split()) == 0
