"""Time contenders fairly: warmed up, alternating, reported as a ratio with its spread."""
import os
import platform
import statistics
import subprocess
import sys
import time


def machine():
    """Describe the machine in one line: processor, cores in use, Python."""
    model = platform.processor()
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def serve(step, warm_up=0.0):
    """Run as one contender: for each number n on stdin run the step n times and print the mean seconds.

    Each turn first runs for `warm_up` seconds: a short turn would begin with sleeping threads, with another
    contender's weights in the caches, and with its threads still spinning.
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
    """Run as one contender: for each number n on stdin print measure(n), in seconds."""
    for line in sys.stdin:
        print(measure(int(line)), flush=True)


class Contender:
    """A process that serves a step. Contenders share no process, as for users: allocator and threads are separate."""

    def __init__(self, *command, environment=None):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True, env=environment)

    def seconds(self, number):
        """Send a number; return the answer: from `serve`, the mean seconds of this number of steps."""
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


def interleave(ours, baseline, pairs=15, repeat=3, warm_up=3):
    """Seconds per step of two contenders in alternating turns, [(tinyq, baseline)], after `warm_up` steps each."""
    return interleave_all([ours, baseline], pairs, repeat, warm_up)


def interleave_all(contenders, rounds, repeat=1, warm_up=3):
    """Seconds per step of each contender in each round; the order is reversed every other round."""
    for contender in contenders:
        contender.seconds(warm_up)
    measured = []
    for i in range(rounds):
        times = {contender: contender.seconds(repeat) for contender in (contenders if i % 2 else contenders[::-1])}
        measured.append([times[contender] for contender in contenders])
    return measured


def summary(measured):
    """Medians in ms; median and quartiles of the paired ratios tinyq / baseline."""
    ratios = sorted(a / b for a, b in measured)
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "ours_ms": 1e3 * statistics.median(a for a, _ in measured),
        "baseline_ms": 1e3 * statistics.median(b for _, b in measured),
        "ratio": statistics.median(ratios), "low": low, "high": high, "pairs": len(measured),
    }


def ratios_line(baseline, measured):
    """Format a baseline's median and the ratio of times with its quartiles."""
    result = summary(measured)
    return (f"{baseline:22} {result['baseline_ms']:8.1f} ms   ratio {result['ratio']:.2f} "
            f"(quartiles {result['low']:.2f} to {result['high']:.2f}, {result['pairs']} rounds)")


def peak_memory(pid):
    """Peak resident memory of a process so far, in MiB."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(text.split()[1]) for text in lines if text.startswith("VmHWM")) / 1024


def line(name, result):
    """Format one row of a report."""
    return (f"{name:32} tinyq {result['ours_ms']:8.2f} ms   PyTorch {result['baseline_ms']:8.2f} ms   "
            f"ratio {result['ratio']:.2f} (quartiles {result['low']:.2f} to {result['high']:.2f}, "
            f"{result['pairs']} pairs)")
