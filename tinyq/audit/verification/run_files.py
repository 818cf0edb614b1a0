"""Compare the files of a run folder with its ledger: configuration, checkpoints, networks, result and plots."""
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinyq.audit.ledger.digests import digest_of
from tinyq.audit.ledger.hash_chain import LEDGER_FILE, differing_keys
from tinyq.audit.ledger.records import UNAUDITED_FIGURES, number_of
from tinyq.audit.recording.checkpoint_record import check_state, file_of
from tinyq.audit.step.dump import STEPS, step_file
from tinyq.audit.verification.evidence import Evidence
from tinyq.audit.verification.spelling import check_spelling
from tinyq.errors import AuditMismatch
from tinyq.files import hdf5
from tinyq.files import weights as weight_files
from tinyq.files.journal import read_records
from tinyq.files.read import read_file, sha256_of
from tinyq.files.weights import weights_sha256
from tinyq.methods import METHODS
from tinyq.models import names_code
from tinyq.packed.file import format as packed_format
from tinyq.run import checkpoint
from tinyq.run.figures import curves
from tinyq.run.phases import BACKPROP, FLOAT_PHASE, config_after
from tinyq.saved import model_file
from tinyq.saved.attributes import shape_of
from tinyq.saved.run_folder import (
    BEST_FILE,
    CONFIG_FILE,
    FLOAT_FILE,
    METRICS_FILE,
    MODEL_FILE,
    PACKED_FILE,
    RESULT_FILE,
    network_copy,
)

MAX_TEXT = 64 << 20                     # bytes of result.json or a plot
CHECKPOINTS, NETWORKS = "checkpoints", (FLOAT_FILE, MODEL_FILE, PACKED_FILE, BEST_FILE)


def _configuration(evidence: Evidence) -> str:
    """config.toml is the one the run began with, and the settings and phases on record follow from it."""
    begin, config = evidence.history.begin.record, evidence.config
    _check(hashlib.sha256(evidence.begun[0].encode()).hexdigest() == begin["config_sha256"],
           f"{CONFIG_FILE} differs from the one the run began with")
    _check(evidence.begun[1] == [(record["step"], record["epochs"]) for record in evidence.history.extensions],
           f"{CONFIG_FILE} says other extensions of the run than the ledger")
    settings = evidence.settings
    differing = differing_keys(settings, begin["settings"])
    _check(not differing, f"{CONFIG_FILE} and the settings on record differ in {', '.join(sorted(differing))}")
    if names_code(config.model):                            # the user's own network, which is not run here
        network = Path(network_copy(evidence.run, config.model).rpartition(":")[0])
        _check(_sha256(network) == settings.get("model_sha256"),
               f"{network.name} differs from the network that the run began with")
    _check(begin["print_freq"] == config.print_freq, f"{CONFIG_FILE} asks for another print_freq than on record")
    _check(begin["audit"] == config.audit, f"{CONFIG_FILE} asks for another audit than the ledger's")
    planned = {FLOAT_PHASE: METHODS[BACKPROP]} if config.pretrain_epochs else {}
    planned |= {config.method: METHODS[config.method]}
    for record, (name, method) in zip(evidence.history.phases, planned.items(), strict=False):
        _check((record["phase"], record["method"]) == (name, getattr(method, "__name__", name)),
               f"the phase {record['phase']} by {record['method']} is not the configured {name}")
    _check(len(evidence.history.phases) <= len(planned), "more phases are on record than the configuration has")
    since = "but for the epochs, unchanged" if evidence.begun[1] else "unchanged"
    return f"{since} since the beginning; settings and phases on record follow from it"


def _files(evidence: Evidence) -> str:
    """Every file has the SHA-256 of its last record; one from before the last resume may be gone."""
    recorded = {name: record["sha256"] for name, record in evidence.history.files.items()}
    for name, sha256 in recorded.items():
        is_checkpoint = name.startswith(f"{CHECKPOINTS}/")
        _check(is_checkpoint or name in NETWORKS, f"{name} is on record, but no run records such a file")
        if (evidence.run / name).is_file():
            _check(_sha256(evidence.run / name) == sha256, f"{name} differs from the file on record")
        else:
            _check(is_checkpoint or name not in evidence.history.since_resume, f"{name} is on record, but missing")
    for name in NETWORKS:
        _check(name in recorded or not (evidence.run / name).exists(), f"{name} is not on record")
    return ", ".join(name for name in recorded if (evidence.run / name).is_file()) or "none on record"


def _checkpoints(evidence: Evidence) -> str:
    """Each checkpoint names its own record and holds the place, the states and the weights recorded there."""
    paths = sorted((evidence.run / CHECKPOINTS).glob("*"))
    for path in paths:
        _check(path.suffix == ".h5", f"{CHECKPOINTS}/{path.name} is no checkpoint")
        position, states = checkpoint.load(path)
        recorded = evidence.history.checkpoints.get(position.ledger_head or "")
        if recorded is None:
            raise AuditMismatch(f"{CHECKPOINTS}/{path.name} is not on record")
        _check(path == checkpoint.path_of(evidence.run / CHECKPOINTS, recorded.step),
               f"{CHECKPOINTS}/{path.name} is the checkpoint of step {recorded.step}")
        check_state(evidence.run, position, states, recorded.line)
        check_spelling(path, checkpoint.encode(position, states))
        _check(_weights_digest(evidence, states["model"]) == recorded.w,
               f"{CHECKPOINTS}/{path.name} has other weights than those recorded at step {recorded.step}")
        _check_figures(evidence, recorded, path, position)
    gone = sum(file_of(evidence.run, one.line) is None for one in evidence.history.checkpoints.values())
    return f"{len(paths)} have the states on record" + (f"; {gone} more are on record without a file" if gone else "")


def _check_figures(evidence, recorded, path, position):
    """Compare the figures in a checkpoint's position with the ledger."""
    history, name = evidence.history, f"{CHECKPOINTS}/{path.name}"
    _check(not differing_keys(position.made_with, {**history.begin.record["settings"], "epochs": recorded.epochs}),
           f"{name} was made with other settings")
    _check_description(evidence, name, position.network, evidence.config, whole=True)
    accuracies = [number_of(record["test_accuracy"]) for record in history.floats if "test_accuracy" in record]
    expected = accuracies[-1] if accuracies and position.phase == len(history.phases) - 1 else None
    _check(json.dumps(position.test_accuracy_float) == json.dumps(expected),
           f"{name} has another accuracy of the float network than on record")
    named = {"steps": position.best_steps, "accuracy": position.best_accuracy}
    best = dict(zip(named, recorded.best or (None, None), strict=True))
    _check(not differing_keys(named, best), f"{name} names another best epoch than the ledger")


def _weights_digest(evidence, state):
    phase = evidence.history.phases[-1]
    names = (*phase["tensors"], *phase["buffers"])
    return digest_of(evidence.history.begin.record["audit"], [state[name] for name in names]).root


def _float_network(evidence: Evidence) -> str:
    """float.h5 has the weights recorded before the last phase."""
    if not (evidence.run / FLOAT_FILE).is_file():
        return ""
    _check(bool(evidence.history.floats), f"{FLOAT_FILE} is there, but no float network is on record")
    held = weight_files.read(evidence.run / FLOAT_FILE)
    check_spelling(evidence.run / FLOAT_FILE, weight_files.encode(held))
    _check(weights_sha256(held.state) == evidence.history.floats[-1]["weights_sha256"],
           f"{FLOAT_FILE} has other weights than those recorded before the last phase")
    _check_description(evidence, FLOAT_FILE, held.attributes, config_after(evidence.config, FLOAT_PHASE))
    return "has the weights on record"


def _model(evidence: Evidence) -> str:
    """model.h5 holds the network that `finish` makes of the last checkpoint, with its weights on their levels."""
    history = evidence.history
    if history.end is None:
        _check(not (evidence.run / MODEL_FILE).exists(), f"{MODEL_FILE} is there, but the ledger has no end")
        return "missing, because the run is not finished"
    attributes, end = evidence.attributes, history.end.record
    _check(attributes.get("ledger_head") == history.end.head, f"{MODEL_FILE} does not name this ledger's end")
    phase = history.phases[-1]
    _check_description(evidence, MODEL_FILE, attributes, config_after(evidence.config, phase["phase"]))
    held = weight_files.read(evidence.run / MODEL_FILE)     # builds no network: its code would have to be trusted
    check_spelling(evidence.run / MODEL_FILE, weight_files.encode(held))
    shapes = {name: list(array.shape) for name, array in held.state.items()}
    _check(shapes == {**phase["tensors"], **phase["buffers"]}, f"{MODEL_FILE} has other tensors than the run did")
    _check(weights_sha256(held.state) == end["weights_sha256"],
           f"{MODEL_FILE} has other weights than those recorded at the end")
    _check(set(held.scales) == set(phase["constrained"]), f"{MODEL_FILE} constrains other weights than the run did")
    on_levels = sum(held.state[name].size for name in held.scales)
    derived = _check_derived(evidence, held)
    return (f"names this ledger's end; {on_levels:,} constrained weights equal scale * level bit for bit; {derived}")


def _check_description(evidence, name, attributes, config, whole=False):
    """Check the attributes that follow from the configuration and the data on record; whole: there are no others."""
    data = evidence.history.begin.record["data"]
    described = model_file.description(config, shape_of(attributes), data["class_names"], data)
    differing = [key for key in differing_keys(described, attributes) if whole or key in described]
    _check(not differing, f"{name} says another {', '.join(differing)} than the ledger and {CONFIG_FILE}")


def _check_derived(evidence, held):
    finished = evidence.finished
    if finished is None:
        why = "the last checkpoint is gone" if evidence.last_state is None else "its network is code: --trust"
        return f"replay --final derives it ({why})"
    _check(weights_sha256(finished.state) == evidence.end.record["weights_sha256"],
           "the recorded end differs from what the method makes of the last checkpoint")
    _check_scales_and_levels(MODEL_FILE, held, finished)
    return "it is what the method makes of the last checkpoint"


def _check_scales_and_levels(name, held, finished):
    for what, found, derived in (("scales", held.scales, finished.scales), ("levels", held.levels, finished.levels)):
        if derived is not None:
            other = [tensor for tensor in derived if not np.array_equal(derived[tensor], found.get(tensor))]
            _check(not other, f"{name} has other {what} than its checkpoint: {', '.join(other[:3])}")


def _best(evidence: Evidence) -> str:
    """best.h5 holds the network that `finish` makes of the best epoch's checkpoint, and names that epoch."""
    path, history = evidence.run / BEST_FILE, evidence.history
    if not path.is_file():
        return ""
    held = weight_files.read(path)
    check_spelling(path, weight_files.encode(held))
    _check(held.attributes.get("ledger_head") == evidence.end.head, f"{BEST_FILE} does not name this ledger's end")
    _check_description(evidence, BEST_FILE, held.attributes, config_after(evidence.config, history.phases[-1]["phase"]))
    best = history.at_end.best if history.at_end else None
    steps, accuracy = best or (None, None)
    number = next((record["epoch"] for record in history.epochs if record["step"] == steps), None)
    facts = {key: held.attributes.get(key) for key in ("epoch", "validation_accuracy")}
    _check(not differing_keys(facts, {"epoch": number, "validation_accuracy": accuracy}),
           f"{BEST_FILE} names another best epoch than the ledger")
    finished = evidence.finished_at(steps)
    if finished is None:
        return f"of epoch {number}; replay --final derives it, if its checkpoint is there"
    _check(weights_sha256(finished.state) == weights_sha256(held.state),
           f"{BEST_FILE} has other weights than the checkpoint of epoch {number}")
    _check_scales_and_levels(BEST_FILE, held, finished)
    return (f"of epoch {number}, with the best validation accuracy on record; it is what the method makes of its "
            "checkpoint")


def _packed(evidence: Evidence) -> str:
    """The packed file names the ledger's end and decodes to the weights of model.h5; `replay --final` packs again."""
    if not (evidence.run / PACKED_FILE).is_file():
        return ""
    packed = packed_format.read(evidence.run / PACKED_FILE)
    check_spelling(evidence.run / PACKED_FILE, packed_format.encode(packed))
    _check(packed.meta.get("ledger_head") == evidence.end.head, f"{PACKED_FILE} does not name this ledger's end")
    with hdf5.Reader(evidence.run / MODEL_FILE) as file:
        specs = file.specs()
        names = [name for name, t in packed.tensors.items() if t.levels is not None and f"{name}/weight" in specs]
        weights = file.read({f"{name}/weight": specs[f"{name}/weight"] for name in names}, allow_extra=True)
    other = [name for name in names if not np.array_equal(packed.tensors[name].effective(), weights[f"{name}/weight"])]
    _check(not other, f"{PACKED_FILE} has other weights than {MODEL_FILE}: {', '.join(other)}")
    return (f"names this ledger's end; the weights of {len(names)} layers equal those of {MODEL_FILE}; "
            "replay --final compares the rest")


def _result(evidence: Evidence) -> str:
    """result.json says what the ledger says, and nothing else but the time."""
    path, history = evidence.run / RESULT_FILE, evidence.history
    if not path.is_file():
        _check(history.result is None, f"{RESULT_FILE} is missing")
        return ""
    data = read_file(path, MAX_TEXT)
    result = json.loads(data)
    _check(data == (json.dumps(result, indent=2) + "\n").encode(), f"{RESULT_FILE} is not written as tinyq writes it")
    _check(history.result is not None, f"{RESULT_FILE} is there, but the ledger has no result")
    assert history.result is not None
    figures = history.result.record["figures"]
    own = {key: result[key] for key in UNAUDITED_FIGURES if key in result}      # which no record has
    differing = sorted({*differing_keys({**figures, **own}, result), *figures.keys() & UNAUDITED_FIGURES,
                        *UNAUDITED_FIGURES - own.keys()})
    _check(not differing, f"{RESULT_FILE} differs from the ledger in {', '.join(differing)}")
    _check(result.get("ledger_head") == history.result.head, f"{RESULT_FILE} names another head")
    _check(figures.get("weights_sha256") == evidence.end.record["weights_sha256"],
           "the recorded result is of other weights than the recorded end")
    packed = evidence.run / PACKED_FILE
    _check(figures.get("bytes_packed_file") == (packed.stat().st_size if packed.is_file() else None),
           f"{PACKED_FILE} has another size than on record")
    return "its figures are those on record; replay --final measures them again"


def _plots(evidence: Evidence) -> str:
    """The plots of a finished run are those that metrics.jsonl and the last checkpoint give."""
    if evidence.history.result is None:
        return ""
    finished = evidence.finished
    expected = curves.pictures(read_records(evidence.run / METRICS_FILE),
                               {} if finished is None or finished.histograms is None else finished.histograms)
    known = {path.name for path in (evidence.run / "plots").glob("*")}
    unproved = known - expected.keys()
    for name, picture in expected.items():
        _check(name in known, f"plots/{name} is missing")
        _check(read_file(evidence.run / "plots" / name, MAX_TEXT) == picture.encode(), f"plots/{name} differs")
    if finished is not None and (finished.histograms is not None or not finished.state):
        _check(not unproved, f"plots has {', '.join(sorted(unproved))}, which no run writes")
    return ", ".join(sorted(expected)) + " drawn again, equal" + (
        f"; replay --final draws {', '.join(sorted(unproved))}" if unproved else "")


def _arrays(evidence: Evidence) -> str:
    """Count the steps whose arrays are in the folder, as `--audit full` keeps them."""
    steps = evidence.history.steps
    if evidence.config.audit != "full":
        return ""
    kept = sum(step_file(evidence.run, step).is_file() for step in range(1, steps + 1))
    return f"{kept} of {steps} steps have theirs in {STEPS}; replay compares them"


def _others(evidence: Evidence) -> str:
    """Name what lies in the folder and is not on record."""
    network = {Path(evidence.config.model.rpartition(":")[0]).name} if names_code(evidence.config.model) else set()
    known = {CONFIG_FILE, LEDGER_FILE, METRICS_FILE, RESULT_FILE, ".lock", CHECKPOINTS, "plots",
             *evidence.history.files, *network}
    found = sorted(path.name for path in evidence.run.iterdir() if path.name not in known)
    return f"not on record and not verified: {', '.join(found)}" if found else ""


def _check(condition: bool, fault: str) -> None:
    if not condition:
        raise AuditMismatch(fault)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise AuditMismatch(f"{path.name}: cannot be read ({error.strerror})") from error


EXAMINATIONS: dict[str, Callable[[Evidence], str]] = {
    "configuration": _configuration, "files": _files, "checkpoints": _checkpoints, "float network": _float_network,
    "model": _model, "best": _best, "packed": _packed, "result": _result, "plots": _plots,
    "arrays": _arrays, "others": _others}
