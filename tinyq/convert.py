"""`python -m tinyq.convert`: convert weight files and ONNX networks of other programs to tinyq's format, and back."""
import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tinyq.command_line import Parser, add_plugin_flag, naming_flags
from tinyq.errors import UsageError, exit_code_of
from tinyq.inputs.shapes import SHAPES
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say
from tinyq.run.settings import plugins

if TYPE_CHECKING:                       # imported where it is used, for a fast --help
    from tinyq.saved.foreign.converted_inputs import Inputs

EXAMPLES = """examples:
  python -m tinyq.convert resnet18.pth resnet18.h5 --model resnet18
  python -m tinyq.convert resnet18.pth resnet18.h5 --model resnet18 --classes imagenet_classes.txt
  python -m tinyq.convert lenet.pth lenet.h5 --model lenet --data mnist
  python -m tinyq.convert runs/resnet18-imagenet-cbp-001 resnet18-ternary.safetensors
  python -m tinyq.convert runs/digits_cnn-digits-cbp-001 digits.onnx --data digits
  python -m tinyq.convert digits.tq.h5 digits-int8.onnx --activations int8 --compare
  python -m tinyq.convert digits.tq.h5 --compare
  python -m tinyq.convert resnet18.onnx resnet18.h5"""
ONNX = ".onnx"
OF_ONNX = ("activations", "weights", "compare", "data_path")   # flags
OF_INPUTS = ("key", "input_shape", "resize", "mean", "std")


def convert(argv: list[str]) -> None:
    """Convert in the direction that the file names imply, and print one line."""
    arguments = _parser().parse(argv)
    plugins.use(arguments.plugin)
    if arguments.target is None and not arguments.compare:
        raise UsageError(f"{arguments.source}: name the file to write, OUT.h5, OUT.safetensors or OUT{ONNX}; or give "
                         "--compare")
    if arguments.target is None:
        _refuse_idle(arguments, (*OF_INPUTS, "activations", "weights"), "when layers are compared without OUT")
        _to_onnx(arguments)
    elif Path(arguments.target).suffix.lower() == ONNX:
        _refuse_idle(arguments, OF_INPUTS, f"when OUT ends in {ONNX}")
        _to_onnx(arguments)
    else:
        _refuse_idle(arguments, OF_ONNX, f"unless OUT ends in {ONNX}")
        _to_weights(arguments)


def _refuse_idle(arguments: argparse.Namespace, names: tuple[str, ...], when: str) -> None:
    """Raise UsageError for flags that would have no effect."""
    if idle := [f"--{name.replace('_', '-')}" for name in names if getattr(arguments, name)]:
        raise UsageError(f"{', '.join(idle)}: no effect {when}; see --help")
    if arguments.data_path and not arguments.data:
        raise UsageError("--data-path: no effect without --data NAME")


def _to_weights(arguments: argparse.Namespace) -> None:
    """Write .h5 or .safetensors."""
    from tinyq.data.local.class_names import class_lines
    from tinyq.files.foreign import kinds
    from tinyq.saved.foreign import conversion
    from tinyq.saved.run_folder import weights_file

    target = Path(arguments.target).suffix.lower()
    if target in conversion.SAFETENSORS:
        say(conversion.to_safetensors(weights_file(arguments.source), arguments.target, arguments.model))
        return
    if target not in conversion.TINYQ:
        raise UsageError(f"{arguments.target}: convert writes .h5, .safetensors and {ONNX}")
    names = class_lines(arguments.classes) if arguments.classes else None
    if not Path(arguments.source).is_dir() and kinds.kind_of(arguments.source) == kinds.ONNX:
        from tinyq.saved.graphs.onnx_import import from_onnx

        say(*from_onnx(arguments.source, arguments.target, arguments.model, names, _inputs(arguments)))
        return
    if arguments.model is None:
        raise UsageError("--model: name the network, for example --model resnet18")
    say(conversion.to_tinyq(arguments.source, arguments.target, arguments.model, names, _inputs(arguments),
                            arguments.key))


def _to_onnx(arguments: argparse.Namespace) -> None:
    """Write an ONNX file and compare it with ONNX Runtime; without a file to write, compare float32 with int8."""
    from tinyq.output.text_table import table
    from tinyq.saved.onnx import layer_differences, onnx_export, sources

    form = onnx_export.Form(arguments.activations or "float32", arguments.weights)
    source = sources.open_source(arguments.source, arguments.model)
    samples = sources.samples_for(source, arguments.data, arguments.data_path, arguments.classes)
    first, samples = sources.first_of(samples)
    if arguments.target is None:
        found = onnx_export.float_beside_int8(source, first)
    else:
        network, lines = onnx_export.write_onnx(source, arguments.target, form)
        say(*lines, onnx_export.compared_with_runtime(network, source, form, samples))
        found = (layer_differences.tinyq_and_runtime(source.packed, network, form.activations, first)
                 if arguments.compare else [])
    if found:
        say(f"{len(first)} samples {samples.name}:", *table(layer_differences.HEADER, layer_differences.rows(found)))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(convert, _parser), sys.argv[1:] if argv is None else argv)


def _shape(arguments: argparse.Namespace) -> tuple[int, ...]:
    try:
        return tuple(map(int, arguments.input_shape.split(",")))
    except ValueError:
        raise UsageError("--input-shape takes whole numbers, such as 3,224,224") from None


def _inputs(arguments: argparse.Namespace) -> "Inputs":
    """Return what the flags say of the network's inputs."""
    from tinyq.saved.foreign.converted_inputs import Inputs

    shape = _shape(arguments) if arguments.input_shape else None
    try:
        resize = int(arguments.resize) if arguments.resize else None
        mean, std = (tuple(map(float, text.split(","))) if text else None for text in (arguments.mean, arguments.std))
    except ValueError:
        raise UsageError("--resize takes a whole number, --mean and --std one number per channel, such as 0.5,0.5,0.5"
                         ) from None
    return Inputs(arguments.data, shape, mean, std, resize)


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.convert", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("source", metavar="IN", help="weights of PyTorch, safetensors or HDF5, with any "
                        "suffix; or a run folder or model.h5 of tinyq")
    parser.add_argument("target", metavar="OUT", nargs="?", help="OUT.h5; or, from a file of tinyq, OUT.safetensors or "
                        f"OUT{ONNX}")
    parser.add_argument("--model", metavar="NAME", help="network that the weights belong to")
    parser.add_argument("--key", metavar="KEY", help="key of the weights, such as model_ema, in a file that holds "
                        "several (default: the only ones that fit, or the plain ones before their averages)")
    parser.add_argument("--classes", metavar="FILE", help="file with one class per line "
                        "(by default classes are numbered)")
    parser.add_argument("--input-shape", metavar="C,H,W",
                        help="shape of one input (default: that of --data, or 3,224,224)")
    parser.add_argument("--data", metavar="NAME", help=f"data that the network is for: {', '.join(SHAPES)}; their "
                        "mean, std and classes go into the file (default: photographs, with ImageNet's mean and std, "
                        "for square colour images; otherwise none)")
    parser.add_argument("--resize", metavar="N", help="length of a photograph's shorter side before its middle is cut "
                        "out (default: 8/7 of the input's, 256 for 224; torchvision's second weights have 232)")
    parser.add_argument("--mean", metavar="X,X,X", help="mean per channel of pixels / 255, instead of the data's")
    parser.add_argument("--std", metavar="X,X,X", help="standard deviation per channel, likewise")
    parser.add_argument("--activations", metavar="KIND", help=f"of OUT{ONNX}: float32 (default), or int8, from a "
                        "packed file with ranges (tinyq.pack --calibrate)")
    parser.add_argument("--weights", metavar="KIND", help=f"of OUT{ONNX}: float32; int8, int4 or int2 for weights on "
                        "levels, scaled in the graph (default: float32, with int8 activations int8)")
    parser.add_argument("--compare", action="store_true", help=f"show layer by layer how far tinyq and ONNX Runtime "
                        f"part on OUT{ONNX}; without OUT, float32 and int8 activations")
    parser.add_argument("--data-path", metavar="PATH", help=f"folder (or file) of --data, whose test samples OUT{ONNX} "
                        "is compared on (default: samples stored in IN, or noise)")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
