"""Measure latency and memory of a packed network and of its float network, for `python -m tinyq.infer --bench`.

Each network runs in a process of its own, so that its memory is its own, one after the other.
"""
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyq.errors import BadInput, InputOutputError, UsageError, exit_code_of
from tinyq.kernels.jit.availability import numba_is_there
from tinyq.kernels.jit.cores import usable_cores
from tinyq.output.terminal import say_json
from tinyq.output.text_table import table
from tinyq.packed.file import format
from tinyq.packed.file.format import Packed
from tinyq.packed.file.tensor import FLOAT
from tinyq.packed.network import PackedNetwork
from tinyq.streams import Streams

UNPACKED = "float"                                      # the network with its weights as float32, on the same kernels
WARM_UP_SECONDS, WARM_UP_RUNS = 0.3, 3
SECONDS, LEAST_RUNS, MOST_RUNS = 2.0, 20, 2000          # of each network, where the number of runs is not given
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def compare(path: str, kinds: Sequence[str], batch: int, runs: int | None, threads: int | None) -> dict:
    """Measure the float network and the packed one with these activations; return the report.

    InputOutputError where the process of one of them ends early.
    """
    packed = format.read(path)
    usable = [kind for kind in kinds if kind == "float32" or packed.ranges is not None]
    networks = [_in_a_process(path, name, batch, runs, threads) for name in (UNPACKED, *usable)]
    return {"network": path, "machine": _machine(), "numba": numba_is_there(), "batch": batch,
            "warm_up": f"{WARM_UP_RUNS} runs and {WARM_UP_SECONDS} s", "networks": networks}


def as_lines(report: dict) -> list[str]:
    """Return a report as a table."""
    names = {"float": "float network", **{kind: f"packed, {kind}" for kind in ("float32", "int16", "int8")}}
    rows = [[names[n["name"]], n["kernels"], n["threads"], f"{n['p50_ms']:.3f}", f"{n['p95_ms']:.3f}",
             f"{n['least_ms']:.3f} to {n['most_ms']:.3f}", n["runs"], n["weight_bytes"],
             "-" if n["process_bytes"] is None else n["process_bytes"]] for n in report["networks"]]
    return [f"{report['network']}, batch {report['batch']}, {report['machine']}",
            *table(["network", "kernels", "threads", "p50 ms", "p95 ms", "range ms", "runs", "weight bytes",
                    "process bytes"], rows),
            f"each in a process of its own, after a warm-up of {report['warm_up']}; one run is one batch"]


def _in_a_process(path, name, batch, runs, threads):
    """Run this module; NumPy's threads are chosen by the environment, before it is loaded."""
    chosen = {} if threads is None or numba_is_there() else dict.fromkeys(_BLAS_THREADS, str(threads))
    done = subprocess.run([sys.executable, *_flags(), "-m", "tinyq.packed.latency", path, name, str(batch),
                           str(runs or 0), str(threads or 0)],
                          capture_output=True, text=True, env={**os.environ, **chosen})
    if done.returncode:
        said = done.stderr.strip().splitlines()
        kind = {2: UsageError, 65: BadInput}.get(done.returncode)
        if kind and said:
            raise kind(said[-1].removeprefix("tinyq: "))
        raise InputOutputError(f"{path}: the process that measures {name} ended with code {done.returncode}; "
                               + (said[-1].removeprefix("tinyq: ") if said else "is there enough memory?"))
    return json.loads(done.stdout)


def _flags():
    return ["-P"] if sys.flags.safe_path else []


def measure(path: str, name: str, batch: int, runs: int | None, threads: int | None) -> dict:
    """Measure one network in this process: milliseconds of single calls, and bytes."""
    if threads and numba_is_there():
        _use_threads(threads)
    packed = format.read(path)
    network = PackedNetwork(_unpacked(packed), "float32") if name == UNPACKED else PackedNetwork(packed, name)
    x = Streams(0).key("latency").first_uniform((batch, *packed.graph.input_shape), -1.0, 1.0).astype(np.float32)
    del packed
    times = _times(lambda: network(x), runs)
    p50, p95 = np.percentile(times, (50, 95))
    resident, most = _process_bytes()
    return {"name": name, "kernels": _kernels(network), "threads": _threads(threads), "runs": len(times),
            "p50_ms": float(p50), "p95_ms": float(p95), "least_ms": float(times.min()), "most_ms": float(times.max()),
            "weight_bytes": network.resident_bytes, "process_bytes": resident, "process_bytes_most": most}


def _use_threads(threads):
    from tinyq.kernels import set_threads
    from tinyq.kernels.jit.cores import allow_threads

    allow_threads(threads)
    try:
        set_threads(threads)
    except ValueError as error:
        raise UsageError(f"threads {threads}: {error}; set NUMBA_NUM_THREADS in the environment") from None


def _unpacked(packed: Packed) -> Packed:
    """Return the network with its weights as float32 numbers; its outputs have the same bits."""
    tensors = {name: dataclasses.replace(t, scheme=FLOAT, data=t.unscaled().reshape(t.rows, t.k), levels=None)
               for name, t in packed.tensors.items()}
    return dataclasses.replace(packed, tensors=tensors)


def _times(call, runs):
    """Return the milliseconds of each of the runs, after the warm-up."""
    began, warm = time.perf_counter(), 0
    while warm < WARM_UP_RUNS or time.perf_counter() - began < WARM_UP_SECONDS:
        call()
        warm += 1
    took = (time.perf_counter() - began) / warm
    count = runs or int(min(max(SECONDS / took, LEAST_RUNS), MOST_RUNS))
    ends = [time.perf_counter_ns()]
    for _ in range(count):
        call()
        ends.append(time.perf_counter_ns())
    return np.diff(ends) / 1e6


def _kernels(network):
    if not numba_is_there():
        return "numpy"
    if network.executor != "float32":
        return network.executor
    from tinyq.kernels.capability import instruction_set

    return instruction_set()


def _threads(given):
    if not numba_is_there():
        return given or usable_cores()
    from tinyq.kernels.integer.code_ops import threads

    return threads()


def _process_bytes():
    """Return the resident bytes of this process, now and at most; (None, None) where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return tuple(int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
    except (OSError, KeyError, ValueError):
        return None, None


def _machine():
    """Name the processor, its cores that this process may use, and the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    cores = usable_cores()
    return f"{next(named, platform.machine())}, {cores} core{'s' * (cores > 1)}, Python {platform.python_version()}"


def _command(argv: list[str]) -> None:
    path, name, *numbers = argv
    batch, runs, threads = map(int, numbers)
    say_json(measure(path, name, batch, runs or None, threads or None))


if __name__ == "__main__":
    sys.exit(exit_code_of(_command, sys.argv[1:]))
