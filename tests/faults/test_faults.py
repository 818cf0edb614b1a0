"""Small versions of the fault campaigns; bench/soak/soak.py runs the long ones."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGNS = Path(__file__).with_name("campaigns.py")


def campaigns(method, **cases):
    """What each campaign found, none a failure; all in one process, which loads its kernels once."""
    arguments = [str(a) for name, count in cases.items() for a in (name, method, count, 1)]
    process = subprocess.run([sys.executable, CAMPAIGNS, *arguments], capture_output=True, text=True,
                             env=dict(os.environ))
    assert process.returncode == 0, process.stdout + process.stderr
    found = {line.pop("campaign"): line for line in map(json.loads, process.stdout.splitlines())}
    assert found.keys() == cases.keys() and all(f["failures"] == [] for f in found.values()), found
    return found


@pytest.mark.parametrize("method", ["backprop", "rpr", "conntra"])
def test_a_run_killed_at_any_operation_or_time_ends_with_the_same_weights(method):
    found = campaigns(method, kill_points=3, kill_times=1)
    assert found["kill_points"]["cases"] == 3 and found["kill_times"]["cases"] == 1


def test_no_fault_loses_what_was_saved():
    found = campaigns("cbp", kill_points=4, kill_times=2, failing_operations=12, stop_signals=2, power_loss=100)
    assert found["kill_points"]["cases"] == 4 and found["kill_times"]["cases"] == 2
    assert found["failing_operations"]["cases"] == 12 and found["failing_operations"]["went on and said so"] > 0
    assert found["stop_signals"]["cases"] >= 2 and found["stop_signals"]["most steps after the signal"] <= 2
    assert found["power_loss"]["cases"] == 100 and found["power_loss"]["old"] and found["power_loss"]["new"]


def test_a_disk_that_is_really_full_costs_no_checkpoint():
    found = campaigns("cbp", full_disk=4)["full_disk"]
    if not found.get("exit 74"):
        pytest.skip("a small file system cannot be mounted here")
    assert found["exit 74"] + found.get("exit 0", 0) == 4
