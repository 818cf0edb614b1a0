"""Count the cores that this process may use: its affinity, and the CPU quota of its container."""
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from tinyq.kernels.jit.variables import NUM_THREADS

_ours: str | None = None                # the value of NUMBA_NUM_THREADS that was set here


def usable_cores() -> int:
    """Return the number of cores that this process may use at a time, at least 1."""
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return seen if quota is None else max(1, min(seen, math.ceil(quota)))


def cpu_quota(root: str | Path = "/") -> float | None:
    """Return how many cores' time the control groups of this process allow, None for no limit.

    Every group above that of the process may limit it too. root: holds proc/ and sys/; for tests.
    """
    root = Path(root)
    try:
        quotas = [quota for folder in _groups(root) if (quota := _quota_of(folder)) is not None]
    except (OSError, ValueError, ZeroDivisionError):
        return None                     # not Linux, or a system that shows no groups
    return min(quotas, default=None)


def limit_threads() -> None:
    """Let numba start one thread per usable core, where a quota leaves fewer than it counts; call before its import."""
    global _ours
    if NUM_THREADS not in os.environ and "numba" not in sys.modules and cpu_quota() is not None:
        _ours = os.environ[NUM_THREADS] = str(usable_cores())


def allow_threads(count: int) -> None:
    """Let numba start this many threads, even more than there are cores, unless the user's variable says otherwise."""
    if count > usable_cores() and os.environ.get(NUM_THREADS) in (None, _ours):
        os.environ[NUM_THREADS] = str(count)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the process's groups that limit CPU time, and of all groups above them."""
    mounts = _mounts(root)
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        version = "cpu" if "cpu" in controllers.split(",") else "cgroup2" if not controllers else ""
        for top, mount in mounts.get(version, []):
            folder = mount / _below(path, top)
            yield from (group for group in (folder, *folder.parents) if group.is_relative_to(mount))


def _below(path: str, top: str) -> str:
    """Return a group's path below the group that is mounted; "" where it is not below, as a container may see it."""
    inside = path.removeprefix(top.rstrip("/"))
    return inside.strip("/") if path.startswith(top) and ".." not in path else ""


def _mounts(root: Path) -> dict[str, list[tuple[str, Path]]]:
    """Return {"cgroup2": ..., "cpu": of version 1}: the mounts of each, as (group at the top, folder)."""
    found: dict[str, list[tuple[str, Path]]] = {"cgroup2": [], "cpu": []}
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        top, folder = before.split()[3:5]
        kind, options = after.split()[0], after.split()[-1]
        version = "cpu" if kind == "cgroup" and "cpu" in options.split(",") else kind
        if version in found:
            found[version].append((top, root / folder.lstrip("/")))
    return found


def _quota_of(folder: Path) -> float | None:
    """Return the quota of one group in cores; None where it has none."""
    if (folder / "cpu.max").is_file():
        quota, period = (folder / "cpu.max").read_text().split()
    elif (folder / "cpu.cfs_quota_us").is_file():
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    else:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
