"""`python -m tinyq.evaluate`: measure the accuracy of a trained network on a dataset."""
import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tinyq.command_line import Parser, add_plugin_flag, count_of, naming_flags
from tinyq.errors import BadInput, UsageError, exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json
from tinyq.run.settings import plugins

if TYPE_CHECKING:                       # imported where they are used, for a fast --help
    from tinyq.data import DataBundle
    from tinyq.nn import Module
    from tinyq.saved.measure import Network
    from tinyq.tasks.loss import Loss
    from tinyq.tasks.scores import Scores

EXAMPLES = """examples:
  python -m tinyq.evaluate runs/digits_cnn-digits-cbp-001
  python -m tinyq.evaluate float.h5 --data mnist --data-path DIR --json
  python -m tinyq.evaluate runs/net-iris-cbp-001 --model net.py:function"""


def evaluate(argv: list[str]) -> None:
    """Print the scores, or JSON."""
    arguments = _parser().parse(argv)
    plugins.use(arguments.plugin)
    from tinyq.inputs.parts import check_split
    from tinyq.run.build import use_threads
    from tinyq.saved.eval_splits import split_for
    from tinyq.saved.measure import measure
    from tinyq.saved.predictions import Predictions
    from tinyq.saved.run_folder import weights_file

    check_split(arguments.split)
    threads = count_of("--threads", arguments.threads)
    path = weights_file(arguments.network)
    use_threads(threads)
    model, attributes = _network(path, arguments.model)
    dataset, bundle = split_for(path, attributes, arguments.split, arguments.data, arguments.data_path,
                                arguments.classes)
    loss, known = _loss(arguments.loss, attributes, bundle)
    predictions = Predictions(dataset, bundle.class_names, loss.task) if arguments.predictions else None
    scores = measure(model, dataset, bundle.num_classes, bundle.input_shape,
                     each=predictions.add if predictions else None, loss=loss)
    if predictions:
        predictions.write(arguments.predictions)
    report = _report(arguments, attributes, bundle, scores)
    report |= {} if known else {"loss": None}
    if arguments.json:
        say_json(report)
    else:
        say(*_lines(report, path))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(evaluate, _parser), sys.argv[1:] if argv is None else argv)


def _loss(name: str | None, attributes: dict, bundle: "DataBundle") -> "tuple[Loss, bool]":
    """Return the loss of the file, or the one that --loss names, and whether its value is known."""
    from tinyq.own_code import RunCode, code_in
    from tinyq.tasks.loss_choice import loss_of_file
    from tinyq.tasks.task import CROSS_ENTROPY

    given: dict = {} if name is None else {"loss": name}
    if name not in (None, attributes.get("loss", CROSS_ENTROPY)):
        given["class_weights"] = None                       # they belong to the file's own loss
    function = RunCode.read(code_in({"loss": name})).functions.get("loss")
    parts = {part: getattr(bundle, part) for part in ("train", "validation", "test")}
    labels = {part: split.labels for part, split in parts.items() if split is not None}
    return loss_of_file({**attributes, **given}, bundle.num_classes, labels, function.call if function else None)


def _network(path: Path, name: str | None) -> "tuple[Module | Network, dict]":
    """Load (network, attributes) of a weight file or of a packed network, which runs with float32 activations."""
    from tinyq.packed.network import PackedNetwork
    from tinyq.run.checkpoint_network import load_network
    from tinyq.saved.packed_file import is_packed, read_packed

    if not is_packed(path):
        return load_network(path, name)
    if name is not None:
        raise UsageError(f"--model {name}: no effect, because {path} is packed and holds its network")
    packed = read_packed(path)
    try:
        return PackedNetwork(packed), packed.meta
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _report(arguments: argparse.Namespace, attributes: dict, bundle: "DataBundle", scores: "Scores") -> dict:
    from tinyq.tasks.score_report import report_of

    return {"model": attributes["model"], "method": attributes["method"], "levels": attributes.get("levels"),
            "data": bundle.name, "split": arguments.split, **report_of(scores, bundle.class_names),
            "weights_sha256": attributes["weights_sha256"],
            "passed_over": bundle.read.get("passed_over", {})}


def _lines(report: dict, path: Path) -> list[str]:
    from tinyq.data.local.filters import described
    from tinyq.tasks.score_report import lines_of

    lines = [f"{report['model']} ({path}) on {report['data']}, {report['split']} part", *lines_of(report)]
    if report["passed_over"]:
        lines.append(f"passed over  {described(report['passed_over'])}")
    return lines


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.evaluate", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("network", metavar="RUN_OR_MODEL.h5", help="a run folder, a model.h5, float.h5, best.h5 or "
                        "MODEL.tq.h5 file, or a checkpoint")
    parser.add_argument("--data", metavar="NAME", help="dataset (default: the one it was trained on); its samples are "
                        "prepared as the network's file says")
    parser.add_argument("--data-path", metavar="PATH",
                        help="folder (or file) that holds the dataset (default: the run's own)")
    parser.add_argument("--classes", metavar="FILE",
                        help="file with one class per line, as in training on image folders")
    parser.add_argument("--model", metavar="PATH", help="path/to/file.py:function, for a network of your own; "
                        "a weight file cannot choose which code runs")
    parser.add_argument("--loss", metavar="NAME", help="loss to measure: cross-entropy, mse, bce or path/to/file.py:"
                        "function (default: the one the network was trained with; one of your own must be named)")
    parser.add_argument("--split", default="test", metavar="PART", help="test (default), validation or train")
    parser.add_argument("--threads", metavar="N", help="threads of the kernels (default: one per core)")
    parser.add_argument("--predictions", metavar="FILE.csv", help="also write what the network says of each sample: "
                        "the five most likely classes, the numbers or the probability of each label")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
