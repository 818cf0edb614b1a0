"""Count the instructions and bytes of exported networks on microcontrollers, which QEMU emulates.

    python bench/edge.py --output DIR --mnist DIR [--networks digits lenet resnet20] [--cores m0 m3 m4 m55 rv32]
    python bench/edge.py --output DIR --profile --networks digits --cores m4    # instead, instructions per function

Nothing here depends on the machine: the instructions of one inference are those of a run of two inferences less those
of a run of one, and bytes are those of the program's symbols less the symbols of the same program without a network.
Outputs are compared with the host's integers in every run. `digits` and `lenet` are trained in --output, once;
ResNet-20 has initial weights rounded to the levels. bench/embedded/targets.py lists the cores and Debian's packages.
"""
import argparse
from pathlib import Path

from embedded.exported import exported
from embedded.measure import measured
from embedded.networks import NETWORKS, made
from embedded.targets import TARGETS

CORES = ("m0", "m3", "m4", "m55", "rv32")


def print_profile(title, measure):
    """Print the functions of one inference, the longest first."""
    print(f"{title}: {measure.instructions:,} instructions; code {measure.code:,}, constants {measure.constants:,}, "
          f"RAM {measure.ram:,}, stack {measure.stack:,} bytes")
    for name, n in measure.functions.most_common():
        print(f"{n:12,} {n / measure.instructions:7.1%}  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for trained networks, C files and programs")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST, for lenet")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--cores", nargs="*", default=CORES, choices=TARGETS)
    parser.add_argument("--levels", default="ternary")
    parser.add_argument("--activations", default="int8", choices=["int8", "int16"])
    parser.add_argument("-O", dest="optimisation", default="2", choices=["0", "1", "2", "3", "s"])
    parser.add_argument("--profile", action="store_true", help="print the instructions of each function")
    args = parser.parse_args()
    for name in args.networks:
        network = made(name, args.levels, args.output / "networks", args.mnist)
        code = exported(network.packed, args.activations, network.images[:2], args.output / "c" / name)
        for core in args.cores:
            measure = measured(TARGETS[core], code, args.output / "programs" / name / core, f"-O{args.optimisation}")
            print_profile(f"{name}, {TARGETS[core].title}, -O{args.optimisation}", measure)


if __name__ == "__main__":
    main()
