"""Fair pairs of timings: both sides warmed up, taking turns, reported as a ratio with its spread."""
import os
import platform
import statistics
import subprocess
import sys
import time


def machine():
    """One line: processor, cores in use, Python."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def serve(step, warm_up=0.0):
    """Be one side: for every number n on stdin run the step n times, and print the mean seconds.

    Before that it runs for `warm_up` seconds: a turn that is short would begin with threads asleep, caches that hold
    another side's weights, and that side's threads still spinning.
    """
    for line in sys.stdin:
        repeat, ready = int(line), time.perf_counter() + warm_up
        while time.perf_counter() < ready:
            step()
        start = time.perf_counter()
        for _ in range(repeat):
            step()
        print((time.perf_counter() - start) / repeat, flush=True)


def serve_numbered(measure):
    """Be one side: for every number n on stdin print measure(n), in seconds."""
    for line in sys.stdin:
        print(measure(int(line)), flush=True)


class Side:
    """A process that serves a step. Each side has its own, as users run it: allocator and threads are not shared."""

    def __init__(self, *command, environment=None):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True, env=environment)

    def seconds(self, number):
        """What the process answers to a number: by `serve`, the mean seconds of so many steps in a row."""
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def interleave(ours, peer, pairs=15, repeat=3, warm_up=3):
    """Seconds a step of two sides in alternating turns, [(ours, peer)], after `warm_up` steps of each."""
    return interleave_all([ours, peer], pairs, repeat, warm_up)


def interleave_all(sides, rounds, repeat=1, warm_up=3):
    """[seconds a step of each side] of every round: each takes a turn, the order reversed every other round."""
    for side in sides:
        side.seconds(warm_up)
    measured = []
    for i in range(rounds):
        times = {side: side.seconds(repeat) for side in (sides if i % 2 else sides[::-1])}
        measured.append([times[side] for side in sides])
    return measured


def summary(measured):
    """Medians in ms, and the median and quartiles of the paired ratios ours / peer."""
    ratios = sorted(a / b for a, b in measured)
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "ours_ms": 1e3 * statistics.median(a for a, _ in measured),
        "peer_ms": 1e3 * statistics.median(b for _, b in measured),
        "ratio": statistics.median(ratios), "low": low, "high": high, "pairs": len(measured),
    }


def ratios_line(peer, measured):
    """Part of a report: a peer's median, and the ratio of times with its quartiles."""
    result = summary(measured)
    return (f"{peer:22} {result['peer_ms']:8.1f} ms   ratio {result['ratio']:.2f} "
            f"(quartiles {result['low']:.2f} to {result['high']:.2f}, {result['pairs']} rounds)")


def peak_memory(pid):
    """The most memory a process has had resident so far, in MiB."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(text.split()[1]) for text in lines if text.startswith("VmHWM")) / 1024


def line(name, result):
    """One row of a report."""
    return (f"{name:32} tinyq {result['ours_ms']:8.2f} ms   PyTorch {result['peer_ms']:8.2f} ms   "
            f"ratio {result['ratio']:.2f} (quartiles {result['low']:.2f} to {result['high']:.2f}, "
            f"{result['pairs']} pairs)")
