"""numba's cache: what was damaged, exchanged or put there by others is compiled anew; none of it is loaded or run."""
import os
import pickle
import platform
import random
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tinyq.kernels.jit import cache
from tinyq.kernels.jit.cache import SEAL, SealedFiles

CODE = """
import sys
import numpy as np
from tinyq import kernels
print(kernels.sum(kernels.exp(np.ones((3, 4), np.float32)), (0,)).tobytes().hex())
"""


def run(folder, umask=0o022, **environment):
    return subprocess.run([sys.executable, "-c", CODE], env={**os.environ, "TINYQ_CACHE": str(folder), **environment},
                          capture_output=True, text=True, umask=umask)


def files_of(folder, suffix=""):
    return sorted(path for path in Path(folder).rglob(f"*{suffix}") if path.is_file())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """(a folder with compiled kernels, what they compute)."""
    folder = tmp_path_factory.mktemp("cache")
    first = run(folder)
    assert first.returncode == 0 and "compiling kernels" in first.stderr
    return folder, first.stdout


@pytest.fixture
def copy(filled, tmp_path):
    folder = tmp_path / "cache"
    subprocess.run(["cp", "-a", filled[0], folder], check=True)
    return folder


class Runs:
    """What a pickle of it does when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_the_folder_is_the_users_alone_and_what_is_whole_is_loaded(filled):
    folder, shown = filled
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o700}
    assert len(files_of(folder, SEAL)) * 2 == len(files_of(folder)) > 10
    again = run(folder)
    assert (again.stdout, again.stderr) == (shown, "")


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o007, 0o077, 0o777], ids=oct)
def test_whatever_the_umask_a_kernel_is_compiled_once(tmp_path, umask):
    found, before = SealedFiles(str(tmp_path), "f", "stamp"), os.umask(umask)
    try:
        found.save("key", {"code": b"x" * 400})
    finally:
        os.umask(before)
    assert found.load("key") == {"code": b"x" * 400}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files_of(tmp_path)} == {0o600}


def test_a_process_that_shares_its_files_with_a_group_loads_what_another_compiled(filled, copy):
    for path in files_of(copy):
        path.unlink()
    assert "compiling kernels" in run(copy, 0o002).stderr
    again = run(copy, 0o002)
    assert (again.stdout, again.stderr) == (filled[1], "")


@pytest.mark.parametrize("damage", ["garbage", "foreign"])
def test_what_is_not_as_it_was_written_is_compiled_anew_and_never_run(filled, copy, tmp_path, damage):
    ran = tmp_path / "it ran"
    held = [path for path in files_of(copy) if path.suffix != SEAL]
    for path in held:
        path.write_bytes(os.urandom(path.stat().st_size) if damage == "garbage" else pickle.dumps(Runs(ran)))
    if damage == "foreign":
        pickle.loads(held[0].read_bytes())
        ran.rmdir()                                     # it does run when it is loaded
    process = run(copy)
    assert process.returncode == 0 and process.stdout == filled[1] and "compiling kernels" in process.stderr
    assert not ran.exists()
    assert run(copy).stderr == ""                       # and kept again


def test_a_folder_that_is_anothers_or_a_link_is_not_used(filled, copy, tmp_path):
    folder = next(copy.iterdir())
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    process = run(copy)
    assert process.returncode == 0 and process.stdout == filled[1]
    assert "kernels cannot be kept here (it is a link or another user's)" in process.stderr
    assert "set TINYQ_CACHE to a folder of your own" in process.stderr and "compiling kernels" in process.stderr


def test_a_folder_that_cannot_be_made_costs_time_alone(filled, tmp_path):
    (tmp_path / "file").touch()
    process = run(tmp_path / "file")
    assert process.returncode == 0 and process.stdout == filled[1]
    assert "cannot be kept here (Not a directory)" in process.stderr


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the other processor is an x86")
def test_another_processor_has_entries_of_its_own(filled, copy):
    plain = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2,+popcnt,+f16c"}
    process = run(copy, **plain)
    assert process.returncode == 0 and process.stdout == filled[1] and "compiling kernels" in process.stderr
    assert run(copy).stderr == "" == run(copy, **plain).stderr


@pytest.fixture
def files(tmp_path):
    found = SealedFiles(str(tmp_path), "f", "stamp")
    found.save("key", {"code": b"x" * 400})
    assert found.load("key") == {"code": b"x" * 400} and found.load("other") is None
    return found


def test_a_thousand_flipped_bits_are_a_thousand_files_compiled_anew(files, tmp_path):
    rng = random.Random(0)
    for path in files_of(tmp_path):
        whole = path.read_bytes()
        for _ in range(250):
            data = bytearray(whole)
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            assert files.load("key") is None
        path.write_bytes(whole)
    assert files.load("key") is not None


@pytest.mark.parametrize("damage", ["empty", "short", "longer", "exchanged", "without seals", "others' too", "a link"])
def test_a_file_that_is_not_as_it_was_left_is_as_good_as_missing(files, tmp_path, damage):
    index, code = tmp_path / "f.nbi", tmp_path / "f.1.nbc"
    for path, other in ((index, code.read_bytes()), (code, index.read_bytes())):
        data = path.read_bytes()
        if damage == "without seals":
            Path(f"{path}{SEAL}").unlink()
        elif damage == "others' too":
            path.chmod(0o666)
        elif damage == "a link":
            path.rename(tmp_path / "real")
            path.symlink_to(tmp_path / "real")
        else:
            path.write_bytes({"empty": b"", "short": data[:-1], "longer": data + b"x", "exchanged": other}[damage])
    if damage == "exchanged":
        for kind in (index, code):
            Path(f"{kind}{SEAL}").rename(tmp_path / kind.suffix)
        (tmp_path / index.suffix).rename(f"{code}{SEAL}")
        (tmp_path / code.suffix).rename(f"{index}{SEAL}")
    assert files.load("key") is None
    files.save("key", 2)
    assert files.load("key") == 2


def test_a_sealed_entry_that_cannot_be_used_is_compiled_anew(files, tmp_path):
    path = tmp_path / "f.1.nbc"
    path.write_bytes(b"no pickle")
    Path(f"{path}{SEAL}").write_bytes(cache._seal(str(path)))
    assert files.load("key") is None


def test_a_full_disk_keeps_no_kernel_and_stops_none(files, monkeypatch):
    def full(path):
        raise OSError("disk full")

    monkeypatch.setattr(cache, "_seal", full)
    files.save("another", 1)
    assert files.load("another") is None


def test_a_folder_open_to_others_is_closed(tmp_path):
    (tmp_path / "kernels").mkdir(mode=0o755)
    (tmp_path / "kernels").chmod(0o777)
    assert cache.usable_folder(tmp_path / "kernels") == tmp_path / "kernels"
    assert stat.S_IMODE((tmp_path / "kernels").stat().st_mode) == 0o700


def test_another_users_folder_is_not_used(tmp_path, monkeypatch, capsys):
    (tmp_path / "kernels").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    used = cache.usable_folder(tmp_path / "kernels")
    assert used != tmp_path / "kernels" and stat.S_IMODE(used.stat().st_mode) == 0o700
    assert "another user's" in capsys.readouterr().err
