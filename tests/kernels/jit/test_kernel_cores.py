"""The threads of the kernels: one per core that the process may use, where a container's quota leaves fewer."""
import os
import subprocess
import sys

import pytest

from tinyq.kernels.jit import cores
from tinyq.kernels.jit.cores import cpu_quota, usable_cores

V2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n"
HYBRID = ("31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n"
          "32 31 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
          "33 31 0:30 {} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n")
CPU, SEES_ALL = "/sys/fs/cgroup/cpu,cpuacct", "4:cpu,cpuacct:/docker/ab\n3:cpuset:/docker/ab\n0::/docker/ab\n"


def v1(folder, quota):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}


MACHINES = {
    "none in version 2": (V2, "0::/\n", {"/sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "version 2": (V2, "0::/\n", {"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "its own group": (V2, "0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "50000 100000\n"}, 0.5),
    "a group above": (V2, "0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
                                         "/sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2.0),
    "the least of several": (V2, "0::/a/b\n", {"/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
                                                "/sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3.0),
    "a group outside of what is mounted": (V2, "0::/../x\n", {"/sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1.0),
    "version 1": (HYBRID.format("/"), SEES_ALL, v1(f"{CPU}/docker/ab", 250000), 2.5),
    "version 1, its group mounted": (HYBRID.format("/docker/ab"), SEES_ALL, v1(CPU, 100000), 1),
    "version 1, mounted without saying so": (HYBRID.format("/"), SEES_ALL, v1(CPU, 70000), 0.7),
    "none in version 1": (HYBRID.format("/"), SEES_ALL, v1(f"{CPU}/docker/ab", -1), None),
    "nothing mounted": ("", "0::/\n", {}, None),
    "no number": (V2, "0::/\n", {"/sys/fs/cgroup/cpu.max": "x 0\n"}, None),
    "no period": (V2, "0::/\n", {"/sys/fs/cgroup/cpu.max": "1 0\n"}, None),
}


@pytest.mark.parametrize("name", MACHINES)
def test_the_quota_of_the_groups_is_read(name, tmp_path):
    mounts, groups, files, expected = MACHINES[name]
    for path, text in {"/proc/self/mountinfo": mounts, "/proc/self/cgroup": groups, **files}.items():
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert cpu_quota(tmp_path) == expected


def test_a_system_without_groups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize("quota, expected", [(0.2, 1), (1.0, 1), (1.5, 2), (2.0, 2), (99.0, 4), (None, 4)])
def test_a_part_of_a_core_counts_as_one(quota, expected, monkeypatch):
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)), raising=False)
    assert usable_cores() == expected
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)             # macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert usable_cores() == expected


@pytest.mark.parametrize("variables, threads, expected", [
    ({}, None, "1"), ({}, 3, "3"), ({"NUMBA_NUM_THREADS": "2"}, None, "2"), ({"NUMBA_NUM_THREADS": "4"}, 3, "3")])
def test_a_quota_sets_the_threads_unless_the_user_does(variables, threads, expected):
    code = ("import pathlib\nread = pathlib.Path.read_text\n"
            "files = {'/proc/self/cgroup': '0::/', '/sys/fs/cgroup/cpu.max': '50000 100000',\n"
            f"         '/proc/self/mountinfo': {V2!r}}}\n"
            "pathlib.Path.read_text = lambda path, *a, **k: files.get(str(path)) or read(path, *a, **k)\n"
            "is_file = pathlib.Path.is_file\n"
            "pathlib.Path.is_file = lambda path: str(path) in files or is_file(path)\n"
            f"from tinyq.run.build import use_threads\nuse_threads({threads})\n"
            "import numba\nprint(numba.get_num_threads())")
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], env={**kept, **variables}, capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
