"""`python -m tinyq.pack`: a trained network packed at 1 to 3 bits a weight, and from that a network in C."""
import argparse
import json
import sys
from pathlib import Path

from tinyq.errors import UsageError, exit_code_of
from tinyq.run.flags import Parser

PACKED = ".tq.h5"
EXAMPLES = """examples:
  python -m tinyq.pack runs/digits_cnn-digits-cbp-001 digits.tq.h5
  python -m tinyq.pack model.h5 small.tq.h5 --edge-bits 8 --calibrate
  python -m tinyq.pack small.tq.h5 --c firmware/ --activations int8"""


def command(argv: list[str]) -> None:
    """Pack, or export, and print what was written."""
    arguments = _parser().parse_known_and_refuse_others(argv)
    if str(arguments.network).endswith(PACKED) != bool(arguments.c):
        raise UsageError(f"a run or a model.h5 is packed (python -m tinyq.pack RUN OUT{PACKED}), "
                         f"and a {PACKED} is exported (python -m tinyq.pack MODEL{PACKED} --c DIR)")
    if not arguments.c and not str(arguments.target or "").endswith(PACKED):
        raise UsageError(f"name the file to write: OUT{PACKED}")
    report = _export(arguments) if arguments.c else _pack(arguments)
    print(json.dumps(report, indent=2) if arguments.json else _text(report))


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return exit_code_of(command, sys.argv[1:] if argv is None else argv)


def _pack(arguments):
    from tinyq.packed import format
    from tinyq.run.folder import weights_file
    from tinyq.run.packing import pack_model, sizes
    from tinyq.run.saved import load_model
    from tinyq.run.splits import calibration_batches, split_for

    source, target = weights_file(arguments.network), Path(arguments.target)
    model, attributes = load_model(source, arguments.model)
    batches = None
    if arguments.calibrate is not None:
        name = arguments.calibrate or None
        batches = calibration_batches(
            split_for(source, attributes, "train", name, arguments.data_path, arguments.classes)[1])
    packed = pack_model(model, attributes, batches, _bits(arguments.edge_bits), arguments.trits)
    format.write(target, packed)
    return {"file": str(target), **sizes(packed, target), **_compared(model, packed, target)}


def _compared(model, held, path):
    """The written file's outputs beside those of the trained network."""
    import numpy as np

    from tinyq.packed.format import golden_input
    from tinyq.packed.network import PackedNetwork
    from tinyq.run.measure import logits_of

    x = golden_input(held.graph)
    trained, packed = logits_of(model, x), PackedNetwork.load(path)(x)
    report = {"same_bits_as_trained": bool(np.array_equal(trained, packed)),
              "largest_logit": float(np.abs(trained).max()),
              "largest_difference": float(np.abs(trained - packed).max())}
    for kind in ("int16", "int8"):
        if kind in held.golden:
            integers = PackedNetwork.load(path, kind)(x)
            report[f"largest_difference_{kind}"] = float(np.abs(trained - integers).max())
    return report


def _export(arguments):
    from tinyq.packed.export_c import export_file

    return export_file(arguments.network, Path(arguments.c), arguments.activations)


def _bits(text):
    if text not in ("8", "32"):
        raise UsageError(f"--edge-bits {text}: choose from: 8, 32")
    return int(text)


def _text(report):
    width = max(map(len, report))
    return "\n".join(f"{key.replace('_', ' '):<{width}}  {_shown(value)}" for key, value in report.items())


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else value


def _parser():
    parser = Parser(prog="python -m tinyq.pack", description=__doc__.partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="IN", help=f"a run folder or model.h5; or, with --c, a {PACKED} file")
    parser.add_argument("target", metavar="OUT", nargs="?", help=f"the {PACKED} file to write")
    parser.add_argument("--edge-bits", default="32", metavar="N", help="bits of the weights that are not confined, the "
                        "first and the last layer's: 32 (default, as trained) or 8")
    parser.add_argument("--trits", action="store_true", help="ternary codes five a byte, 1.6 bits a weight")
    parser.add_argument("--calibrate", nargs="?", const="", metavar="DATA", help="also find the ranges that int8 and "
                        "int16 activations need, on the training part of the network's own data, or of DATA")
    parser.add_argument("--data-path", metavar="PATH", help="folder (or file) that holds the dataset")
    parser.add_argument("--classes", metavar="FILE", help="of photographs: a file with a class a line, as in training")
    parser.add_argument("--model", metavar="PATH", help="path/to/file.py:function of a network of your own")
    parser.add_argument("--c", metavar="DIR", help="write the packed network as C99 into this folder")
    parser.add_argument("--activations", default="int8", metavar="KIND", help="of the C: int8 (default) or int16")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
