"""Run the long fault campaigns, hostile files, and an endurance run that watches memory and open files.

python bench/soak/soak.py [NAME ...]    writes bench/soak/soak.json; continues an interrupted run
python bench/soak/soak.py endurance --minutes 60 -- TRAINING FLAGS    writes bench/soak/endurance.json

Each campaign runs in chunks with their own seeds; a chunk's findings are written before the next begins. A small
version of each campaign is in tests/faults.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tinyq.files.atomic import write_text

HERE = Path(__file__).resolve().parent
FAULTS, RESULTS = HERE.parents[1] / "tests" / "faults", HERE / "soak.json"
METHODS = ("backprop", "cbp", "rpr", "conntra")
ALL = 1_000_000                         # more than there are kill points
SECONDS_PER_SAMPLE = 5                    # between samples of memory and open files

# name: (script, its arguments before the number of cases, cases altogether, cases a chunk)
TASKS = {
    **{f"kill_points {m}": ("campaigns.py", ["kill_points", m], ALL, ALL) for m in METHODS},
    **{f"kill_times {m}": ("campaigns.py", ["kill_times", m], 200, 50) for m in METHODS},
    **{f"stop_signals {m}": ("campaigns.py", ["stop_signals", m], 50, 25) for m in METHODS},
    **{f"power_loss {m}": ("campaigns.py", ["power_loss", m], 1250, 250) for m in METHODS},
    **{f"failing_operations {m}": ("campaigns.py", ["failing_operations", m], ALL, ALL) for m in METHODS},
    "full_disk cbp": ("campaigns.py", ["full_disk", "cbp"], 40, 20),
    **{f"mutants {kind}": ("hostile.py", [kind], 20_000, 4_000) for kind in ("hdf5", "pth", "safetensors", "packed")},
    "mutants images": ("hostile.py", ["images"], 10_000, 2_000),
}


def soak(names, results):
    """Complete each task; return whether nothing failed."""
    found = json.loads(results.read_text()) if results.exists() else {}
    for name in names:
        script, arguments, cases, chunk = TASKS[name]
        chunks = found.setdefault(name, [])
        while sum(c["asked"] for c in chunks) < cases:
            began, seed = time.monotonic(), len(chunks) + 1
            process = subprocess.run([sys.executable, FAULTS / script, *arguments, str(chunk), str(seed)],
                                     capture_output=True, text=True)
            last = process.stdout.splitlines()[-1:] if process.returncode == 0 else []
            said = json.loads(last[0]) if last else {"cases": 0, "failures": [f"exit {process.returncode}: "
                                                                              f"{process.stderr[-500:]}"]}
            chunks.append({"asked": chunk, "seed": seed, "minutes": round((time.monotonic() - began) / 60, 1),
                           "machine": platform.processor() or platform.machine(), "python": platform.python_version(),
                           **said})
            write_text(results, json.dumps(found, indent=1) + "\n")
            print(f"{name}: {said['cases']} cases, {len(said['failures'])} failures", flush=True)
    for name in names:
        print(summary(name, found[name]))
    return not any(chunk["failures"] for name in names for chunk in found[name])


def summary(name, chunks):
    """Summarise a task in one line: sums, and the maximum of times and memory."""
    totals = {"cases": 0, "failures": 0}
    for chunk in chunks:
        for key, value in chunk.items():
            if key in ("asked", "seed", "minutes", "machine", "python", "campaign", "kind"):
                continue
            value = len(value) if isinstance(value, list) else value
            largest = key in ("seconds", "growth MiB", "MiB at most", "most steps after the signal")
            totals[key] = max(totals.get(key, 0), value) if largest else totals.get(key, 0) + value
    return f"{name:<28} " + ", ".join(f"{key} {value}" for key, value in totals.items())


def endurance(minutes, flags, results):
    """Train for the given minutes; compare memory and open files of the second tenth of the time with the last.

    Returns whether they stayed the same and the run stopped when asked to. What the run says on stderr is shown.
    """
    run = subprocess.Popen([sys.executable, "-m", "tinyq.train", *flags], stdout=subprocess.DEVNULL)
    samples, until = [], time.monotonic() + 60 * minutes
    try:
        while run.poll() is None and time.monotonic() < until:
            samples.append((_resident(run.pid), len(os.listdir(f"/proc/{run.pid}/fd"))))
            with suppress(subprocess.TimeoutExpired):
                run.wait(SECONDS_PER_SAMPLE)
        early = run.poll() is not None
    finally:
        run.terminate()
        code = run.wait()
    if early or len(samples) < 20:
        print(f"soak.py: the training ended with exit code {code} after {len(samples)} samples of memory, before the "
              f"{minutes:g} minutes were over; " + ("give it more --epochs" if code == 0 else "its message is above"),
              file=sys.stderr)
        return False
    found = _drift(samples) | {"exit": code, "command": " ".join(Path(f).name if "/" in f else f for f in flags)}
    write_text(results.with_name("endurance.json"), json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))
    return code == 143 and abs(found["drift %"]) < 2 and len(set(found["open files"][1:])) == 1


def _drift(samples):
    """Summarise samples of (resident MiB, open files) as medians of each tenth of the time."""
    tenth = len(samples) // 10
    tenths = [samples[i * tenth:(i + 1) * tenth] for i in range(10)]
    resident, files = ([round(statistics.median(s[i] for s in part), 1) for part in tenths] for i in (0, 1))
    return {"minutes": round(len(samples) * SECONDS_PER_SAMPLE / 60, 1), "machine": platform.machine(),
            "python": platform.python_version(), "resident MiB": resident, "open files": files,
            "drift %": round(100 * (resident[-1] / resident[1] - 1), 2)}


def _resident(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"endurance, or a prefix of: {', '.join(TASKS)}")
    parser.add_argument("--minutes", type=float, default=60, help="minutes of the endurance run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[:own.index("--")], own[own.index("--") + 1:]
    arguments = parser.parse_args(own)
    if arguments.names == ["endurance"]:
        return not endurance(arguments.minutes, flags, arguments.results)
    return not soak([t for t in TASKS if not arguments.names or t.startswith(tuple(arguments.names))],
                    arguments.results)


if __name__ == "__main__":
    sys.exit(main())
