"""A packed network's forward pass at 224x224 against what a user would pick instead, on the same ternary weights.

    pip install torch==2.13.0 onnx onnxscript onnxruntime && pip install --no-deps torchvision==0.28.0
    python bench/packed.py [--networks resnet18 resnet50 alexnet googlenet] [--batch 1 16] [--threads 2] [--rounds 9]
    python bench/packed.py --isas [avx2 ...]            # a row for each instruction set there is, instead
    python bench/packed.py --fc6                        # AlexNet's largest layer alone beside NumPy, 2 threads and 1

Prints tables as bench/README.md has them. Each side has a process of its own; they take turns, and a ratio is of times
in one round. Peers: PyTorch float32 in both layouts, ONNX Runtime float32, and ONNX Runtime int8 (quant_pre_process,
then static quantisation, QDQ, unsigned activations, signed weights a channel, calibrated on the batch); that every
convolution of its became an integer one is asserted. tinyq's integers have the first and last layer in 8 bits and are
calibrated on the same batch; "unpacked" is its float32 evaluation of the same network. Integers are compared with the
fastest peer, floats with ONNX Runtime float32. --isas leaves out `numpy`, NumPy alone, unless it is named: it takes
seconds at this size.
"""
import argparse
import os
import statistics
import tempfile
from pathlib import Path

from common.packed_sides import FC6, LABELS, NUMPY, OURS, PEERS, SIDES, make, packed_file, prepare
from common.timing import Side, interleave_all, machine, peak_memory, serve
from step import CLASSES

INTEGERS, MIB = ("int8", "int16"), 2**20
FC6_SIDES, FC6_REPEAT = (NUMPY, *OURS), 10
WARM_UP = 0.1                            # seconds before every turn
NEEDED = {"float32": 6, "int8": 15}     # times as fast as NumPy, of fc6


def measure(name, sides, batch, threads, args, folder):
    """({side: seconds of every round}, {side: MiB at most}); a side is NAME, or NAME@INSTRUCTION SET."""
    processes = {side: _start(side, name, batch, threads, folder) for side in sides}
    rounds = interleave_all(list(processes.values()), args.rounds, FC6_REPEAT if name == FC6 else max(1, 16 // batch))
    memory = {side: peak_memory(process.process.pid) for side, process in processes.items()}
    for process in processes.values():
        process.close()
    return {side: [times[i] for times in rounds] for i, side in enumerate(sides)}, memory


def _start(side, name, batch, threads, folder):
    side, _, isa = side.partition("@")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), **({"TINYQ_ISA": isa} if isa else {})}
    return Side(str(Path(__file__).resolve()), "--threads", str(threads), "--serve", side, name, str(batch),
                str(folder), environment=environment)


def ms(times):
    return f"{1e3 * statistics.median(times):.2f} ms"


def quartiles(ratios):
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


def against(times, side, peer):
    """A cell: the side's median, and its time in terms of a peer's."""
    return f"{ms(times[side])}, {quartiles([a / b for a, b in zip(times[side], times[peer], strict=True)])}"


def fastest(times):
    return min((side for side in PEERS if side in times), key=lambda side: statistics.median(times[side]))


def weights(folder):
    """Cells: MiB of the weights as float32, and as float and integer kernels keep them, with how much less that is."""
    from tinyq.packed.network import PackedNetwork

    kept = [PackedNetwork.load(packed_file(kind, folder), kind) for kind in ("float32", "int8")]
    cells = [f"{n.resident_bytes / MIB:.2f} ({n.float_bytes / n.resident_bytes:.1f} times less)" for n in kept]
    return [f"{kept[0].float_bytes / MIB:.1f}", *cells]


def print_row(cells):
    print(f"| {' | '.join(cells)} |", flush=True)


def print_head(cells):
    print_row(cells)
    print("|" + "---|" * len(cells), flush=True)


def table(args, folder_of):
    """A row for each network and batch."""
    print_head(["network", *(LABELS[side] for side in args.sides), "fastest peer",
                "weights in MiB: float32", "float activations", "int8", "peak memory in MiB, in the sides' order"])
    for name in args.networks:
        folder = folder_of(name)
        held = weights(folder)
        for batch in args.batch:
            times, memory = measure(name, args.sides, batch, args.threads, args, folder)
            best = fastest(times)
            peers = dict.fromkeys(INTEGERS, best) | dict.fromkeys(("float32", "unpacked"), "ort" if "ort" in times
                                                                  else best)
            cells = [against(times, side, peers[side]) if side in peers else ms(times[side]) for side in args.sides]
            print_row([f"{name}, batch {batch}", *cells, LABELS[best], *held,
                       ", ".join(f"{memory[side]:.0f}" for side in args.sides)])


def table_of_isas(args, folder_of):
    """A row for each network, batch and instruction set: integers, each one's time in terms of the fastest peer's."""
    isas, peers = args.isas, [side for side in args.sides if side in PEERS]
    print_head(["network", "instruction set", *(LABELS[side] for side in INTEGERS), "fastest peer"])
    for name in args.networks:
        folder = folder_of(name)
        for batch in args.batch:
            sides = [f"{kind}@{isa}" for isa in isas for kind in INTEGERS] + peers
            times, _ = measure(name, sides, batch, args.threads, args, folder)
            best = fastest(times)
            for isa in isas:
                print_row([f"{name}, batch {batch}", isa, *(against(times, f"{kind}@{isa}", best) for kind in INTEGERS),
                           f"{LABELS[best]}, {ms(times[best])}"])


def table_of_fc6(args, folder_of):
    """How many times as fast as NumPy's product, with 2 threads and with 1."""
    folder = folder_of(FC6)
    print_head(["fc6, batch 1", LABELS[NUMPY], *(f"{LABELS[kind]}, times as fast"
                                                 + (f" (at least {NEEDED[kind]})" if kind in NEEDED else "")
                                                 for kind in OURS)])
    for threads in (2, 1):
        times, _ = measure(FC6, FC6_SIDES, 1, threads, args, folder)
        gains = {kind: [a / b for a, b in zip(times[NUMPY], times[kind], strict=True)] for kind in OURS}
        print_row([f"{threads} thread{'s' * (threads > 1)}", ms(times[NUMPY]),
                   *(f"{ms(times[kind])}, {quartiles(gains[kind])}" for kind in OURS)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "alexnet", "googlenet"])
    parser.add_argument("--sides", nargs="*", default=SIDES, choices=SIDES)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--isas", nargs="*", metavar="ISA", help="a table of instruction sets: of these, or of all")
    parser.add_argument("--fc6", action="store_true", help="AlexNet's largest layer alone, beside NumPy")
    parser.add_argument("--serve", nargs=4, metavar=("SIDE", "NETWORK", "BATCH", "FOLDER"), help="be one side")
    args = parser.parse_args()
    if args.serve:
        side, name, batch, folder = args.serve
        return serve(make(side, name, int(batch), args.threads, folder), WARM_UP)
    from tinyq.kernels.jit.isa import NUMPY, available

    if args.isas == []:
        args.isas = [name for name in available() if name != NUMPY]
    print(f"{machine()}; {'2 threads and 1' if args.fc6 else f'{args.threads} threads'}; {args.rounds} rounds; integer "
          f"kernels: {', '.join(args.isas or available()[:1])}; {CLASSES} classes\n")
    with tempfile.TemporaryDirectory() as folder:
        def folder_of(name):
            place = Path(folder, name)
            place.mkdir()
            prepare(name, () if name == FC6 else args.sides, place)
            return place

        (table_of_fc6 if args.fc6 else table_of_isas if args.isas else table)(args, folder_of)


if __name__ == "__main__":
    main()
