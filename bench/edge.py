"""Count instructions and bytes of exported networks on microcontrollers, beside CMSIS-NN on the same weights.

    git clone https://github.com/ARM-software/CMSIS-NN
    python bench/edge.py --output DIR --mnist DIR --cmsis CMSIS-NN [--networks digits lenet resnet20]
        [--cores m0 m3 m4 m55 rv32] [--levels ternary] [--activations int8] [-O 2]
    python bench/edge.py --output DIR --profile --networks digits --cores m4    # instead, instructions per function

Prints the table of bench/README.md, and keeps its numbers in DIR/edge.json. QEMU executes the programs, and a plugin
counts: the figures are instructions, not cycles, and the same on every machine. One inference is a run of three less a
run of two. Flash (code and constants) and RAM are the program's symbols less those of the same program without a
network. In every run the outputs are compared: tinyq's with the integers of the NumPy executor, CMSIS-NN's with those
of its build for this machine, which must name the classes that tinyq names. `digits` and `lenet` are trained in DIR,
once; ResNet-20 has initial weights rounded to the levels. Cores: bench/embedded/emulated_cores.py.
"""
import argparse
import json
import sys
from pathlib import Path

from embedded import table
from embedded.cmsis import cmsis, with_scratch
from embedded.edge_networks import NETWORKS, made
from embedded.emulated_cores import TARGETS
from embedded.exported import exported
from embedded.instructions import Wrong, measured
from embedded.programs import TooLarge

CORES = ("m0", "m3", "m4", "m55", "rv32")
SAME_CLASS = 0.99                       # least share of images for which CMSIS-NN names tinyq's class


def contenders(name, args):
    """Return {contender: network in C}."""
    network = made(name, args.levels, args.output / "networks", args.mnist)
    folder = args.output / f"{name}-{args.levels}-{args.activations}"
    found = {table.TINYQ: exported(network.packed, args.activations, network.images, folder / "tinyq")}
    if args.cmsis and args.activations == "int8":
        ours = found[table.TINYQ]
        theirs = found[table.CMSIS] = cmsis(network.packed, ours, args.cmsis, folder / "cmsis", args.output / "cmsis")
        say_classes(name, ours.expected.argmax(axis=1), theirs.expected.argmax(axis=1), network.classes)
    return found, folder


def say_classes(name, ours, theirs, classes):
    """Print how often CMSIS-NN names the same class; Wrong if it does too seldom."""
    same = int((ours == theirs).sum())
    right = "" if classes is None else f"; right: {(ours == classes).sum()} and {(theirs == classes).sum()}"
    print(f"{name}: CMSIS-NN names tinyq's class for {same} of {len(ours)} images{right}", file=sys.stderr)
    if same < SAME_CLASS * len(ours):
        raise Wrong(f"{name}: CMSIS-NN names another class for {len(ours) - same} of {len(ours)} images")


def measure(contender, network, core, folder, args):
    """Measure a contender on a core; None where it has no room."""
    target, flag = TARGETS[core], f"-O{args.optimisation}"
    place = folder / contender / f"{core}{flag}"
    try:
        if contender == table.CMSIS:
            network = with_scratch(target, network, place, flag)
        return measured(target, network, place, flag)
    except TooLarge:
        return None


def print_profile(title, found):
    """Print the functions of one inference, the longest first."""
    print(f"{title}: {found.instructions:,} instructions; code {found.code:,}, constants {found.constants:,}, "
          f"RAM {found.ram:,}, stack {found.stack:,} bytes")
    for name, n in found.functions.most_common():
        print(f"{n:12,} {n / found.instructions:7.1%}  {name}")


def keep(path, key, found):
    """Add a row to the result file."""
    results = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**results, key: found}, indent=1, sort_keys=True) + "\n")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for trained networks, C files and programs")
    parser.add_argument("--mnist", type=Path, help="folder of MNIST, for lenet")
    parser.add_argument("--cmsis", type=Path, help="checkout of CMSIS-NN")
    parser.add_argument("--networks", nargs="*", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--cores", nargs="*", default=CORES, choices=TARGETS)
    parser.add_argument("--levels", default="ternary")
    parser.add_argument("--activations", default="int8", choices=["int8", "int16"])
    parser.add_argument("-O", dest="optimisation", default="2", choices=["0", "1", "2", "3", "s"])
    parser.add_argument("--profile", action="store_true", help="print the instructions of each function")
    args = parser.parse_args()
    if "lenet" in args.networks and args.mnist is None:
        parser.error("lenet needs --mnist, the folder of MNIST; or leave it out with --networks digits resnet20")
    if args.cmsis and not (args.cmsis / "Include/arm_nnfunctions.h").is_file():
        parser.error(f"--cmsis {args.cmsis}: not a checkout of github.com/ARM-software/CMSIS-NN")
    for core in args.cores:
        if TARGETS[core].missing():
            parser.error(f"--cores {core}: {TARGETS[core].missing()}")
    return args


def main():
    args = parsed()
    if not args.profile:
        print(table.head(), flush=True)
    for name in args.networks:
        networks, folder = contenders(name, args)
        for core in args.cores:
            found = {key: measure(key, network, core, folder, args) for key, network in networks.items()}
            found = {contender: value for contender, value in found.items() if value is not None}
            if args.profile:
                for contender, value in found.items():
                    print_profile(f"{name}, {TARGETS[core].title}, {contender}", value)
                continue
            rows = {contender: table.numbers(value) for contender, value in found.items()}
            key = table.key_of(name, args.levels, args.activations, f"-O{args.optimisation}", core)
            print(table.row(key, rows), flush=True)
            keep(args.output / "edge.json", key, rows)


if __name__ == "__main__":
    main()
