"""A packed network's forward pass at 224x224 against what a user would pick instead, on the same ternary weights.

    pip install torch==2.13.0 onnx onnxscript onnxruntime && pip install --no-deps torchvision==0.28.0
    python bench/packed.py [--networks resnet18 resnet50 alexnet googlenet] [--batch 1 16] [--threads 2] [--rounds 9]
    python bench/packed.py --isas [avx2 ...]            # instead, a row per instruction set
    python bench/packed.py --fc6                        # instead, AlexNet's largest layer against NumPy

Prints the tables of bench/README.md. Each contender is a process of its own; they take turns, and a ratio is of times
in one round. Baselines: PyTorch float32 in both layouts, ONNX Runtime float32, and ONNX Runtime int8
(quant_pre_process, then static quantisation, QDQ, unsigned activations, signed weights per channel, calibrated on the
batch); the script asserts that each of its convolutions became an integer one. tinyq's integers have the first and
last layer in 8 bits and are calibrated on the same batch; "unpacked" is its float32 evaluation of the same network.
Integers are compared with the fastest baseline, floats with ONNX Runtime float32. --isas leaves out `numpy`, NumPy
alone, unless it is named: it takes seconds at this size.
"""
import argparse
import os
import statistics
import tempfile
from pathlib import Path

from common.packed_contenders import BASELINES, CONTENDERS, FC6, LABELS, NUMPY, OURS, make, packed_file, prepare
from common.timing import Contender, interleave_all, machine, peak_memory, serve
from step import CLASSES

INTEGERS, MIB = ("int8", "int16"), 2**20
FC6_CONTENDERS, FC6_REPEAT = (NUMPY, *OURS), 10
WARM_UP = 0.1                            # seconds before each turn
NEEDED = {"float32": 6, "int8": 15}     # required speed-up over NumPy at fc6


def measure(name, contenders, batch, threads, args, folder):
    """Return ({contender: seconds of every round}, {contender: peak MiB}); a contender is NAME or NAME@ISA."""
    processes = {contender: _start(contender, name, batch, threads, folder) for contender in contenders}
    rounds = interleave_all(list(processes.values()), args.rounds, FC6_REPEAT if name == FC6 else max(1, 16 // batch))
    memory = {contender: peak_memory(process.process.pid) for contender, process in processes.items()}
    for process in processes.values():
        process.close()
    return {contender: [times[i] for times in rounds] for i, contender in enumerate(contenders)}, memory


def _start(contender, name, batch, threads, folder):
    contender, _, isa = contender.partition("@")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), **({"TINYQ_ISA": isa} if isa else {})}
    return Contender(str(Path(__file__).resolve()), "--threads", str(threads), "--serve", contender, name, str(batch),
                str(folder), environment=environment)


def ms(times):
    return f"{1e3 * statistics.median(times):.2f} ms"


def quartiles(ratios):
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


def against(times, contender, baseline):
    """Return a cell: the contender's median, and its time in terms of a baseline's."""
    ratios = [a / b for a, b in zip(times[contender], times[baseline], strict=True)]
    return f"{ms(times[contender])}, {quartiles(ratios)}"


def fastest(times):
    return min((kind for kind in BASELINES if kind in times), key=lambda kind: statistics.median(times[kind]))


def weights(folder):
    """Return cells: MiB of the weights as float32, and as float and integer kernels keep them, with the ratios."""
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
    """Print a row per network and batch."""
    print_head(["network", *(LABELS[contender] for contender in args.contenders), "fastest baseline",
                "weights in MiB: float32", "float activations", "int8", "peak memory in MiB, in the contenders' order"])
    for name in args.networks:
        folder = folder_of(name)
        held = weights(folder)
        for batch in args.batch:
            times, memory = measure(name, args.contenders, batch, args.threads, args, folder)
            best = fastest(times)
            baselines = dict.fromkeys(INTEGERS, best) | dict.fromkeys(("float32", "unpacked"), "ort" if "ort" in times
                                                                  else best)
            cells = [against(times, kind, baselines[kind]) if kind in baselines else ms(times[kind])
                     for kind in args.contenders]
            print_row([f"{name}, batch {batch}", *cells, LABELS[best], *held,
                       ", ".join(f"{memory[contender]:.0f}" for contender in args.contenders)])


def table_of_isas(args, folder_of):
    """Print a row per network, batch and instruction set: times of integers relative to the fastest baseline's."""
    isas, baselines = args.isas, [contender for contender in args.contenders if contender in BASELINES]
    print_head(["network", "instruction set", *(LABELS[contender] for contender in INTEGERS), "fastest baseline"])
    for name in args.networks:
        folder = folder_of(name)
        for batch in args.batch:
            contenders = [f"{kind}@{isa}" for isa in isas for kind in INTEGERS] + baselines
            times, _ = measure(name, contenders, batch, args.threads, args, folder)
            best = fastest(times)
            for isa in isas:
                print_row([f"{name}, batch {batch}", isa, *(against(times, f"{kind}@{isa}", best) for kind in INTEGERS),
                           f"{LABELS[best]}, {ms(times[best])}"])


def table_of_fc6(args, folder_of):
    """Print the speed-up over NumPy's product, with 2 threads and with 1."""
    folder = folder_of(FC6)
    print_head(["fc6, batch 1", LABELS[NUMPY], *(f"{LABELS[kind]}, times as fast"
                                                 + (f" (at least {NEEDED[kind]})" if kind in NEEDED else "")
                                                 for kind in OURS)])
    for threads in (2, 1):
        times, _ = measure(FC6, FC6_CONTENDERS, 1, threads, args, folder)
        gains = {kind: [a / b for a, b in zip(times[NUMPY], times[kind], strict=True)] for kind in OURS}
        print_row([f"{threads} thread{'s' * (threads > 1)}", ms(times[NUMPY]),
                   *(f"{ms(times[kind])}, {quartiles(gains[kind])}" for kind in OURS)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "alexnet", "googlenet"])
    parser.add_argument("--contenders", nargs="*", default=CONTENDERS, choices=CONTENDERS)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--isas", nargs="*", metavar="ISA", help="compare these instruction sets, or all")
    parser.add_argument("--fc6", action="store_true", help="compare AlexNet's largest layer with NumPy")
    parser.add_argument("--serve", nargs=4, metavar=("CONTENDER", "NETWORK", "BATCH", "FOLDER"),
                        help="run as one contender (used by this script)")
    args = parser.parse_args()
    if args.serve:
        contender, name, batch, folder = args.serve
        return serve(make(contender, name, int(batch), args.threads, folder), WARM_UP)
    from tinyq.kernels.jit.isa import NUMPY, available

    if args.isas == []:
        args.isas = [name for name in available() if name != NUMPY]
    print(f"{machine()}; {'2 threads and 1' if args.fc6 else f'{args.threads} threads'}; {args.rounds} rounds; integer "
          f"kernels: {', '.join(args.isas or available()[:1])}; {CLASSES} classes\n")
    with tempfile.TemporaryDirectory() as folder:
        def folder_of(name):
            place = Path(folder, name)
            place.mkdir()
            prepare(name, () if name == FC6 else args.contenders, place)
            return place

        (table_of_fc6 if args.fc6 else table_of_isas if args.isas else table)(args, folder_of)


if __name__ == "__main__":
    main()
