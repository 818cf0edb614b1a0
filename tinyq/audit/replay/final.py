"""Repeat the end of a run from its last checkpoint and the data: network, accuracies, packed file, plots."""
import dataclasses

import numpy as np

from tinyq.audit.ledger.hash_chain import differing_keys, plain
from tinyq.audit.ledger.records import UNAUDITED_FIGURES
from tinyq.audit.replay.comparison import Comparison
from tinyq.audit.replay.replay import Stretch, expected_records
from tinyq.audit.replay.rerun import Source, check_input_shape, rerun
from tinyq.audit.verification.spelling import check_spelling
from tinyq.errors import AuditMismatch, UsageError
from tinyq.files import weights as weight_files
from tinyq.files.read import read_file
from tinyq.files.weights import Weights, weights_sha256
from tinyq.packed.file import format as packed_files
from tinyq.run import result
from tinyq.run.build import Job
from tinyq.run.checkpoint import Position
from tinyq.run.figures import curves
from tinyq.run.figures.curve_records import curve_records
from tinyq.run.finish import best_weights, finished_packed, finished_weights
from tinyq.run.loop import Loop
from tinyq.run.observers import float_baseline
from tinyq.run.observers.observer import Observer
from tinyq.saved.run_folder import BEST_FILE, FLOAT_FILE, MODEL_FILE, PACKED_FILE
from tinyq.tasks.task import FIGURE_NAMES, SPLITS, figure_text, shown_of

NOT_REPEATED = (*UNAUDITED_FIGURES, "bytes_packed_file")        # verify compares the file's size


def replay_final(source: Source) -> list[str]:
    """Repeat the end and compare it with the ledger and the files; return the results, one line each.

    UsageError for a run without a result; AuditMismatch for the first difference.
    """
    history = source.history
    if history.end is None or history.result is None:
        raise UsageError(f"{source.folder}: the run is not finished; --final needs a finished one")
    job, position = _at_the_end(source)
    histograms, moved = result.histograms(job.model), result.distance_from_levels(job.model)
    job.phases[position.phase].method.finish()
    weights = finished_weights(job, position)
    weights.attributes["ledger_head"] = history.end.head
    if weights_sha256(weights.state) != history.end.record["weights_sha256"]:
        raise AuditMismatch("the recorded end differs from what the method makes of the last checkpoint")
    figures, packed = result.outcome(job, position, weights, moved), _packed(source, job, weights)
    _compare_figures(history.result.record["figures"], figures)
    _compare_weights(source, MODEL_FILE, weights)
    floats = [*_best(source, job, position), *_float(source, job)]
    _compare_plots(source, histograms)
    named = [(layout.replace("_", " ").format(FIGURE_NAMES[name]), name, figures[layout.format(name)])
             for layout, _ in SPLITS for name in shown_of(figures, layout)]
    measured = ", ".join(f"{what} {figure_text(name, figure)}" for what, name, figure in named if figure is not None)
    return [f"end: the network of {MODEL_FILE} was made again, equal in every bit, attribute and probe",
            f"figures: {measured}: measured again, equal", *floats, *packed, "plots: drawn again, equal"]


def _at_the_end(source: Source) -> tuple[Job, Position]:
    """Return the job and the position at the last step, the method not yet finished."""
    history, start = source.history, source.starts[-1]
    expected = expected_records(source, Stretch(start, (), history.steps, True))
    comparison = Comparison(history.begin.record["audit"], expected, set(), None)
    if comparison.is_done:
        job, (position, states) = source.job(), source.states(start)
        check_input_shape(source, job, position)
        Loop(job, position, Observer()).begin(job.phases[position.phase], states)
        return job, position
    position = rerun(source, start, comparison)
    return comparison.job, position


def _compare_figures(recorded: dict, found: dict) -> None:
    made = plain(found)
    assert isinstance(made, dict)
    differing = [f"{key} is {made.get(key)}, on record {recorded.get(key)}" for key in differing_keys(recorded, made)
                 if key not in NOT_REPEATED]
    if differing:
        raise AuditMismatch(f"the recorded result differs from that of the network: {'; '.join(differing)}")


def _best(source: Source, job: Job, position: Position) -> list[str]:
    """Make best.h5 again from the checkpoint of the best epoch, where there is one."""
    if not (source.folder / BEST_FILE).is_file():
        return []
    assert source.history.end is not None
    steps, figure = source.history.at_end and source.history.at_end.best or (None, None)
    made = best_weights(job, source.folder, dataclasses.replace(position, best_steps=steps, best_figure=figure))
    if made is None:
        raise AuditMismatch(f"{BEST_FILE} is there, but the run has no best epoch")
    made.attributes["ledger_head"] = source.history.end.head
    _compare_weights(source, BEST_FILE, made)
    return [f"best: {BEST_FILE} was made again from its checkpoint, equal in every bit, attribute and probe"]


def _float(source: Source, job: Job) -> list[str]:
    """Make float.h5 again from its own weights, where there is one; they must be those on record."""
    if not (source.folder / FLOAT_FILE).is_file() or not source.history.floats:
        return []
    state = weight_files.read(source.folder / FLOAT_FILE).state
    if weights_sha256(state) != source.history.floats[-1]["weights_sha256"]:
        raise AuditMismatch(f"{FLOAT_FILE} has other weights than those recorded before the last phase")
    model = job.new_model()
    model.load_state_dict(state, source=FLOAT_FILE)
    _compare_weights(source, FLOAT_FILE, float_baseline.weights_of(dataclasses.replace(job, model=model)))
    return [f"float network: {FLOAT_FILE} was made again from its weights, equal in every attribute and probe"]


def _compare_weights(source: Source, file: str, made: Weights) -> None:
    held = weight_files.read(source.folder / file)
    for name in ("state", "scales", "levels"):
        _compare_arrays(f"{file}: {name}", getattr(held, name), getattr(made, name))
    _compare_arrays(f"{file}: probe", {"inputs": held.probe_inputs, "logits": held.probe_logits},
                    {"inputs": made.probe_inputs, "logits": made.probe_logits})
    added = ("format", "weights_sha256", "layer_names")         # by the writer
    differing = [key for key in differing_keys(held.attributes, made.attributes) if key not in added]
    if differing:
        raise AuditMismatch(f"{file}: {', '.join(sorted(differing))} differ from the run")
    check_spelling(source.folder / file, weight_files.encode(made))


def _packed(source: Source, job: Job, weights: Weights) -> list[str]:
    """Pack the network again and compare the file, where there is one."""
    path = source.folder / PACKED_FILE
    if not path.is_file():
        return [f"packed: there is no {PACKED_FILE}"] if weights.levels else []
    held, made = packed_files.read(path), finished_packed(job, weights)
    _compare_arrays(PACKED_FILE, held.payload(), made.payload())
    check_spelling(path, packed_files.encode(made))
    return [f"packed: {PACKED_FILE} was packed again, equal in every array and figure"]


def _compare_plots(source: Source, histograms: dict) -> None:
    expected = curves.pictures(curve_records(source.folder), histograms)
    made = {name: picture.encode() for name, picture in expected.items()}
    found = {path.name: read_file(path) if path.is_file() else b"" for path in (source.folder / "plots").glob("*")}
    differing = [name for name in {**made, **found} if made.get(name) != found.get(name)]
    if differing:
        raise AuditMismatch(f"plots: {', '.join(differing)} differ from those that the run draws")


def _compare_arrays(what: str, held: dict, made: dict) -> None:
    differing = [name for name in {**held, **made} if not _equal(held.get(name), made.get(name))]
    if differing:
        raise AuditMismatch(f"{what} {', '.join(differing[:3])} differ from the repeated ones")


def _equal(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    if a is None or b is None:
        return a is b
    return (a.shape, a.dtype) == (b.shape, b.dtype) and np.array_equal(a.view(np.uint8) if a.ndim else a,
                                                                       b.view(np.uint8) if b.ndim else b)
