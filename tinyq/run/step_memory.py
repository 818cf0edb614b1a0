"""Estimate the peak memory of a training step from two smaller steps.

At each point of a step (after each primitive, each vjp, and the update) memory is nearly a + b * samples. Steps of a
quarter and of half of the batch give a and b of each point; the peak is the maximum of these lines at the whole batch.
"""
import gc
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq import kernels
from tinyq.autodiff.tape import traced, traced_vjps
from tinyq.data import Batch
from tinyq.run.build import Job
from tinyq.run.phases import Phase

GAPS = 0.05                             # resident but unused parts of the heap: 1 to 10 % (bench/memory.py)
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes in use at the peak of a training step.

    program: interpreter, compiled kernels, data in memory. state: of the optimiser and the method. activations: arrays
    that backward still needs, and gradients. workspace: of the primitive at work. waiting: batches prepared ahead.
    """

    program: int
    parameters: int
    state: int
    activations: int
    workspace: int
    waiting: int

    @property
    def peak(self) -> int:
        """The sum, and the gaps between the arrays."""
        return round(sum(vars(self).values()) * (1 + GAPS))

    def __str__(self) -> str:
        """Describe the parts in one line, in MiB."""
        parts = {"parameters": self.parameters, "activations": self.activations, "optimiser and method": self.state,
                 "workspace": self.workspace, "batches ahead": self.waiting, "program and data": self.program,
                 "gaps": self.peak - sum(vars(self).values())}
        listed = ", ".join(f"{name} {_mib(size)}" for name, size in parts.items())
        return f"{_mib(self.peak)} MiB at the peak of a training step: {listed}"


def memory_of(job: Job) -> Memory | None:
    """Estimate the memory of a step of the job's last phase; None for a method without gradients.

    Takes four steps, so the job's weights change.
    """
    phase, config = job.phases[-1], job.config
    if not phase.method.uses_gradients:
        return None
    phase.method.begin(job.model, phase.optimizer, job.training_data, job.streams)
    job.model.train()
    job.model.key_step(job.streams, 0, 0)
    size = job.largest_batch
    small = [max(2, size // 4), max(3, size // 2)]          # batch norm cannot train on one sample
    for samples in small:                                   # loads the kernels, makes the optimiser's state
        _trace(job, phase, samples)
    phase.optimizer.zero_grad()
    base = _resident()
    low, high = (_trace(job, phase, n) for n in small)
    activations, workspace = _extrapolated(low, high, small[0], small[1], size)
    parameters = sum(array.nbytes for array in job.model.state_dict().values())
    state = sum(np.asarray(a).nbytes for s in (phase.optimizer.state(), phase.method.state()) for a in s.values())
    batch = size * int(np.prod(job.bundle.input_shape)) * np.dtype(np.float32).itemsize
    return Memory(base - parameters - state, parameters, state, activations, workspace, 2 * config.workers * batch)


def _trace(job: Job, phase: Phase, samples: int) -> np.ndarray:
    """Return (points, 2): bytes in use after each point of a step, and their maximum since the point before."""
    points = []

    def note() -> None:
        points.append(tracemalloc.get_traced_memory())
        tracemalloc.reset_peak()

    tracemalloc.start()
    try:
        with traced(lambda *_: note()), traced_vjps(lambda *_: note()):
            phase.method.step([_batch(job, samples) for _ in range(job.batches_per_step)])
        note()
    finally:
        tracemalloc.stop()
    return np.array(points, np.float64)


def _batch(job: Job, samples: int) -> Batch:
    """Make noise of the data's shape: what a step allocates does not depend on values."""
    x = job.streams.key("memory").normal((samples, *job.bundle.input_shape)).astype(np.float32)
    return Batch(x, np.zeros(samples, np.int64), np.arange(samples))


def _extrapolated(low: np.ndarray, high: np.ndarray, few: int, more: int, samples: int) -> tuple[int, int]:
    """Return (bytes in use, workspace) at the point of a step on `samples` samples that needs the most memory."""
    high = high + (high - low) / (more - few) * (samples - more)
    used, most = high.T
    before = np.concatenate([[0.0], used[:-1]])             # in use when the work towards a point began
    k = most.argmax()
    return int(before[k]), int(most[k] - before[k])


def _resident() -> int:
    """Bytes of this process in memory, after garbage and freed pages are returned."""
    gc.collect()
    kernels.return_freed_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _mib(size: int) -> str:
    return f"{round(size / MEBIBYTE):,}"
