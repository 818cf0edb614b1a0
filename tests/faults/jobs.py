"""Small runs of each method, and processes to run and kill them in.

A run takes a tenth of a second once its kernels are loaded, so they are loaded once and every case is a fork. For that
there must be no other thread, hence one thread and numba's own pool, chosen before numba is imported.
"""
import os
import signal
import sys
import time
from pathlib import Path

os.environ |= {"NUMBA_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"}

from tinyq.audit import observers_for  # noqa: E402
from tinyq.errors import exit_code_of  # noqa: E402
from tinyq.run import session  # noqa: E402
from tinyq.run.settings.resolve import resolve  # noqa: E402

IRIS = {"model": "mlp:8,16", "data": "iris", "recipe": "none", "batch_size": "16", "lr": "0.05", "threads": "1",
        "pretrain_epochs": "1", "epochs": "2", "workers": "0"}
METHODS = {
    "backprop": {"pretrain_epochs": "0", "epochs": "3", "schedule": "plateau", "lr_patience": "0"},
    "cbp": {"cbp.lambda_lr": "0.05", "cbp.period": "1"},
    "rpr": {"rpr.fractions": "0.5,1", "epochs": "3", "opt": "adam"},
    "conntra": {"constrain": "all", "conntra.visits": "50"},
}


def settings(method, **changes):
    """Settings of the run of a method, as its flags would give them."""
    return {**IRIS, "method": method, **METHODS[method], **changes}


def go_on(folder, flags):
    """Start the run, or go on with it where it has begun; its weights_sha256."""
    if (Path(folder) / "config.toml").is_file():
        return session.resume(folder, {}, observers_for)[0]["weights_sha256"]
    resolved = resolve({**flags, "output": str(folder)})
    return session.start(resolved, observers_for)[0]["weights_sha256"]


def begin(work, errors):
    """Start work() in a child; its messages go to the file `errors`, its exit code is a command's."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        out = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(out, 1)
        os.dup2(out, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = exit_code_of(lambda argv: work() and None, [])
        sys.stdout.flush()
    finally:
        os._exit(code)


def ended(pid, most=120.0):
    """The exit code of a child, 128 + the signal that killed it; 998 if it had to be killed for taking too long."""
    until = time.monotonic() + most
    while time.monotonic() < until:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code < 0 else code
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return 998
