"""Compare the files of a run folder with its ledger: configuration, checkpoints, result and plots."""
import json
from collections.abc import Callable

from tinyq.audit.ledger.digests import digest_of
from tinyq.audit.ledger.hash_chain import differing_keys
from tinyq.audit.ledger.records import UNAUDITED_FIGURES, number_of
from tinyq.audit.methods.method_table import is_known
from tinyq.audit.recording.checkpoint_record import check_state, file_of
from tinyq.audit.step.dump import STEPS, step_file
from tinyq.audit.verification import network_files
from tinyq.audit.verification.checks import check, check_description, sha256_on_disk
from tinyq.audit.verification.evidence import Evidence
from tinyq.audit.verification.spelling import check_spelling
from tinyq.errors import AuditMismatch
from tinyq.files.journal import LEDGER_FILE, read_records
from tinyq.files.read import read_file
from tinyq.methods import METHODS
from tinyq.own_code.code_names import copy_names
from tinyq.run import checkpoint
from tinyq.run.figures import curves
from tinyq.run.figures.curve_records import curve_records
from tinyq.run.observers import tensorboard
from tinyq.run.observers.tensorboard import EVENTS_FILE
from tinyq.run.phases import BACKPROP, FLOAT_PHASE
from tinyq.saved.run_folder import (
    BEST_FILE,
    CONFIG_FILE,
    FLOAT_FILE,
    METRICS_FILE,
    MODEL_FILE,
    PACKED_FILE,
    RESULT_FILE,
)

MAX_TEXT = 64 << 20                     # bytes of result.json or a plot
CHECKPOINTS, NETWORKS = "checkpoints", (FLOAT_FILE, MODEL_FILE, PACKED_FILE, BEST_FILE)


def _configuration(evidence: Evidence) -> str:
    """config.toml is the one the run began with, and the settings and phases on record follow from it."""
    begin, config = evidence.history.begin.record, evidence.config
    check(evidence.is_as_recorded, f"{CONFIG_FILE} differs from the one the run began with")
    check(evidence.begun[1] == [(record["step"], record["epochs"]) for record in evidence.history.extensions],
          f"{CONFIG_FILE} says other extensions of the run than the ledger")
    settings = evidence.settings
    differing = differing_keys(settings, begin["settings"])
    check(not differing, f"{CONFIG_FILE} and the settings on record differ in {', '.join(sorted(differing))}")
    _check_code(evidence, settings.get("code"))
    check(begin["print_freq"] == config.print_freq, f"{CONFIG_FILE} asks for another print_freq than on record")
    check(begin["audit"] == config.audit, f"{CONFIG_FILE} asks for another audit than the ledger's")
    planned = {FLOAT_PHASE: BACKPROP} if config.pretrain_epochs else {}
    planned |= {config.method: config.method}
    for record, (name, method) in zip(evidence.history.phases, planned.items(), strict=False):
        check(record["phase"] == name and _is_class_of(method, record["method"]),
              f"the phase {record['phase']} by {record['method']} is not the configured {name}")
    check(len(evidence.history.phases) <= len(planned), "more phases are on record than the configuration has")
    since = "but for the epochs, unchanged" if evidence.begun[1] else "unchanged"
    return f"{since} since the beginning; settings and phases on record follow from it"


def _is_class_of(method: str, class_name: str) -> bool:
    """Return whether a method has a class of this name; one that is unknown here has none of tinyq's."""
    if method in METHODS:
        return getattr(METHODS[method], "__name__", method) == class_name
    return not is_known(class_name)


def _check_code(evidence: Evidence, recorded: object) -> None:
    """Each copy of the user's own code, which is not run here, is the file that the run began with."""
    known = recorded if isinstance(recorded, dict) else {}
    names = list(copy_names(evidence.code).values())
    check(sorted(known) == sorted(names), f"{CONFIG_FILE} names other code than the settings on record")
    for name in names:
        check(not (evidence.run / name).is_symlink(), f"{name} is a link, not the copy that the run made")
        check(sha256_on_disk(evidence.run / name) == known[name],
              f"{name} differs from the file that the run began with")


def _files(evidence: Evidence) -> str:
    """Every file has the SHA-256 of its last record; one from before the last resume may be gone."""
    recorded = {name: record["sha256"] for name, record in evidence.history.files.items()}
    for name, sha256 in recorded.items():
        is_checkpoint = name.startswith(f"{CHECKPOINTS}/")
        check(is_checkpoint or name in NETWORKS, f"{name} is on record, but no run records such a file")
        if (evidence.run / name).is_file():
            check(sha256_on_disk(evidence.run / name) == sha256, f"{name} differs from the file on record")
        else:
            check(is_checkpoint or name not in evidence.history.since_resume, f"{name} is on record, but missing")
    for name in NETWORKS:
        check(name in recorded or not (evidence.run / name).exists(), f"{name} is not on record")
    return ", ".join(name for name in recorded if (evidence.run / name).is_file()) or "none on record"


def _checkpoints(evidence: Evidence) -> str:
    """Each checkpoint names its own record and holds the place, the states and the weights recorded there."""
    paths = sorted((evidence.run / CHECKPOINTS).glob("*"))
    for path in paths:
        check(path.suffix == ".h5", f"{CHECKPOINTS}/{path.name} is no checkpoint")
        position, states = checkpoint.load(path)
        recorded = evidence.history.checkpoints.get(position.ledger_head or "")
        if recorded is None:
            raise AuditMismatch(f"{CHECKPOINTS}/{path.name} is not on record")
        check(path == checkpoint.path_of(evidence.run / CHECKPOINTS, recorded.step),
              f"{CHECKPOINTS}/{path.name} is the checkpoint of step {recorded.step}")
        check_state(evidence.run, position, states, recorded.line)
        check_spelling(path, checkpoint.encode(position, states))
        check(_weights_digest(evidence, states["model"]) == recorded.w,
              f"{CHECKPOINTS}/{path.name} has other weights than those recorded at step {recorded.step}")
        _check_figures(evidence, recorded, path, position)
    gone = sum(file_of(evidence.run, one.line) is None for one in evidence.history.checkpoints.values())
    return f"{len(paths)} have the states on record" + (f"; {gone} more are on record without a file" if gone else "")


def _check_figures(evidence, recorded, path, position):
    """Compare the figures in a checkpoint's position with the ledger."""
    history, name = evidence.history, f"{CHECKPOINTS}/{path.name}"
    check(not differing_keys(position.made_with, {**history.begin.record["settings"], "epochs": recorded.epochs}),
          f"{name} was made with other settings")
    check_description(evidence, name, position.network, evidence.config, whole=True)
    figures = [{key: number_of(value) for key, value in record["figures"].items()} for record in history.floats
               if "figures" in record]
    expected = figures[-1] if figures and position.phase == len(history.phases) - 1 else None
    check(json.dumps(position.test_float, sort_keys=True) == json.dumps(expected, sort_keys=True),
          f"{name} has other figures of the float network than on record")
    named = {"steps": position.best_steps, "figure": position.best_figure}
    best = dict(zip(named, recorded.best or (None, None), strict=True))
    check(not differing_keys(named, best), f"{name} names another best epoch than the ledger")


def _weights_digest(evidence, state):
    phase = evidence.history.phases[-1]
    names = (*phase["tensors"], *phase["buffers"])
    return digest_of(evidence.history.begin.record["audit"], [state[name] for name in names]).root


def _result(evidence: Evidence) -> str:
    """result.json says what the ledger says, and nothing else but the time."""
    path, history = evidence.run / RESULT_FILE, evidence.history
    if not path.is_file():
        check(history.result is None, f"{RESULT_FILE} is missing")
        return ""
    data = read_file(path, MAX_TEXT)
    result = json.loads(data)
    check(data == (json.dumps(result, indent=2) + "\n").encode(), f"{RESULT_FILE} is not written as tinyq writes it")
    check(history.result is not None, f"{RESULT_FILE} is there, but the ledger has no result")
    assert history.result is not None
    figures = history.result.record["figures"]
    own = {key: result[key] for key in UNAUDITED_FIGURES if key in result}      # which no record has
    differing = sorted({*differing_keys({**figures, **own}, result), *figures.keys() & UNAUDITED_FIGURES,
                        *UNAUDITED_FIGURES - own.keys()})
    check(not differing, f"{RESULT_FILE} differs from the ledger in {', '.join(differing)}")
    check(result.get("ledger_head") == history.result.head, f"{RESULT_FILE} names another head")
    check(figures.get("weights_sha256") == evidence.end.record["weights_sha256"],
          "the recorded result is of other weights than the recorded end")
    packed = evidence.run / PACKED_FILE
    lost = PACKED_FILE in history.since_resume and not packed.is_file()         # _files says so
    size = {"bytes_packed_file": packed.stat().st_size if packed.is_file() else None}
    check(lost or not differing_keys({"bytes_packed_file": figures.get("bytes_packed_file")}, size),
          f"{PACKED_FILE} has another size than on record")
    return "its figures are those on record; replay --final measures them again"


def _plots(evidence: Evidence) -> str:
    """The plots of a finished run are those that metrics.jsonl and the last checkpoint give."""
    if evidence.history.result is None:
        return ""
    finished = evidence.finished
    expected = curves.pictures(curve_records(evidence.run),
                               {} if finished is None or finished.histograms is None else finished.histograms)
    known = {path.name for path in (evidence.run / "plots").glob("*")}
    unproved = known - expected.keys()
    for name, picture in expected.items():
        check(name in known, f"plots/{name} is missing")
        check(read_file(evidence.run / "plots" / name, MAX_TEXT) == picture.encode(), f"plots/{name} differs")
    if finished is not None and (finished.histograms is not None or not finished.state):
        check(not unproved, f"plots has {', '.join(sorted(unproved))}, which no run writes")
    drawn = [f"{', '.join(sorted(expected))} drawn again, equal"] if expected else []
    return "; ".join(drawn + ([f"replay --final draws {', '.join(sorted(unproved))}"] if unproved else []))


def _events(evidence: Evidence) -> str:
    """The events of --tensorboard are those of the records of metrics.jsonl, as far as either goes after a kill."""
    path = evidence.run / EVENTS_FILE
    if not path.exists():
        return ""
    held, made = read_file(path), tensorboard.encode(read_records(evidence.run / METRICS_FILE))
    same = held == made if evidence.history.end else held.startswith(made) or made.startswith(held)
    check(same, f"{EVENTS_FILE} differs from the events of {METRICS_FILE}")
    return f"{EVENTS_FILE} made again from {METRICS_FILE}, equal"


def _arrays(evidence: Evidence) -> str:
    """Count the steps whose arrays are in the folder, as `--audit full` keeps them."""
    steps = evidence.history.steps
    if evidence.config.audit != "full":
        return ""
    kept = sum(step_file(evidence.run, step).is_file() for step in range(1, steps + 1))
    return f"{kept} of {steps} steps have theirs in {STEPS}; replay compares them"


def _others(evidence: Evidence) -> str:
    """Name what lies in the folder and is not on record."""
    known = {CONFIG_FILE, LEDGER_FILE, METRICS_FILE, RESULT_FILE, EVENTS_FILE, ".lock", CHECKPOINTS, "plots",
             *evidence.history.files, *copy_names(evidence.code).values()}
    found = sorted(path.name for path in evidence.run.iterdir() if path.name not in known)
    return f"not on record and not verified: {', '.join(found)}" if found else ""


EXAMINATIONS: dict[str, Callable[[Evidence], str]] = {
    "configuration": _configuration, "files": _files, "checkpoints": _checkpoints,
    "float network": network_files.float_network, "model": network_files.model, "best": network_files.best,
    "packed": network_files.packed, "result": _result, "plots": _plots, "events": _events,
    "arrays": _arrays, "others": _others}
