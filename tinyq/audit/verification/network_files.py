"""Compare the networks in a run folder with its ledger: float.h5, model.h5, best.h5 and model.tq.h5."""
from collections.abc import Mapping

import numpy as np

from tinyq.audit.ledger.hash_chain import differing_keys
from tinyq.audit.methods.method_table import audit_of
from tinyq.audit.verification.checks import check, check_description
from tinyq.audit.verification.evidence import Evidence
from tinyq.audit.verification.spelling import check_spelling
from tinyq.files import hdf5
from tinyq.files import weights as weight_files
from tinyq.files.weights import weights_sha256
from tinyq.levels import parse
from tinyq.packed.file import format as packed_format
from tinyq.run.phases import FLOAT_PHASE, config_after, takes_levels
from tinyq.saved.run_folder import (
    BEST_FILE,
    CONFIG_FILE,
    FLOAT_FILE,
    MODEL_FILE,
    PACKED_FILE,
)
from tinyq.tasks.task import FIGURE_NAMES


def float_network(evidence: Evidence) -> str:
    """float.h5 has the weights recorded before the last phase."""
    if not (evidence.run / FLOAT_FILE).is_file():
        return ""
    check(bool(evidence.history.floats), f"{FLOAT_FILE} is there, but no float network is on record")
    held = weight_files.read(evidence.run / FLOAT_FILE)
    check_spelling(evidence.run / FLOAT_FILE, weight_files.encode(held))
    check(weights_sha256(held.state) == evidence.history.floats[-1]["weights_sha256"],
          f"{FLOAT_FILE} has other weights than those recorded before the last phase")
    check_description(evidence, FLOAT_FILE, held.attributes, config_after(evidence.config, FLOAT_PHASE))
    return "has the weights on record"


def model(evidence: Evidence) -> str:
    """model.h5 holds the network that `finish` makes of the last checkpoint, with its weights on their levels."""
    history = evidence.history
    if history.end is None:
        check(not (evidence.run / MODEL_FILE).exists(), f"{MODEL_FILE} is there, but the ledger has no end")
        return "missing, because the run is not finished"
    attributes, end = evidence.attributes, history.end.record
    check(attributes.get("ledger_head") == history.end.head, f"{MODEL_FILE} does not name this ledger's end")
    phase = history.phases[-1]
    check_description(evidence, MODEL_FILE, attributes, config_after(evidence.config, phase["phase"]))
    held = weight_files.read(evidence.run / MODEL_FILE)     # builds no network: its code would have to be trusted
    check_spelling(evidence.run / MODEL_FILE, weight_files.encode(held))
    shapes = {name: list(array.shape) for name, array in held.state.items()}
    check(shapes == {**phase["tensors"], **phase["buffers"]}, f"{MODEL_FILE} has other tensors than the run did")
    check(weights_sha256(held.state) == end["weights_sha256"],
          f"{MODEL_FILE} has other weights than those recorded at the end")
    check(set(held.scales) == set(phase["constrained"]), f"{MODEL_FILE} constrains other weights than the run did")
    check_sets(evidence, MODEL_FILE, held.levels)
    on_levels = sum(held.state[name].size for name in held.scales)
    derived = _check_derived(evidence, held)
    return (f"names this ledger's end; {on_levels:,} constrained weights equal scale * level bit for bit; {derived}")


def _check_derived(evidence, held):
    finished = evidence.finished
    if finished is None:
        why = "the last checkpoint is gone" if evidence.last_state is None else "the run has code of its own: --trust"
        return f"replay --final derives it ({why})"
    check(weights_sha256(finished.state) == evidence.end.record["weights_sha256"],
          "the recorded end differs from what the method makes of the last checkpoint")
    _check_scales_and_levels(MODEL_FILE, held, finished)
    return "it is what the method makes of the last checkpoint"


def check_sets(evidence: Evidence, file: str, levels: Mapping[str, np.ndarray]) -> None:
    """Check that each tensor's levels are those that the configuration gives to its layer, or learned from them.

    A method or a level set of a plug-in that does not run here is passed over.
    """
    if not levels or evidence.lacks_plugins or not takes_levels(evidence.config.method):
        return
    configured = parse(evidence.config.levels or "")
    fits = audit_of(evidence.history.phases[-1]["method"]).levels
    other = [name for name, values in levels.items() if not fits(configured.of(name), values)]
    check(not other, f"{file} has other levels than {CONFIG_FILE} gives: {', '.join(other[:3])}")


def _check_scales_and_levels(name, held, finished):
    for what, found, derived in (("scales", held.scales, finished.scales), ("levels", held.levels, finished.levels)):
        if derived is not None:
            other = [tensor for tensor in derived if not np.array_equal(derived[tensor], found.get(tensor))]
            check(not other, f"{name} has other {what} than its checkpoint: {', '.join(other[:3])}")


def best(evidence: Evidence) -> str:
    """best.h5 holds the network that `finish` makes of the best epoch's checkpoint, and names that epoch."""
    path, history = evidence.run / BEST_FILE, evidence.history
    if not path.is_file():
        return ""
    held = weight_files.read(path)
    check_spelling(path, weight_files.encode(held))
    check(held.attributes.get("ledger_head") == evidence.end.head, f"{BEST_FILE} does not name this ledger's end")
    check_description(evidence, BEST_FILE, held.attributes, config_after(evidence.config, history.phases[-1]["phase"]))
    best = history.at_end.best if history.at_end else None
    steps, figure = best or (None, None)
    key = f"validation_{history.task.best}"
    number = next((record["epoch"] for record in history.epochs if record["step"] == steps), None)
    facts = {key: held.attributes.get(key) for key in ("epoch", key)}
    check(not differing_keys(facts, {"epoch": number, key: figure}),
          f"{BEST_FILE} names another best epoch than the ledger")
    check_sets(evidence, BEST_FILE, held.levels)
    finished = evidence.finished_at(steps)
    if finished is None:
        return f"of epoch {number}; replay --final derives it, if its checkpoint is there"
    check(weights_sha256(finished.state) == weights_sha256(held.state),
          f"{BEST_FILE} has other weights than the checkpoint of epoch {number}")
    _check_scales_and_levels(BEST_FILE, held, finished)
    return (f"of epoch {number}, with the best validation {FIGURE_NAMES[history.task.best]} on record; it is what the "
            "method makes of its checkpoint")


def packed(evidence: Evidence) -> str:
    """The packed file names the ledger's end and decodes to the weights of model.h5; `replay --final` packs again."""
    if not (evidence.run / PACKED_FILE).is_file():
        return ""
    packed = packed_format.read(evidence.run / PACKED_FILE)
    check_spelling(evidence.run / PACKED_FILE, packed_format.encode(packed))
    check(packed.meta.get("ledger_head") == evidence.end.head, f"{PACKED_FILE} does not name this ledger's end")
    with hdf5.Reader(evidence.run / MODEL_FILE) as file:
        specs = file.specs()
        names = [name for name, t in packed.tensors.items() if t.levels is not None and f"{name}/weight" in specs]
        weights = file.read({f"{name}/weight": specs[f"{name}/weight"] for name in names}, allow_extra=True)
    other = [name for name in names if not np.array_equal(packed.tensors[name].effective(), weights[f"{name}/weight"])]
    check(not other, f"{PACKED_FILE} has other weights than {MODEL_FILE}: {', '.join(other)}")
    check_sets(evidence, PACKED_FILE, {f"{name}.weight": levels for name in names
                                       if (levels := packed.tensors[name].levels) is not None})
    return (f"names this ledger's end; the weights of {len(names)} layers equal those of {MODEL_FILE}; "
            "replay --final compares the rest")
