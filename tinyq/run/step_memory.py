"""How much memory a training step takes at its peak, foretold from two smaller ones.

At every point of a step (behind each primitive, each vjp, and the update) memory is nearly a + b * samples. Steps of a
quarter and of half of the batch give a and b of every point; the peak is the largest of these lines at the whole batch.
"""
import gc
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyq import kernels
from tinyq.autodiff.tape import traced, traced_vjps
from tinyq.data import Batch

GAPS = 0.05                             # resident but unused parts of the heap: 1 to 10 % (bench/memory.py)
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Memory:
    """Bytes that are in use at the peak of a training step.

    program: interpreter, compiled kernels, data in memory. state: of the optimiser and the method. activations: what
    backward still needs, and gradients. workspace: what the one primitive at work allocates. waiting: batches prepared.
    """

    program: int
    parameters: int
    state: int
    activations: int
    workspace: int
    waiting: int

    @property
    def peak(self) -> int:
        """All of them, and what lies unused between the arrays."""
        return round(sum(vars(self).values()) * (1 + GAPS))

    def __str__(self):
        """One line, in MiB."""
        parts = {"parameters": self.parameters, "activations": self.activations, "optimiser and method": self.state,
                 "workspace": self.workspace, "batches ahead": self.waiting, "program and data": self.program,
                 "gaps": self.peak - sum(vars(self).values())}
        listed = ", ".join(f"{name} {_mib(size)}" for name, size in parts.items())
        return f"{_mib(self.peak)} MiB at the peak of a training step: {listed}"


def memory_of(job) -> Memory | None:
    """The memory of a step of the job's last phase; None for a method that follows no gradient.

    Takes four steps, so the job's weights are not what they were.
    """
    phase, config = job.phases[-1], job.config
    if not phase.method.uses_gradients:
        return None
    phase.method.begin(job.model, phase.optimizer, job.bundle.train, job.streams)
    job.model.train()
    job.model.key_step(job.streams, 0, 0)
    small = [max(1, config.batch_size // parts) for parts in (4, 2)]
    for samples in small:                                   # loads each size's kernels, makes the optimiser's state
        _trace(job, phase, samples)
    phase.optimizer.zero_grad()
    base = _resident()
    low, high = (_trace(job, phase, n) for n in small)
    activations, workspace = _extrapolated(low, high, *small, config.batch_size)
    parameters = sum(array.nbytes for array in job.model.state_dict().values())
    state = sum(np.asarray(a).nbytes for s in (phase.optimizer.state(), phase.method.state()) for a in s.values())
    batch = config.batch_size * int(np.prod(job.bundle.input_shape)) * np.dtype(np.float32).itemsize
    return Memory(base - parameters - state, parameters, state, activations, workspace, 2 * config.workers * batch)


def _trace(job, phase, samples):
    """(points, 2): bytes in use and, since the point before, the most in use, behind each point of a step."""
    points = []

    def note():
        points.append(tracemalloc.get_traced_memory())
        tracemalloc.reset_peak()

    tracemalloc.start()
    try:
        with traced(lambda *_: note()), traced_vjps(lambda *_: note()):
            phase.method.step([_batch(job, samples) for _ in range(job.config.accumulate)])
        note()
    finally:
        tracemalloc.stop()
    return np.array(points, np.float64)


def _batch(job, samples):
    """Noise in the form of the data: what a step allocates does not depend on what it sees."""
    x = job.streams.key("memory").normal((samples, *job.bundle.input_shape)).astype(np.float32)
    return Batch(x, np.zeros(samples, np.int64), np.arange(samples))


def _extrapolated(low, high, few, more, samples):
    """(in use, on top of it while a primitive works) at the point of a step of so many samples that needs most."""
    if more > few:
        high = high + (high - low) / (more - few) * (samples - more)
    used, most = high.T
    before = np.concatenate([[0.0], used[:-1]])             # what was in use when the work towards a point began
    k = most.argmax()
    return int(before[k]), int(most[k] - before[k])


def _resident():
    """Bytes of this process in memory, garbage and freed pages given back first."""
    gc.collect()
    kernels.return_freed_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def _mib(size):
    return f"{round(size / MEBIBYTE):,}"
