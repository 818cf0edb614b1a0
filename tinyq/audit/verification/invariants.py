"""What must hold from record to record, method by method (METHODS.md), read off a ledger alone.

A rule is told of every phase, step and epoch in order and yields what does not hold, a line each.
"""
import math
from fractions import Fraction

import numpy as np

from tinyq.audit.ledger.digests import digest_of
from tinyq.methods.cbp.cbp_method import FAST_FROM
from tinyq.methods.rpr.partition import frozen_count, relaxed_entries
from tinyq.streams import Streams


class Rules:
    """Those of every method: steps follow each other, and an epoch's figures are the sums of its steps'."""

    def __init__(self, begin: dict, phase: dict):
        """begin: record 0; phase: the phase's own record."""
        self.begin, self.settings, self.phase = begin, begin["settings"], phase
        self.now = phase["figures"]             # the figures that the steps to come are to agree with
        self.whole = True                       # whether every step of the epoch in hand was seen
        self._forget()

    def step(self, record):
        """What does not hold of a step's record."""
        figures = record["figures"]
        objective = float.fromhex(figures["objective"])
        if not math.isfinite(objective):
            yield f"the objective is {objective}"
        if "loss" in figures:
            loss, samples = float.fromhex(figures["loss"]), figures["samples"]
            if not math.isfinite(loss) or not 0 <= figures["correct"] <= samples:
                yield f"a loss of {loss}, {figures['correct']} of {samples} right"
            self.loss, self.samples = self.loss + loss * samples, self.samples + samples
            self.correct += figures["correct"]
        self.objective, self.steps = self.objective + objective, self.steps + 1

    def epoch(self, record):
        """What does not hold of an epoch's record."""
        measured = record["measured"]
        if self.whole and self.samples and self.steps:
            for name, value in (("loss", self.loss / self.samples), ("train_objective", self.objective / self.steps)):
                if name in measured and measured[name] != value.hex():
                    yield f"{name} is {measured[name]}, the mean over its steps {value.hex()}"
            if "accuracy" in measured and measured["accuracy"] != (self.correct / self.samples).hex():
                yield "the training accuracy is not that of its steps"
        self.now, self.whole = record["figures"], True
        self._forget()

    def _same(self, record, *names):
        figures = record["figures"]
        return (f"{name} is {figures.get(name)}, was {self.now[name]}" for name in names
                if figures.get(name) != self.now[name])

    def _root(self, arrays):
        return digest_of(self.begin["digests"], arrays).root

    def _forget(self):
        self.loss = self.objective = 0.0
        self.samples = self.correct = self.steps = 0


class CBPRules(Rules):
    """The multipliers change only where the schedule fires and never fall; g grows by the rule, and only then."""

    def __init__(self, begin, phase):
        """The schedule has not fired yet."""
        super().__init__(begin, phase)
        self.previous, self.since = math.inf, 0

    def step(self, record):
        """Multipliers and g are those of the epoch's beginning; the constraint term is not negative."""
        yield from super().step(record)
        yield from self._same(record, "g", "lambda")
        figures = record["figures"]
        if float.fromhex(figures["objective"]) < float.fromhex(figures["loss"]):
            yield "the constraint term is negative"
        count = sum(math.prod(self.phase["tensors"][name]) for name in self.phase["constrained"])
        if not 0 <= figures["flips"] <= count:
            yield f"{figures['flips']} of {count} constrained weights changed their level"

    def epoch(self, record):
        """The schedule fired if and only if it was due, and did what it does."""
        before, figures, measured = self.now, record["figures"], record["measured"]
        lagrangian = float.fromhex(measured["lagrangian"])
        if self.whole and lagrangian != self.objective:
            yield f"the Lagrangian is {lagrangian}, the sum over its steps {self.objective}"
        self.since += 1
        due = lagrangian >= self.previous or self.since >= self.settings["cbp.period"]
        if measured["fired"] != due:
            yield f"the schedule {'fired' if measured['fired'] else 'did not fire'} against its rule"
        self.previous, self.since = (math.inf, 0) if measured["fired"] else (lagrangian, self.since)
        if figures["g"] != (self._after(before["g"]) if measured["fired"] else before["g"]):
            yield f"g went from {before['g']} to {figures['g']}"
        if not measured["fired"]:
            yield from self._same(record, "lambda", "lambda_sum")
        if float.fromhex(figures["lambda_sum"]) < float.fromhex(before["lambda_sum"]):
            yield "the sum of the multipliers fell"
        if float.fromhex(measured["cfs"]) < 0:
            yield "the constraint failure is negative"
        yield from self._same(record, "scales")
        yield from super().epoch(record)

    def _after(self, g):
        step, most = 1 if g < FAST_FROM else FAST_FROM, self.settings["cbp.g_max"]
        return g + step if most is None else max(g, min(g + step, most))


class RPRRules(Rules):
    """The frozen fraction never falls and ends at 1; exactly so many entries are frozen, and nothing of them moves."""

    def __init__(self, begin, phase):
        """Partitions are drawn again from the seed and held against the recorded ones."""
        super().__init__(begin, phase)
        self.streams, self.epochs = Streams(self.settings["seed"]), 0
        self.first = list(self._partition(phase["figures"]))

    def step(self, record):
        """Partition and frozen entries, moments included, are those of the epoch's beginning, bit for bit."""
        yield from self.first
        self.first = []
        yield from super().step(record)
        yield from self._same(record, "mask", "still")

    def epoch(self, record):
        """The next partition is the one that seed and epoch say."""
        before, figures = self.now, record["figures"]
        self.epochs += 1
        yield from self._same(record, "scales")
        if "fraction" not in before:
            yield "an epoch after the schedule's end"
        elif "fraction" in figures:
            if Fraction(figures["fraction"]) < Fraction(before["fraction"]):
                yield f"the frozen fraction fell from {before['fraction']} to {figures['fraction']}"
            yield from self._partition(figures)
        elif before["fraction"] != "1":
            yield f"the schedule ended at a frozen fraction of {before['fraction']}"
        yield from super().epoch(record)

    def _partition(self, figures):
        fraction, masks = Fraction(figures["fraction"]), []
        for name, frozen in zip(self.phase["constrained"], figures["frozen"], strict=True):
            shape = self.phase["tensors"][name]
            masks.append(~relaxed_entries(self.streams.key("rpr", name, self.epochs), shape, fraction))
            if frozen != frozen_count(fraction, math.prod(shape)):
                yield f"{frozen} entries of {name} are frozen at a fraction of {fraction}"
        if self._root([np.packbits(mask) for mask in masks]) != figures["mask"]:
            yield f"the partition of epoch {self.epochs} of the phase is not the one of its seed"


class CoNNTrARules(Rules):
    """The parameters visited are those of the seed; an accepted move never raises the error."""

    def __init__(self, begin, phase):
        """Picks are drawn again from the seed and held against the recorded ones."""
        super().__init__(begin, phase)
        self.streams = Streams(self.settings["seed"])
        self.total = sum(math.prod(shape) for shape in phase["tensors"].values())
        self.made, self.order = (None, 0), None

    def step(self, record):
        """The visits of a step: which, in what order, and what they did to the error."""
        yield from super().step(record)
        figures = record["figures"]
        if self.made[0] != figures["pass"]:
            self.made = figures["pass"], 0
            self.order = self.streams.key("conntra", figures["pass"]).integers(0, self.total, self.total)
        made = self.made[1]
        picks = self.order[made:made + figures["visits"]]
        self.made = figures["pass"], made + figures["visits"]
        if self.whole and self._root([picks]) != figures["picks"]:
            yield "the parameters visited are not those of the seed"
        elif self.whole and any(picks[at] != parameter for at, parameter, _, _ in figures["moves"]):
            yield "a move is of a parameter that was not visited"
        errors = [error for *_, error in figures["moves"]]
        if any(after > before for before, after in zip(errors, errors[1:], strict=False)):
            yield "a move raised the error"
        if errors and errors[-1] < figures["error"]:
            yield "the error rose after the last move"


RULES = {"CBP": CBPRules, "RPR": RPRRules, "CoNNTrA": CoNNTrARules}


def broken(lines) -> list[str]:
    """Every rule that the records of a ledger break, each with its place; [] where all hold."""
    found, rules, begin = [], None, lines[0].record
    next_step = begin["step"] + 1
    for number, line in enumerate(lines, 1):
        record, told = line.record, ()
        if line.kind == "phase":
            rules = RULES.get(record["method"], Rules)(begin, record)
            rules.whole = record["step"] == next_step - 1 and begin["step"] == 0
        elif line.kind in ("step", "epoch") and rules is None:
            told = ["comes before any phase"]
        elif line.kind == "step":
            told = list(rules.step(record))
            if record["step"] != next_step:
                told.append(f"follows step {next_step - 1}")
            next_step = record["step"] + 1
        elif line.kind == "epoch":
            told = list(rules.epoch(record))
        found += [f"line {number}, {'end of epoch, ' if line.kind == 'epoch' else ''}step {record['step']}: {what}"
                  for what in told]
    return found
