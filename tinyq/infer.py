"""`python -m tinyq.infer`: run a packed network on images or on a dataset."""
import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinyq.command_line import Parser, add_plugin_flag, count_of, naming_flags
from tinyq.errors import BadInput, UsageError, did_you_mean, exit_code_of
from tinyq.inputs.parts import check_split
from tinyq.inputs.preparation import EXIF
from tinyq.kernels.jit.availability import numba_is_there
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import say, say_json, tell

if TYPE_CHECKING:                       # imported where they are used, for a fast --help
    from tinyq.packed.file.format import Packed
    from tinyq.packed.network import PackedNetwork

SHOWN, BATCH = 5, 100
EXAMPLES = """examples:
  python -m tinyq.infer digits.tq.h5 --data digits --activations int8
  python -m tinyq.infer resnet18.tq.h5 cat.jpg dog.png
  python -m tinyq.infer resnet18.tq.h5 photographs/
  python -m tinyq.infer resnet18.tq.h5 --bench --threads 1
  python -m tinyq.infer lenet.tq.h5 --data mnist --data-path DIR --activations int16 --calibrate"""


def infer(argv: list[str]) -> None:
    """Print what the network says of each image, or its figures on a dataset."""
    arguments = _parser().parse(argv)
    _use_plugins(arguments.plugin)
    if arguments.bench:
        _bench(arguments)
        return
    for flag in ("batch", "runs"):
        if getattr(arguments, flag) is not None:
            raise UsageError(f"--{flag} is for --bench")
    if bool(arguments.images) == (arguments.data is not None):
        raise UsageError("give either images or --data")
    if arguments.exif not in (None, *EXIF):
        raise UsageError(f"--exif {arguments.exif}: {did_you_mean(arguments.exif, EXIF)}")
    if arguments.exif and not arguments.images:
        raise UsageError("--exif is for images; data are prepared as in training")
    if arguments.calibrate is not None and arguments.activations == "float32":
        raise UsageError("--calibrate is for --activations int8 and int16")
    check_split(arguments.split)
    _use_threads(count_of("--threads", arguments.threads))
    network = _network(arguments)
    if arguments.images:
        _show_images(network, _pictures(arguments.images), arguments.json, arguments.exif)
        return
    report = _of_data(network, arguments)
    if arguments.json:
        say_json(report)
    else:
        say(_text(report))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(infer, _parser), sys.argv[1:] if argv is None else argv)


def _bench(arguments: argparse.Namespace) -> None:
    """Print latency and memory of a packed file's network beside those of its float network."""
    from tinyq.packed.file.format import KINDS
    from tinyq.packed.latency import as_lines, compare
    from tinyq.saved.packed_file import read_packed

    if arguments.images or arguments.data is not None or arguments.calibrate is not None:
        raise UsageError("--bench takes samples of its own; leave out images, --data and --calibrate")
    if arguments.activations not in KINDS:
        raise UsageError(f"--activations {arguments.activations}: {did_you_mean(arguments.activations, KINDS)}")
    if os.path.isdir(arguments.network):
        arguments.network = _file_of(arguments.network)
    if read_packed(arguments.network).ranges is None and arguments.activations != "float32":
        raise UsageError(f"{arguments.network}: packed without calibration; pack it again with --calibrate")
    kinds = KINDS if arguments.activations == "float32" else (arguments.activations,)
    report = compare(arguments.network, kinds, count_of("--batch", arguments.batch) or 1,
                     count_of("--runs", arguments.runs), count_of("--threads", arguments.threads))
    if arguments.json:
        say_json(report)
    else:
        say(*as_lines(report))


def _use_plugins(named: str | None) -> None:
    """Make the tables hold the rows of these plug-ins; without the module that adds rows there are none."""
    if named or "tinyq.run.settings.plugins" in sys.modules:
        from tinyq.run.settings import plugins

        plugins.use(named)


def _use_threads(threads: int | None) -> None:
    if not numba_is_there():                                # NumPy has threads of its own
        return
    from tinyq.run.build import use_threads

    use_threads(threads)


def _network(arguments: argparse.Namespace) -> "PackedNetwork":
    """Load the file's network."""
    from tinyq.packed.network import PackedNetwork, calibrated

    packed = _packed(arguments)
    if arguments.calibrate is not None:
        packed = calibrated(packed, _calibration(arguments, packed.meta))
    try:
        return PackedNetwork(packed, arguments.activations)
    except UsageError as error:
        from tinyq.packed.integer.lowering import NotCalibrated

        if not isinstance(error, NotCalibrated):
            raise
        raise UsageError(f"{arguments.network}: packed without calibration; pack it again with --calibrate, or infer "
                         "with --calibrate") from error
    except BadInput as error:
        raise BadInput(f"{arguments.network}: {error}") from error


def _packed(arguments: argparse.Namespace) -> "Packed":
    """Read the packed network; a model.h5, a checkpoint and a run folder without one are packed in memory."""
    from tinyq.saved.packed_file import is_packed, read_packed

    found, unreadable = False, None
    try:
        found = is_packed(arguments.network)
    except BadInput as error:
        unreadable = None if os.path.isdir(arguments.network) else error        # a run folder is not unreadable
    if found:
        return read_packed(arguments.network)
    try:
        from tinyq.run.checkpoint_network import is_unpacked, load_network
        from tinyq.saved.packing import pack_model
    except ImportError:                                     # the runtime alone reads packed networks, nothing else
        if unreadable:
            raise unreadable from None
        raise
    arguments.network = _file_of(arguments.network)
    if is_unpacked(arguments.network):
        return pack_model(*load_network(arguments.network, arguments.model))
    return read_packed(arguments.network)


def _file_of(network: str) -> str:
    """Return the file to run: of a run folder the packed network, or model.h5 where there is none."""
    from tinyq.saved.run_folder import PACKED_FILE, weights_file

    packed = Path(network) / PACKED_FILE
    return str(packed if packed.is_file() else weights_file(network))


def _calibration(arguments: argparse.Namespace, meta: dict) -> list[np.ndarray]:
    from tinyq.saved.eval_splits import calibration_batches, split_for

    name = arguments.calibrate or arguments.data or meta["data"]
    if not name:
        raise UsageError(f"--calibrate: {arguments.network} does not say which data it is for; name some, such as "
                         "--calibrate mnist")
    return calibration_batches(
        split_for(arguments.network, meta, "train", name, arguments.data_path, arguments.classes)[1])


def _of_data(network: "PackedNetwork", arguments: argparse.Namespace) -> dict:
    from tinyq.saved.eval_splits import split_for
    from tinyq.tasks.loss_choice import loss_of_file
    from tinyq.tasks.score_report import report_of
    from tinyq.tasks.scores import ClassScores, Tally

    dataset, bundle = split_for(arguments.network, network.meta, arguments.split, arguments.data or None,
                                arguments.data_path, arguments.classes)
    tally = Tally(loss_of_file({**network.meta, "class_weights": None}, bundle.num_classes,
                               {arguments.split: dataset.labels})[0], bundle.num_classes)
    for start in range(0, len(dataset), BATCH):
        x, y = dataset.batch(np.arange(start, min(start + BATCH, len(dataset))))
        tally.add(0.0, network(x), y)
    scores = tally.scores
    if isinstance(scores, ClassScores):
        figures = {"n": scores.samples, "correct": int(scores.correct.sum()), "top1": scores.accuracy}
    else:
        figures = {name: value for name, value in report_of(scores, bundle.class_names).items() if name != "loss"}
    return {"data": bundle.name, "split": arguments.split, "activations": network.activations,
            "kernels": network.executor, **figures}


def _pictures(paths: list[str]) -> list[str]:
    """Return the paths, with the pictures in and below a folder in its place; a line says what was passed over."""
    found: list[str] = []
    for path in paths:
        pictures, others = _pictures_in(path) if os.path.isdir(path) else ([path], 0)
        if others:
            tell(f"{path}: {len(pictures)} pictures; {others} other or hidden files passed over")
        found += pictures
    return found


def _pictures_in(folder: str) -> tuple[list[str], int]:
    from tinyq.data.local.pictures import pictures_in

    return pictures_in(folder)


def _show_images(network: "PackedNetwork", paths: list[str], as_json: bool, exif: str | None) -> None:
    """Print the classes of each picture; of several, name those that cannot be read and go on with the others."""
    from tinyq.data.local.table_names import holds_rows
    from tinyq.saved.image_input import Unprepared

    reports: list[dict] = []
    for path in paths:
        try:
            found = _of_rows(network, path) if holds_rows(path) else [_of_image(network, path, exif)]
        except BadInput as error:
            if len(paths) == 1 or isinstance(error, Unprepared):
                raise
            tell(f"tinyq: {error}")
            reports.append({"image": path, "error": str(error)})
            continue
        reports += found
        if not as_json:
            say(*map(_line, found))
    if as_json:
        say_json({"activations": network.activations, "kernels": network.executor, "images": reports})
    unread = sum("error" in report for report in reports)
    if unread:
        raise BadInput(f"{unread} of {len(paths)} pictures could not be read; the lines above name them")


def _of_rows(network: "PackedNetwork", path: str) -> list[dict]:
    """Report on each sample of a table or an archive of arrays, named by its number from 0."""
    from tinyq.saved.row_input import read_samples

    inputs = read_samples(path, network.meta)
    outputs = [row for start in range(0, len(inputs), BATCH) for row in network(inputs[start:start + BATCH])]
    return [_report_of(f"{path}[{k}]", row, network.meta) for k, row in enumerate(outputs)]


def _of_image(network: "PackedNetwork", path: str, exif: str | None) -> dict:
    from tinyq.saved.image_input import read_image

    return _report_of(path, network(read_image(Path(path), network.meta, exif, _say_ignored)[None])[0], network.meta)


def _report_of(path: str, logits: np.ndarray, meta: dict) -> dict:
    """Say what the outputs of one sample are: classes, numbers or labels."""
    from tinyq import kernels
    from tinyq.inputs.targets import CLASSES
    from tinyq.tasks.task import CROSS_ENTROPY, task_of

    match task_of(meta.get("loss", CROSS_ENTROPY), meta.get("targets", CLASSES)).kind:
        case "numbers":
            return {"image": str(path), "numbers": dict(zip(meta["class_names"], logits.tolist(), strict=True))}
        case "labels":
            return {"image": str(path), "labels": [
                {"label": name, "probability": share, "holds": logit > 0} for name, logit, share in zip(
                    meta["class_names"], logits.tolist(), kernels.sigmoid(logits).tolist(), strict=True)]}
    shares = np.exp((logits - logits.max()).astype(np.float64))
    shares /= shares.sum()
    order = np.argsort(-logits, kind="stable")[:SHOWN]
    return {"image": str(path), "classes": [
        {"class": meta["class_names"][i], "probability": float(shares[i])} for i in order.tolist()]}


def _say_ignored(path: Path, orientation: int) -> None:
    tell(f"{path}: its EXIF orientation {orientation} is ignored, as torchvision does; --exif apply turns it upright")


def _line(image: dict) -> str:
    """Describe an image: the likeliest classes, the numbers, or the labels with their probabilities."""
    if "numbers" in image:
        return f"{image['image']}: " + ", ".join(f"{name} {value:.6g}" for name, value in image["numbers"].items())
    if "labels" in image:
        found = sorted(image["labels"], key=lambda one: -one["probability"])
        return f"{image['image']}: " + ", ".join(f"{one['label']} {one['probability']:.1%}" for one in found)
    return f"{image['image']}: " + ", ".join(f"{c['class']} {c['probability']:.1%}" for c in image["classes"])


def _text(report: dict) -> str:
    from tinyq.tasks.task import in_words

    figures = (f"{report['top1']:.2%} of {report['n']:,} correct" if "top1" in report
               else f"{in_words(report)}, of {report['n']:,} samples")
    return (f"{report['data']}, {report['split']} part, {report['activations']} activations ({report['kernels']}): "
            + figures)


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.infer", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("network", metavar="MODEL.tq.h5", help="a packed network (python -m tinyq.pack makes one), or "
                        "a run folder, a model.h5 or a checkpoint, which is packed in memory")
    parser.add_argument("--model", metavar="PATH", help="path/to/file.py:function, for a network of your own that is "
                        "not packed")
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="image files or folders of them, or raw "
                        "samples without labels as .csv or .npz")
    parser.add_argument("--data", nargs="?", const="", metavar="NAME",
                        help="dataset to run on instead of images (default: the one the network was trained on)")
    parser.add_argument("--split", default="test", metavar="PART", help="test (default), validation or train")
    parser.add_argument("--data-path", metavar="PATH", help="folder (or file) that holds the dataset")
    parser.add_argument("--classes", metavar="FILE",
                        help="file with one class per line, as in training on image folders")
    parser.add_argument("--activations", default="float32", metavar="KIND", help="float32 (default; the same bits as "
                        "the trained network), int8 or int16 (the same bits on every processor)")
    parser.add_argument("--calibrate", nargs="?", const="", metavar="DATA", help="find the ranges for int8 and int16 "
                        "now, on the training part of the network's own data, or of DATA")
    parser.add_argument("--exif", metavar="HOW", help="EXIF orientation of photographs: ignore, as torchvision does, "
                        "or apply, which turns them upright (default: as in training)")
    parser.add_argument("--bench", action="store_true", help="measure latency and memory of the packed network beside "
                        "those of its float network")
    parser.add_argument("--batch", metavar="N", help="with --bench: samples per run (default: 1)")
    parser.add_argument("--runs", metavar="N", help="with --bench: runs of each network (default: two seconds of them)")
    parser.add_argument("--threads", metavar="N", help="threads of the kernels (default: one per core)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_flag(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
