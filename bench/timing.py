"""Fair pairs of timings: both sides warmed up, run in turns in one process, reported as a ratio with its spread."""
import os
import platform
import statistics
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


def seconds(run, repeat):
    """Mean seconds of `repeat` runs in a row."""
    start = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - start) / repeat


def interleave(ours, peer, pairs=15, repeat=3, warm_up=3):
    """Time two callables in alternating turns: [(ours, peer)] seconds a run, after `warm_up` runs of each."""
    seconds(ours, warm_up)
    seconds(peer, warm_up)
    measured = []
    for i in range(pairs):
        if i % 2:
            b, a = seconds(peer, repeat), seconds(ours, repeat)
        else:
            a, b = seconds(ours, repeat), seconds(peer, repeat)
        measured.append((a, b))
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


def line(name, result):
    """One row of a report."""
    return (f"{name:32} tinyq {result['ours_ms']:8.2f} ms   PyTorch {result['peer_ms']:8.2f} ms   "
            f"ratio {result['ratio']:.2f} (quartiles {result['low']:.2f} to {result['high']:.2f}, "
            f"{result['pairs']} pairs)")
