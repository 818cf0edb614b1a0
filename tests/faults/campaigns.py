"""Campaigns of faults against training runs: python campaigns.py NAME METHOD CASES SEED [NAME METHOD CASES SEED ...].

For each it prints a line of JSON: {"campaign": NAME, "cases": how many were tried, "failures": [what went wrong], ...}.
tests/faults/test_faults.py runs small ones, bench/soak/soak.py those that take hours.
"""
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import nullcontext, redirect_stdout, suppress
from pathlib import Path

import jobs  # first: it chooses numba's threads
from operations import Failing, Killing, Recording, watched
from power import Disk

from tinyq.audit import observers_for
from tinyq.audit.ledger.hash_chain import chain
from tinyq.audit.verification.verify import verify
from tinyq.errors import AuditMismatch, TinyqError, exit_code_of
from tinyq.files.journal import LEDGER_FILE, Journal
from tinyq.files.weights import weights_sha256
from tinyq.run import checkpoint, loop, session
from tinyq.run.observers import signals
from tinyq.run.settings.resolve import resolve

EVERY_STEP = "1e-9"                     # checkpoint_minutes
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "short")


class Campaign:
    """A folder for the runs, the weights they must end with, and what has gone wrong so far."""

    def __init__(self, method, seed, **changes):
        self.random = random.Random(f"{method} {seed}")
        self.root = Path(tempfile.mkdtemp(prefix="tinyq-faults-"))
        self.flags = jobs.settings(method, **changes)
        self.cases, self.failures, self.counts = 0, [], {}
        with redirect_stdout(open(os.devnull, "w")):
            started = time.monotonic()
            self.whole = jobs.go_on(self.root / "loads the kernels", self.flags)
            started, self.calls = time.monotonic(), 0
            with watched(self.root, lambda number, name, path, arguments, call: call()) as watch:
                assert jobs.go_on(self.root / "whole", self.flags) == self.whole
            self.calls, self.seconds = watch.count, time.monotonic() - started

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def folder(self):
        self.cases += 1
        return self.root / str(self.cases)

    def child(self, folder, work, around=None):
        """A child in which work() runs, every file operation below its folder passing through `around`."""
        def watched_work():
            with watched(folder.parent, around) if around else nullcontext():
                (folder.with_suffix(".sha")).write_text(str(work()))
        return jobs.begin(watched_work, folder.with_suffix(".err"))

    def must_end_whole(self, folder, case):
        """Go on with a run in a new process; it must end with the weights of the run that nothing happened to.

        And with a ledger that proves it.
        """
        code = jobs.ended(self.child(folder, lambda: _verified(folder, self.flags)))
        sha = folder.with_suffix(".sha").read_text() if code == 0 else None
        if sha != self.whole:
            self.failures.append(f"{case}: exit {code}, {sha or self.errors(folder)}")
        else:
            self.forget(folder)

    def errors(self, folder):
        return folder.with_suffix(".err").read_text()[-300:]

    def forget(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        for suffix in (".err", ".sha"):
            folder.with_suffix(suffix).unlink(missing_ok=True)

    def report(self, name):
        if not self.failures:
            shutil.rmtree(self.root)
        print(json.dumps({"campaign": name, "cases": self.cases, "failures": self.failures[:20], **self.counts}),
              flush=True)


def kill_points(method, cases, seed):
    """SIGKILL before and after every file operation of a run, or of so many drawn."""
    c = Campaign(method, seed)
    points = [(at, after) for at in range(1, c.calls + 1) for after in (False, True)]
    for at, after in points if cases >= len(points) else c.random.sample(points, cases):
        folder = c.folder()
        code = jobs.ended(c.child(folder, lambda f=folder: jobs.go_on(f, c.flags), Killing(at, after)))
        case = f"killed {'after' if after else 'before'} operation {at}"
        if code != 137:
            c.failures.append(f"{case}: exit {code}, {c.errors(folder)}")
        c.must_end_whole(folder, case)
    return c


def kill_times(method, cases, seed):
    """SIGKILL at random times, again and again until the run gets through between two of them."""
    c = Campaign(method, seed, checkpoint_minutes=EVERY_STEP)
    for _ in range(cases):
        folder, kills = c.folder(), 0
        while True:
            pid = c.child(folder, lambda f=folder: jobs.go_on(f, c.flags))
            time.sleep(c.random.uniform(0, 1.2 * c.seconds))
            os.kill(pid, signal.SIGKILL)
            if (code := jobs.ended(pid)) != 137 or kills == 3:
                break
            kills += 1
        if code not in (0, 137):
            c.failures.append(f"case {c.cases}: exit {code}, {c.errors(folder)}")
        c.counts["kills"] = c.counts.get("kills", 0) + kills + (code == 137)
        c.must_end_whole(folder, f"case {c.cases}, {kills + 1} kills")
    return c


def failing_operations(method, cases, seed):
    """Each file operation of a run, or so many drawn, fails once or for ever.

    The run goes on to the same weights, or ends with its exit code and one line; nothing that was whole is lost.
    """
    c = Campaign(method, seed)
    points = [(at, kind, ever) for at in range(1, c.calls + 1) for kind in ERRORS for ever in (False, True)]
    for at, kind, ever in points if cases >= len(points) else c.random.sample(points, cases):
        folder = c.folder()
        code = jobs.ended(c.child(folder, lambda f=folder: jobs.go_on(f, c.flags), Failing(at, kind, ever)))
        case = f"{kind} {'from' if ever else 'at'} operation {at} {'on' if ever else ''}"
        lines = [line for line in c.errors(folder).splitlines() if line.startswith("tinyq:")]
        if code not in (0, 73, 74) or "Traceback" in c.errors(folder) or code and not lines:
            c.failures.append(f"{case}: exit {code}, {c.errors(folder)}")
        c.count(f"exit {code}")
        said_so = any("training continues" in line for line in lines)
        c.counts["went on and said so"] = c.counts.get("went on and said so", 0) + said_so
        c.must_end_whole(folder, case)
    return c


def stop_signals(method, cases, seed):
    """SIGTERM or SIGINT at a random time: exit 143 or 130 within two steps, and the run goes on bit for bit.

    Every fourth comes twice, and the second ends the run at once, wherever it is, with the same code.
    """
    c = Campaign(method, seed, epochs="12", checkpoint_minutes="0")
    latest = 0
    while c.counts.get("stopped while training", 0) < cases and c.cases < 5 * cases:
        folder, number = c.folder(), c.random.choice((signal.SIGTERM, signal.SIGINT))
        pid = c.child(folder, lambda f=folder: _counting_steps(f, c.flags))
        time.sleep(c.random.uniform(0.05, 1.0) * c.seconds)
        os.kill(pid, number)
        if c.cases % 4 == 0:
            time.sleep(c.random.uniform(0, 0.003))
            os.kill(pid, number)
        code, case = jobs.ended(pid), f"case {c.cases}, signal {number}"
        if code == 0:
            c.count("was done already")
        elif code != 128 + number:
            c.failures.append(f"{case}: exit {code}, {c.errors(folder)}")
        elif c.cases % 4 == 0:
            c.count("stopped by a second signal" if "go on with" not in c.errors(folder) else "stopped in time")
        elif (steps := folder.with_suffix(".steps")).exists():
            more = int(steps.read_text())
            latest = max(latest, more)
            c.count("stopped while training")
            if more > 2 or "go on with" not in c.errors(folder):
                c.failures.append(f"{case}: {more} steps later; {c.errors(folder)}")
        c.must_end_whole(folder, case)
    c.counts["most steps after the signal"] = latest
    return c


def _counting_steps(folder, flags):
    """Train; where a signal comes, write down how many steps were begun after it."""
    begun, at = [0], []
    step, receive = loop.Loop._step, signals.StopRequest.__setattr__

    def count(self, *arguments):
        begun[0] += 1
        return step(self, *arguments)

    def note(self, name, value):
        receive(self, name, value)
        at.append(begun[0])

    loop.Loop._step, signals.StopRequest.__setattr__ = count, note
    try:
        return jobs.go_on(folder, flags)
    finally:
        if at:
            folder.with_suffix(".steps").write_text(str(begun[0] - at[0]))


def power_loss(method, cases, seed):
    """States that the disk may be in after a power cut at any operation: the newest checkpoint is the old or the new.

    What is found must be a checkpoint that was saved, no older than the last whose saving had returned, with all the
    records it counts; one state in fifty is trained on to its end.
    """
    c = Campaign(method, seed, checkpoint_minutes="0")
    recording, known = _recorded(c)
    for k in range(cases):
        crash = c.random.randrange(1, len(recording.calls) + 1)
        disk, saved, begun = Disk(c.root), None, None
        for call in recording.calls[:crash]:
            disk.follow(call)
            saved, begun = (call[1] if call[0] == "saved" else saved), (call[1] if call[0] == "saving" else begun)
        place = c.folder()
        disk.state(c.random, place)
        _judge(c, place / "recorded", f"power cut after operation {crash}, state {k}", known, saved, begun)
        if k % 50 == 0 or c.failures:
            c.must_end_whole(place / "recorded", f"power cut after operation {crash}, state {k}")
        shutil.rmtree(place, ignore_errors=True)
        if len(c.failures) > 5:
            break
    return c


def _recorded(c):
    """A run's operations with marks where a checkpoint's saving begins and has returned, and {steps: its weights}."""
    recording, known, save = Recording(), {}, checkpoint.save

    def marked(folder, position, states):
        recording.mark("saving", position.steps)
        known.setdefault(position.steps, set()).add(weights_sha256(states["model"]))
        path = save(folder, position, states)
        recording.mark("saved", position.steps)
        return path

    checkpoint.save = marked
    try:
        with watched(c.root, recording), redirect_stdout(open(os.devnull, "w")):
            resolved = resolve({**c.flags, "output": str(c.root / "recorded")})
            session.start(resolved, observers_for)
    finally:
        checkpoint.save = save
    return recording, known


def _judge(c, folder, case, known, saved, begun):
    try:
        position, states, _ = checkpoint.load_newest(folder / "checkpoints")
    except TinyqError as error:
        if saved is not None:
            c.failures.append(f"{case}: {saved} steps were saved, and now {error}")
        c.count("nothing saved yet")
        return
    c.count("new" if begun != saved and position.steps == begun else "old")
    if position.steps not in (saved, begun) or weights_sha256(states["model"]) not in known[position.steps]:
        c.failures.append(f"{case}: {saved} steps were saved, {begun} begun, found {position.steps}")
    try:
        Journal(folder / "metrics.jsonl", keep=position.records).close()
        if position.ledger_head not in intact_heads(folder / LEDGER_FILE):
            c.failures.append(f"{case}: the ledger does not reach the checkpoint of step {position.steps}")
    except TinyqError as error:
        c.failures.append(f"{case}: {error}")


def intact_heads(path):
    """The heads of the lines before the first that a power cut tore."""
    heads = set()
    with suppress(AuditMismatch):
        heads.update(line.head for line in chain(path))         # update takes each line as it comes
    return heads


def full_disk(method, cases, seed):
    """A file system of 200 kB, filled by the run itself: it ends with 73 or 74, never worse, and goes on with room.

    Needs the right to mount; without it no case is tried.
    """
    c = Campaign(method, seed)
    for k in range(cases):
        folder, size = c.folder(), 60 + 220 * k // max(cases, 1)
        folder.mkdir()
        if os.system(f"mount -t tmpfs -o size={size}k none '{folder}' 2>/dev/null"):
            return c
        try:
            run = folder / "run"
            code = jobs.ended(jobs.begin(lambda r=run: jobs.go_on(r, c.flags), c.root / "full.err"))
            said = (c.root / "full.err").read_text()
            c.count(f"exit {code}")
            c.counts["went on and said so"] = c.counts.get("went on and said so", 0) + ("training continues" in said)
            if code not in (0, 73, 74) or "Traceback" in said:
                c.failures.append(f"{size} kB: exit {code}, {said[-300:]}")
            os.system(f"mount -o remount,size=10m '{folder}'")
            code = jobs.ended(jobs.begin(lambda r=run: _must(_verified(r, c.flags) == c.whole), c.root / "full.err"))
            if code:
                c.failures.append(f"{size} kB, room again: exit {code}, {(c.root / 'full.err').read_text()[-300:]}")
        finally:
            os.system(f"umount '{folder}'")
    return c


def _verified(folder, flags):
    """Go on with a run; its weights_sha256 once its ledger is verified."""
    sha256 = jobs.go_on(folder, flags)
    verify(folder)
    return sha256


def _must(holds):
    if not holds:
        raise AssertionError("the weights differ")


CAMPAIGNS = {f.__name__: f for f in (kill_points, kill_times, failing_operations, stop_signals, power_loss, full_disk)}


def main(argv):
    for name, method, cases, seed in zip(*[iter(argv)] * 4, strict=True):
        CAMPAIGNS[name](method, int(cases), int(seed)).report(name)


if __name__ == "__main__":
    sys.exit(exit_code_of(main, sys.argv[1:]))
