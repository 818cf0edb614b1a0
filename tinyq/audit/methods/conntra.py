"""CoNNTrA in the audit: its metrics and rules, and its visits repeated by methods/README.md, section 3."""
import math
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Protocol, cast

import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.methods.method_audit import Arrays, MethodAudit, Metrics, Record, Rules
from tinyq.autodiff import Tensor
from tinyq.kernels.reference.search import visit as literal
from tinyq.kernels.search.tables import C_OUT, LOSS_UNIT, NOT_TRIED, OUTPUT, WIDE
from tinyq.levels import parse
from tinyq.streams import Streams

# Entries of the visits of a step, by name and type; `tried` has one more axis, the levels.
VISITS = {"picks": np.int64, "codes": np.uint8, "errors": np.int64, "moved": np.bool_, "tried": np.int64}


class State(Protocol):
    """Public state of CoNNTrA: the visits of the last step, the counts, and the search."""

    visited: Any
    counts: dict[str, int]
    search: Any

    def visits_per_step(self, samples: int) -> int:
        """Number of visits in a step on `samples` samples."""


class CoNNTrAMetrics(Metrics):
    """Metrics of the visits: parameters picked, error of every level tried, level chosen, and every move."""

    def step(self) -> Record:
        """Return the last error, digests of the picks and of all that the visits tried and chose, and every move.

        A move is [visit, parameter, code, error].
        """
        visits, search = self.method.visited, self.method.search
        at = np.flatnonzero(visits.moved)
        moves = np.stack([at, *(array[at] for array in (visits.picks, visits.codes, visits.errors))], 1)
        return {"objective": float(search.mean_error()).hex(), "inverse_temperature": visits.inverse_temperature.hex(),
                "pass": self.method.counts["pass"], "visits": len(visits.picks), "picks": self.root([visits.picks]),
                "visited": self.root([visits.picks, visits.tried, visits.codes, visits.errors]),
                "error": int(search.error()), "moves": moves.tolist()}

    def epoch(self) -> Record:
        """Digests of the codes and of the scales."""
        return {"codes": self.root([self.method.search.codes]), "scales": self.root([self.method.search.scales])}


class CoNNTrARules(Rules):
    """The parameters visited are those of the seed; an accepted move never raises the error."""

    def __init__(self, begin: Record, phase: Record) -> None:
        """Picks are drawn from the seed and compared with the recorded ones."""
        super().__init__(begin, phase)
        self.streams = Streams(self.settings["seed"])
        self.total = sum(math.prod(shape) for shape in phase["tensors"].values())
        self.current_pass, self.made, self.order = None, 0, np.zeros(0, np.int64)
        levels = parse(self.settings["levels"])
        self.most_levels = max(len(levels.of(name).levels) for name in phase["tensors"])

    def step(self, record: Record) -> Iterator[str]:
        """Return the violations of a step's visits: their parameters, their order, and their effect on the error."""
        yield from super().step(record)
        metrics = record["metrics"]
        if self.current_pass != metrics["pass"]:
            self.current_pass, self.made = metrics["pass"], 0
            self.order = self.streams.key("conntra", metrics["pass"]).integers(0, self.total, self.total)
        picks = self.order[self.made:self.made + metrics["visits"]]
        self.made += metrics["visits"]
        if self.root([picks]) != metrics["picks"]:
            yield "the parameters visited are not those of the seed"
        elif any(picks[at] != parameter for at, parameter, _, _ in metrics["moves"]):
            yield "a move is of a parameter that was not visited"
        if any(not 0 <= level < self.most_levels for _, _, level, _ in metrics["moves"]):
            yield "a move is to a level that no layer has"
        errors = [error for *_, error in metrics["moves"]]
        if any(after > before for before, after in zip(errors, errors[1:], strict=False)):
            yield "a move raised the error"
        if errors and errors[-1] < metrics["error"]:
            yield "the error rose after the last move"


def sweeps(captured: Captured) -> Iterator[str]:
    """Check that each visit chose as Algorithm 2, left each parameter on a level, and noted the network's error."""
    method = _state(captured)
    visits, search = method.visited, method.search
    if (np.diff(visits.errors) > 0).any():
        yield "the error rose at a visit"
    yield from choices(visits)
    changed = [np.count_nonzero(captured.before[name] != captured.after[name]) for name in captured.before]
    if sum(changed) > np.count_nonzero(visits.moved):
        yield f"{sum(changed)} parameters changed in {np.count_nonzero(visits.moved)} moves"
    for name, p in captured.model.named_parameters():
        quantizer: Any = p.parametrization
        levels = (quantizer.scale * quantizer.level_set.values.astype(p.dtype)).astype(p.dtype)
        if not np.isin(p.data, levels).all():
            yield f"{name}: a parameter is off its levels"
    if search.held is not None and len(visits.picks):
        yield from _repeated(search, visits)


def _loss_by_level(search, held, pick):
    """Return the error of every level of a parameter by the search's loss, the network run as a whole for each."""
    before, errors = held.codes[pick], np.full(len(held.levels), NOT_TRIED)
    for code in range(held.sizes[literal.column(held, pick)]):
        literal.set_code(held, pick, code)
        errors[code] = _loss(search, held)
    literal.set_code(held, pick, before)
    return errors


def _loss(search, held):
    """Return the sum of the loss over the samples in LOSS_UNIT."""
    literal.recompute(_every(held), held)
    stage, samples = held.stages[-1], len(search.targets)
    kept = held.kept_wide if stage[WIDE] else held.kept_narrow
    outputs = kept[:, stage[OUTPUT]:stage[OUTPUT] + stage[C_OUT]].transpose(0, 2, 1).reshape(-1, stage[C_OUT])
    loss = search.loss(Tensor(outputs[:samples].astype(np.float64) * search.output_scale), search.targets)
    return math.floor(loss.item() * search.loss.size(search.targets) / LOSS_UNIT + 0.5)


def _every(held):
    return np.arange(max(held.kept_narrow.shape[1], held.kept_wide.shape[1]))


def choices(visits: Any) -> Iterator[str]:
    """Check that each visit kept the last of the levels with the least error, and noted that error."""
    if not len(visits.picks):
        return
    last_least = visits.tried.shape[1] - 1 - visits.tried[:, ::-1].argmin(1)
    for k in np.flatnonzero(visits.codes != last_least)[:1]:
        yield (f"visit {k} chose level {visits.codes[k]} of errors {_errors(visits, k)}, Algorithm 2 chooses "
               f"{last_least[k]}")
    for k in np.flatnonzero(visits.errors != visits.tried.min(1))[:1]:
        yield f"the error after visit {k} is {visits.errors[k]}, of its levels' errors {_errors(visits, k)}"


def _errors(visits, k):
    """Return the errors of the levels of the parameter that a visit tried."""
    return visits.tried[k][visits.tried[k] != NOT_TRIED].tolist()


def _repeated(search, visits):
    """Repeat the last visit by Algorithm 2 to the letter: run the whole network for every level."""
    held = type(search.held)(*(np.array(a) if isinstance(a, np.ndarray) else a for a in search.held))
    error = literal.recompute(_every(held), held) if search.loss is None else _loss(search, held)
    if error != search.error():
        yield f"the error kept is {search.error()}, the network run as a whole makes {error}"
    if search.loss is None:
        codes, errors, _, tried = literal.visit(visits.picks[-1:], held)
    else:
        tried = _loss_by_level(search, held, visits.picks[-1])[None]
        codes, errors = np.flatnonzero(tried[0] == tried.min())[-1:], tried.min(1)
    if codes[0] != visits.codes[-1] or errors[0] != visits.errors[-1]:
        yield (f"the last visit left parameter {visits.picks[-1]} at level {visits.codes[-1]} with error "
               f"{visits.errors[-1]}, Algorithm 2 at {codes[0]} with {errors[0]}")
    if (tried[0] != visits.tried[-1]).any():
        yield (f"the last visit, of {visits.picks[-1]}, found its levels' errors {_errors(visits, -1)}, "
               f"the network run as a whole makes {tried[0][tried[0] != NOT_TRIED].tolist()}")


def _state(captured) -> State:
    return cast(State, captured.phase.method)


def arrays(method: State) -> Arrays:
    """The visits of the last step."""
    return {**{f"visits/{name}": getattr(method.visited, name) for name in VISITS},
            "visits/inverse_temperature": np.asarray(method.visited.inverse_temperature)}


def explain(captured: Captured, name: str, index: tuple[int, ...]) -> list[str]:
    """Describe the visits of one parameter in a step: the error of each level, and the level that was kept."""
    visits = _state(captured).visited
    before = takewhile(lambda named: named[0] != name, _state(captured).search.parameters)
    number = sum(p.size for _, p in before) + int(np.ravel_multi_index(index, captured.before[name].shape))
    lines = [f"  visit {k} of {len(visits.picks)}: errors of the levels {_errors(visits, k)}; level number "
             f"{visits.codes[k]} is kept, with error {visits.errors[k]} ({'moved' if visits.moved[k] else 'unchanged'})"
             for k in np.flatnonzero(visits.picks == number)]
    return lines or [f"  not among the {len(visits.picks)} parameters visited in this step"]


def expected_arrays(method: State, samples: int) -> Arrays:
    """Arrays in the shapes of a step's visits on this many samples."""
    visits, levels = method.visits_per_step(samples), method.search.most_levels
    return {**{f"visits/{name}": np.zeros((visits, levels) if name == "tried" else visits, kind)
               for name, kind in VISITS.items()}, "visits/inverse_temperature": np.asarray(0.0)}


AUDIT = MethodAudit(metrics=CoNNTrAMetrics, rules=CoNNTrARules, checks={"sweeps": sweeps}, arrays=arrays,
                    expected_arrays=expected_arrays, explain=explain, begin_reads_data=True)
