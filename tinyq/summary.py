"""`python -m tinyq.summary`: list the layers of a network with their shapes, sizes and cost."""
import argparse
import sys
from typing import TYPE_CHECKING

from tinyq.command_line import Parser, add_plugin_flag, naming_flags
from tinyq.errors import UsageError, did_you_mean, exit_code_of
from tinyq.inputs.shapes import SHAPES
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json
from tinyq.run.settings import plugins

if TYPE_CHECKING:                       # imported where it is used, for a fast --help
    from tinyq.saved.layer_table import Layer

EXAMPLES = """examples:
  python -m tinyq.summary --model lenet --levels binary
  python -m tinyq.summary --model mlp:100 --data digits
  python -m tinyq.summary runs/digits_cnn-digits-cbp-001"""


def summarise(argv: list[str]) -> None:
    """Print the table, or JSON."""
    arguments = _parser().parse(argv)
    plugins.use(arguments.plugin)
    from tinyq import levels
    from tinyq.saved import layer_table

    if arguments.network is None and arguments.model is None:
        raise UsageError("tinyq.summary: give a run, a model.h5 file or --model NAME")
    origin = "calculated"
    if arguments.network is not None:
        found, origin = _of_file(arguments.network, arguments.model)
    else:
        from tinyq import models, nn

        classes, shape = _shape(arguments)
        model = models.build(arguments.model, classes, shape, arguments.constrain, arguments.keep or "")
        planned = levels.parse(arguments.levels)
        nn.check_levels(model, planned, arguments.keep or "")
        found = layer_table.layers(model, shape, planned)
    if arguments.json:
        say_json(layer_table.as_json(found))
    else:
        say(*layer_table.as_table(found, origin))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(summarise, _parser), sys.argv[1:] if argv is None else argv)


def _of_file(network: str, model_name: str | None) -> "tuple[list[Layer], str]":
    """Return (layers, origin of their packed sizes) of a run, a model.h5 or a packed network."""
    from tinyq.run.checkpoint_network import load_network
    from tinyq.saved import layer_table
    from tinyq.saved.attributes import shape_of
    from tinyq.saved.packed_file import is_packed, read_packed
    from tinyq.saved.packed_table import packed_layers
    from tinyq.saved.run_folder import weights_file

    path = weights_file(network)
    if is_packed(path):
        return packed_layers(read_packed(path)), "in the file"
    model, attributes = load_network(path, model_name)
    return layer_table.layers(model, shape_of(attributes)), "calculated"


def _shape(arguments: argparse.Namespace) -> tuple[int, tuple[int, ...]]:
    """Return (classes, input shape) as given, else of the named dataset, else of a recipe for this model."""
    from tinyq.models import REGISTRY
    from tinyq.own_code import names_code
    from tinyq.run.settings.recipes import RECIPES

    family = arguments.model.partition(":")[0]
    if not names_code(arguments.model) and family not in REGISTRY:
        raise UsageError(f"--model {arguments.model}: no such model; {did_you_mean(family, REGISTRY)}")
    usual = [recipe["data"] for recipe in RECIPES.values() if recipe.get("model", "").partition(":")[0] == family]
    name = arguments.data or (usual[0] if usual else None)
    if name is None and not (arguments.input_shape and arguments.num_classes):
        raise UsageError(f"--model {arguments.model}: give --data NAME, such as imagenet, or --input-shape, such as "
                         "3,32,32, and --num-classes, such as 10")
    classes, shape = _shape_of_data(name) if name is not None else (0, ())      # the flags of both are given
    try:
        given = tuple(map(int, arguments.input_shape.split(","))) if arguments.input_shape else shape
        return int(arguments.num_classes or classes), given
    except ValueError:
        raise UsageError("--input-shape and --num-classes take whole numbers, such as 3,32,32 and 10") from None


def _shape_of_data(named: str) -> tuple[int, tuple[int, ...]]:
    """Return (classes, input shape) of a dataset by name, or of the user's own, which is read."""
    from tinyq import data
    from tinyq.data.named_data import OWN, dataset_and_path
    from tinyq.own_code import names_code

    name, path = dataset_and_path(named)
    if name in SHAPES and path is None:
        return SHAPES[name]
    if not names_code(name) and name not in (*OWN, *SHAPES):
        raise UsageError(f"--data {named}: choose from: {', '.join(SHAPES)}; or name a file of your own")
    bundle = data.load(name, path)
    return bundle.num_classes, bundle.input_shape


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.summary", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("network", nargs="?", metavar="RUN_OR_MODEL.h5",
                        help="trained network: a run folder, a model.h5, a checkpoint or a MODEL.tq.h5")
    parser.add_argument("--model", metavar="NAME", help="untrained network by name, or path/to/file.py:function; "
                        "needed too for a trained network of your own")
    parser.add_argument("--data", metavar="NAME", help="dataset of the untrained network: " + ", ".join(SHAPES)
                        + "; or your own file")
    parser.add_argument("--input-shape", metavar="C,H,W", help="shape of one sample, instead of --data")
    parser.add_argument("--num-classes", metavar="N", help="number of classes, instead of --data")
    parser.add_argument("--levels", default="ternary", metavar="NAME",
                        help="level set that its weights would have (default: ternary), or one for each layer, such as "
                        "\"conv2=shift1,*=ternary\"")
    parser.add_argument("--constrain", default="inner", metavar="WHICH",
                        help="weights that would be constrained: inner (default), all or none")
    parser.add_argument("--keep", metavar="LAYERS", help="layers that would stay float, such as "
                        "\"conv1,layer4.*\"")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
