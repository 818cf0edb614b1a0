"""Random convolutions give the same integers, on the host within their arrays and on each core."""
import dataclasses

import pytest
from embedded.emulated_cores import HOST
from one_program import Networks, emulated
from random_networks import random_case

SANITIZED = ("-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
MOST_ON_M0 = 8 << 10                    # bytes of the arena
CORES = ("m0", "m3", "m4", "m55", "rv32", "ppc")


def networks(folder, seeds):
    return Networks.exported(folder, {f"net{seed}": random_case(seed) for seed in seeds})


def test_random_convolutions_give_the_same_integers_and_stay_inside_their_arrays(tmp_path):
    if HOST.missing():
        pytest.skip(HOST.missing())
    host = dataclasses.replace(HOST, flags=SANITIZED)
    assert networks(tmp_path / "c", range(8)).run(host, tmp_path, "-O0") == "0 of 8 wrong\n"


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 1000, 30))
def test_many_random_convolutions_give_the_same_integers_everywhere(start, tmp_path):
    host, many = dataclasses.replace(HOST, flags=SANITIZED), networks(tmp_path / "c", range(start, start + 30))
    assert many.run(host, tmp_path / "host", "-O0") == "0 of 30 wrong\n"
    for core in CORES:
        fitting = many.only(lambda name, core=core: core != "m0" or many.arenas[name] < MOST_ON_M0)
        said = fitting.run(emulated(core), tmp_path / core, "-O2", big_endian=core == "ppc")
        assert said == f"0 of {len(fitting.arenas)} wrong\n", core
