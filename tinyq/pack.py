"""`python -m tinyq.pack`: pack a trained network at 1 to 3 bits per weight, and write a packed network as C."""
import sys
from pathlib import Path

from tinyq.command_line import Parser, add_plugin_flag, naming_flags
from tinyq.errors import UsageError, exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json
from tinyq.run.settings import plugins

PACKED = ".tq.h5"
COMPARED = 8                            # samples
EXAMPLES = """examples:
  python -m tinyq.pack runs/digits_cnn-digits-cbp-001 digits.tq.h5
  python -m tinyq.pack model.h5 small.tq.h5 --float-layer-bits 8 --calibrate
  python -m tinyq.pack runs/digits_cnn-digits-cbp-001 --c firmware/
  python -m tinyq.pack small.tq.h5 --c firmware/ --activations int8 --data"""
PACKING = {"target", "float_layer_bits", "trits", "calibrate", "model"}
EXPORTING = {"c", "activations"}
OF_DATA = {"data_path", "classes", "plugin"}


def command(argv: list[str]) -> None:
    """Pack, export, or both, and print what was written."""
    arguments = _parser().parse(argv)
    plugins.use(arguments.plugin)
    is_packed = str(arguments.network).endswith(PACKED)
    if is_packed and not arguments.c:
        raise UsageError(f"a {PACKED} is exported (python -m tinyq.pack MODEL{PACKED} --c DIR), "
                         f"and a run or a model.h5 is packed (python -m tinyq.pack RUN OUT{PACKED})")
    _refuse_idle_flags(arguments, is_packed)
    if not str(arguments.target or PACKED).endswith(PACKED) or not (arguments.c or arguments.target):
        raise UsageError(f"name the file to write: OUT{PACKED}")
    report = _export(arguments) if is_packed else _pack_to_c(arguments) if arguments.c else _pack(arguments)
    if arguments.json:
        say_json(report)
    else:
        say(*_lines(report))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(command, _parser), sys.argv[1:] if argv is None else argv)


def _refuse_idle_flags(arguments, is_packed):
    """Raise UsageError for flags that would have no effect."""
    given = {name for name, value in vars(arguments).items() if value not in (None, False)} - {"network", "json"}
    if is_packed:
        used = EXPORTING | ({"data"} | OF_DATA if arguments.data is not None else set())
    else:
        calibrates = arguments.calibrate is not None or arguments.c
        used = PACKING | {"plugin"} | (OF_DATA if calibrates else set()) | (EXPORTING if arguments.c else set())
    if idle := given - used:
        names = ", ".join(sorted("OUT" if name == "target" else f"--{name.replace('_', '-')}" for name in idle))
        raise UsageError(f"{names}: no effect when {'exporting C' if is_packed else 'packing'}; see --help")


def _pack(arguments):
    from tinyq.packed.file import format
    from tinyq.saved.packing import sizes

    target = Path(arguments.target)
    model, packed, bundle = _packed(arguments, arguments.float_layer_bits or "32", arguments.calibrate)
    format.write(target, packed)
    batches = _batches(bundle)
    return {"file": str(target), **sizes(packed, target), **_compared(model, packed, target, batches)}


def _packed(arguments, bits, calibrate):
    """Return (model, packed network, data it was calibrated on); calibrate: a name, "" for its own data or None."""
    from tinyq.kernels.jit import isa
    from tinyq.run.checkpoint_network import load_network
    from tinyq.saved.eval_splits import split_for
    from tinyq.saved.packing import pack_model
    from tinyq.saved.run_folder import weights_file

    isa.choose()                                            # UsageError for a TINYQ_ISA that does not exist
    source, bundle = weights_file(arguments.network), None
    model, attributes = load_network(source, arguments.model)
    if calibrate is not None:
        name = calibrate or attributes["data"]
        if not name:
            raise UsageError(f"--calibrate: {source} does not say which data it is for; name some, such as --calibrate "
                             "mnist")
        bundle = split_for(source, attributes, "train", name, arguments.data_path, arguments.classes)[1]
    packed = pack_model(model, attributes, _batches(bundle), _bits(bits), arguments.trits)
    if arguments.trits and not any(tensor.scheme == "t243" for tensor in packed.tensors.values()):
        raise UsageError("--trits: no weights of this network are ternary")
    return model, packed, bundle


def _batches(bundle):
    from tinyq.saved.eval_splits import calibration_batches

    return None if bundle is None else calibration_batches(bundle)


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
    """Export a packed file, with samples of its data where --data asks for them."""
    from tinyq.packed.c.entry import FloatLayers
    from tinyq.packed.c.export import check_kind, export_file
    from tinyq.packed.integer.lowering import NotCalibrated
    from tinyq.packed.network import PackedNetwork
    from tinyq.saved.eval_splits import split_for
    from tinyq.saved.exporting.measured_export import figures, self_test_samples
    from tinyq.saved.packed_file import read_packed

    kind, samples, found = arguments.activations or "int8", None, {}
    check_kind(kind)
    try:
        if arguments.data is not None:
            packed = read_packed(arguments.network)
            bundle = split_for(arguments.network, packed.meta, "train", arguments.data or None, arguments.data_path,
                               arguments.classes)[1]
            samples = self_test_samples(bundle)
            found = figures(PackedNetwork(packed), packed, kind, bundle)
        return {**export_file(arguments.network, Path(arguments.c), kind, samples), **found}
    except (NotCalibrated, FloatLayers) as error:
        reason = str(error).partition(";")[0]
        raise UsageError(f"{arguments.network}: {reason}; for C, export the trained network: "
                         f"{_command_to_c(arguments)}") from error


def _command_to_c(arguments):
    """Return the command that exports the trained network which a packed file is of, if it lies beside the file."""
    import shlex

    from tinyq.saved.run_folder import MODEL_FILE

    beside = Path(arguments.network).parent
    run = shlex.quote(str(beside)) if (beside / MODEL_FILE).is_file() else "RUN"
    return f"python -m tinyq.pack {run} --c {shlex.quote(arguments.c)}"


def _pack_to_c(arguments):
    """Pack a trained network on 8 bits, calibrate it on its data, and export it."""
    from tinyq.packed.c.export import check_kind
    from tinyq.saved.exporting.network_to_c import check_target, export_network

    if (arguments.float_layer_bits or "8") != "8":
        raise UsageError(f"--float-layer-bits {arguments.float_layer_bits}: C needs 8; leave it out")
    kind, folder = arguments.activations or "int8", Path(arguments.c)
    check_kind(kind)
    check_target(arguments.target, folder)                  # before the work
    model, packed, bundle = _packed(arguments, "8", arguments.calibrate or "")
    try:
        return export_network(model, packed, bundle, arguments.target, folder, kind)
    except UsageError as error:
        raise UsageError(f"{arguments.network}: {error}") from error


def _bits(text):
    if text not in ("8", "32"):
        raise UsageError(f"--float-layer-bits {text}: choose from: 8, 32")
    return int(text)


def _lines(report):
    from tinyq.output.text_table import table
    from tinyq.packed.c.layer_costs import HEADER, LayerCost, table_rows

    layers = [LayerCost(**layer) for layer in report.get("layers", ())]
    facts = {key: value for key, value in report.items() if key != "layers"}
    width = max(map(len, facts))
    if facts.get("same_bits_as_trained") is False and facts["bytes_8_bit_edges"]:
        facts["same_bits_as_trained"] = "no: layers are rounded to 8 bits"
    lines = [f"{key.replace('_', ' '):<{width}}  {_shown(key, value)}" for key, value in facts.items()]
    return [*lines, *(["", *table(HEADER, table_rows(layers))] if layers else [])]


def _shown(key, value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2%}" if "accuracy" in key or "precision" in key else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


def _parser():
    parser = Parser(prog="python -m tinyq.pack", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("network", metavar="IN",
                        help=f"a run folder, a model.h5 or a checkpoint; or, with --c, a {PACKED} file")
    parser.add_argument("target", metavar="OUT", nargs="?", help=f"the {PACKED} file to write")
    parser.add_argument("--float-layer-bits", metavar="N", help="bits of the weights that are not constrained, the "
                        "first and the last layer's: 32 (default, as trained) or 8 (with --c always)")
    parser.add_argument("--trits", action="store_true", help="store five ternary codes per byte: 1.6 bits per weight")
    parser.add_argument("--calibrate", nargs="?", const="", metavar="DATA", help="also find the ranges that int8 and "
                        "int16 activations need, on the training part of the network's own data, or of DATA")
    parser.add_argument("--data-path", metavar="PATH", help="folder (or file) that holds the dataset")
    parser.add_argument("--classes", metavar="FILE",
                        help="file with one class per line, as in training on image folders")
    parser.add_argument("--model", metavar="PATH", help="path/to/file.py:function of a network of your own")
    parser.add_argument("--c", metavar="DIR", help="write the network as C99 into this folder; a trained network is "
                        "packed with 8-bit layers and calibrated for it, into OUT or into the folder")
    parser.add_argument("--data", nargs="?", const="", metavar="NAME", help=f"with --c of a {PACKED}: test on the "
                        "network's own data, or on NAME, and put samples of them into the self-test")
    parser.add_argument("--activations", metavar="KIND", help="activations of the C code: int8 (default) or int16")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
