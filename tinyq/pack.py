"""`python -m tinyq.pack`: pack a trained network at 1 to 3 bits per weight, and write a packed network as C."""
import sys
from pathlib import Path

from tinyq.errors import UsageError, exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json
from tinyq.run.settings import plugins
from tinyq.run.settings.flags import Parser, add_plugin_flag, naming_flags

PACKED = ".tq.h5"
COMPARED = 8                            # samples
EXAMPLES = """examples:
  python -m tinyq.pack runs/digits_cnn-digits-cbp-001 digits.tq.h5
  python -m tinyq.pack model.h5 small.tq.h5 --float-layer-bits 8 --calibrate
  python -m tinyq.pack small.tq.h5 --c firmware/ --activations int8"""


def command(argv: list[str]) -> None:
    """Pack, or export, and print what was written."""
    arguments = _parser().parse(argv)
    plugins.use(arguments.plugin)
    if str(arguments.network).endswith(PACKED) != bool(arguments.c):
        raise UsageError(f"a run or a model.h5 is packed (python -m tinyq.pack RUN OUT{PACKED}), "
                         f"and a {PACKED} is exported (python -m tinyq.pack MODEL{PACKED} --c DIR)")
    _refuse_idle_flags(arguments)
    if not arguments.c and not str(arguments.target or "").endswith(PACKED):
        raise UsageError(f"name the file to write: OUT{PACKED}")
    report = _export(arguments) if arguments.c else _pack(arguments)
    if arguments.json:
        say_json(report)
    else:
        say(*_lines(report))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(command, _parser), sys.argv[1:] if argv is None else argv)


def _refuse_idle_flags(arguments):
    """Raise UsageError for flags that would have no effect."""
    given = {name for name, value in vars(arguments).items() if value not in (None, False)} - {"network", "json"}
    packing = {"target", "float_layer_bits", "trits", "calibrate", "data_path", "classes", "model", "plugin"}
    idle = given & packing if arguments.c else given & {"activations"}
    if not arguments.c and arguments.calibrate is None:
        idle |= given & {"data_path", "classes"}
    if idle:
        names = ", ".join(sorted("OUT" if name == "target" else f"--{name.replace('_', '-')}" for name in idle))
        raise UsageError(f"{names}: no effect when {'exporting C' if arguments.c else 'packing'}; see --help")


def _pack(arguments):
    from tinyq.kernels.jit import isa
    from tinyq.packed.file import format
    from tinyq.run.checkpoint_network import load_network
    from tinyq.saved.eval_splits import calibration_batches, split_for
    from tinyq.saved.packing import pack_model, sizes
    from tinyq.saved.run_folder import weights_file

    isa.choose()                                            # UsageError for a TINYQ_ISA that does not exist
    source, target = weights_file(arguments.network), Path(arguments.target)
    model, attributes = load_network(source, arguments.model)
    batches = None
    if arguments.calibrate is not None:
        name = arguments.calibrate or attributes["data"]
        if not name:
            raise UsageError(f"--calibrate: {source} does not say which data it is for; name some, such as --calibrate "
                             "mnist")
        batches = calibration_batches(
            split_for(source, attributes, "train", name, arguments.data_path, arguments.classes)[1])
    packed = pack_model(model, attributes, batches, _bits(arguments.float_layer_bits or "32"), arguments.trits)
    if arguments.trits and not any(tensor.scheme == "t243" for tensor in packed.tensors.values()):
        raise UsageError("--trits: no weights of this network are ternary")
    format.write(target, packed)
    return {"file": str(target), **sizes(packed, target), **_compared(model, packed, target, batches)}


def _compared(model, held, path, batches):
    """Compare the outputs of the written file with those of the trained network, on data if there are any."""
    import numpy as np

    from tinyq.packed.file.format import golden_input
    from tinyq.packed.network import PackedNetwork
    from tinyq.saved.measure import logits_of

    x = batches[0][:COMPARED] if batches else golden_input(held.graph)
    trained, packed = logits_of(model, x), PackedNetwork.load(path)(x)
    report = {"compared_on": f"{len(x)} training samples" if batches else "uniform noise",
              "same_bits_as_trained": bool(np.array_equal(trained, packed)),
              "largest_logit": float(np.abs(trained).max()),
              "largest_difference": float(np.abs(trained - packed).max())}
    for kind in ("int16", "int8"):
        if batches:
            report[f"largest_difference_{kind}"] = _difference(path, kind, x, trained)
    return report


def _difference(path, kind, x, trained):
    """Return the largest difference of any logit, or the reason why it cannot be computed."""
    import numpy as np

    from tinyq.packed.network import PackedNetwork

    try:
        return float(np.abs(trained - PackedNetwork.load(path, kind)(x)).max())
    except UsageError as error:
        return str(error)


def _export(arguments):
    from tinyq.packed.c.entry import FloatLayers
    from tinyq.packed.c.export import export_file
    from tinyq.packed.integer.lowering import NotCalibrated

    try:
        return export_file(arguments.network, Path(arguments.c), arguments.activations or "int8")
    except (NotCalibrated, FloatLayers) as error:
        raise UsageError(f"{arguments.network}: {error}; for C, pack the trained network with --float-layer-bits 8 "
                         "--calibrate") from error


def _bits(text):
    if text not in ("8", "32"):
        raise UsageError(f"--float-layer-bits {text}: choose from: 8, 32")
    return int(text)


def _lines(report):
    width = max(map(len, report))
    return [f"{key.replace('_', ' '):<{width}}  {_shown(value)}" for key, value in report.items()]


def _shown(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if isinstance(value, float) else value


def _parser():
    parser = Parser(prog="python -m tinyq.pack", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("network", metavar="IN",
                        help=f"a run folder, a model.h5 or a checkpoint; or, with --c, a {PACKED} file")
    parser.add_argument("target", metavar="OUT", nargs="?", help=f"the {PACKED} file to write")
    parser.add_argument("--float-layer-bits", metavar="N", help="bits of the weights that are not constrained, the "
                        "first and the last layer's: 32 (default, as trained) or 8")
    parser.add_argument("--trits", action="store_true", help="store five ternary codes per byte: 1.6 bits per weight")
    parser.add_argument("--calibrate", nargs="?", const="", metavar="DATA", help="also find the ranges that int8 and "
                        "int16 activations need, on the training part of the network's own data, or of DATA")
    parser.add_argument("--data-path", metavar="PATH", help="folder (or file) that holds the dataset")
    parser.add_argument("--classes", metavar="FILE",
                        help="file with one class per line, as in training on image folders")
    parser.add_argument("--model", metavar="PATH", help="path/to/file.py:function of a network of your own")
    parser.add_argument("--c", metavar="DIR", help="write the packed network as C99 into this folder")
    parser.add_argument("--activations", metavar="KIND", help="activations of the C code: int8 (default) or int16")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
