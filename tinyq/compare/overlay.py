"""The curves of all runs in one picture: a colour for each group of runs that differ in their seed alone."""
import colorsys
import math
from collections.abc import Sequence

from tinyq.compare.groups import FIGURES, Group
from tinyq.compare.run_record import Run
from tinyq.run.figures.curves import is_drawable
from tinyq.run.figures.svg import COLOURS, Axes, Picture

WIDTH, PANEL, LEFT, TOP, HEIGHT = 1000, 400, 70, 74, 260        # pixels; PANEL, HEIGHT: of a frame
LINE, LETTER = 18, 5.6                  # pixels: between two lines of the key; of a letter of a phase's name
MAX_LABEL, MAX_PHASE, PHASE_ROWS = 100, 24, 3                   # characters; rows of phases' names above a frame
MAX_KEY = 60                            # groups in the key
TEST = next(figure for figure in FIGURES if figure.key == "test_error")
# (heading, key of the records, factor): the first that some run has is drawn on the right
RIGHT = (("validation error, %", "validation_error", 100.0),
         ("validation mean average precision, %", "validation_mean_average_precision", 100.0),
         ("validation mean squared error", "validation_mean_squared_error", 1.0),
         ("validation loss", "validation_loss", 1.0), ("training error, %", "error", 100.0))
GOLDEN = 0.618034                       # of a turn: hues that stay apart


def overlay(groups: Sequence[Group]) -> Picture:
    """Draw loss and error over the epochs: a thin line for each run, a thick one for the mean of a group."""
    named = min(len(groups), MAX_KEY)
    picture = Picture(WIDTH, TOP + HEIGHT + 60 + LINE * (named + 1))
    runs = [run for group in groups for run in group.runs]
    right = next((panel for panel in RIGHT if any(_points(run, panel[1]) for run in runs)), RIGHT[0])
    for i, (title, key, factor) in enumerate((("training loss", "loss", 1.0), right)):
        _panel(picture, LEFT + (WIDTH // 2 - 5) * i, title, key, factor, groups)
    _key(picture, groups[:MAX_KEY], len(groups))
    return picture


def colour_of(number: int) -> str:
    """Return the colour of a group by its number, from 1."""
    if number <= len(COLOURS):
        return COLOURS[number - 1]
    red, green, blue = colorsys.hls_to_rgb(number * GOLDEN % 1, 0.35 + 0.2 * (number % 2), 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _panel(picture: Picture, left: float, title: str, key: str, factor: float, groups: Sequence[Group]) -> None:
    lines = {group.number: [[(x, factor * y) for x, y in _points(run, key)] for run in group.runs] for group in groups}
    every = [point for found in lines.values() for points in found for point in points]
    values, last = [y for _, y in every] or [1.0], max((x for x, _ in every), default=1)
    log = min(values) > 0
    low = min(values) if log else min(0, *values)
    axes = Axes(picture, left, TOP, PANEL, HEIGHT, (0, last), (low, max(values)), log)
    axes.ticks("epoch", "")
    picture.text(left, 16, f"{title} (log scale)" if log else title, 13)
    _phases(picture, axes, groups, last)
    for group in groups:
        found, colour = [points for points in lines[group.number] if points], colour_of(group.number)
        thin = len(found) > 1
        for run, points in zip(group.runs, lines[group.number], strict=True):
            _curve(picture, axes, points, colour, 1.0 if thin else 2.0, 0.5 if thin else 1.0)
            if points and run.state != "finished":
                picture.dot(axes.x(points[-1][0]), axes.y(points[-1][1]), colour)
        if thin:
            _curve(picture, axes, _mean(found), colour, 2.4, 1.0)


def _curve(picture: Picture, axes: Axes, points: list[tuple[float, float]], colour: str, width: float,
           opacity: float) -> None:
    pixels = [(axes.x(x), axes.y(y)) for x, y in points]
    if len(pixels) == 1:                                    # makes no line
        picture.dot(*pixels[0], colour)
    picture.curve(pixels, colour, width, opacity)


def _mean(curves: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the mean of curves where all of them have a point."""
    shared = set.intersection(*({x for x, _ in points} for points in curves))
    at = [dict(points) for points in curves]
    return [(x, math.fsum(points[x] for points in at) / len(at)) for x in sorted(shared)]


def _points(run: Run, key: str) -> list[tuple[float, float]]:
    return [(record["epoch"], record[key]) for record in run.epochs
            if is_drawable(record.get("epoch")) and record["epoch"] >= 0 and is_drawable(record.get(key))]


def _phases(picture: Picture, axes: Axes, groups: Sequence[Group], last: float) -> None:
    """Mark where phases begin, and name them; names that would touch stand one above the other."""
    ends = [-math.inf] * PHASE_ROWS
    for start, names in sorted(_beginnings(groups).items()):
        if start > last:
            continue
        x, name = axes.x(start), ", ".join(dict.fromkeys(names))
        if start:
            picture.line(x, axes.top, x, axes.top + axes.height, "#999", 1, "4 3")
        row = next((i for i, end in enumerate(ends) if end < x), None)
        if row is not None:
            text = name if len(name) <= MAX_PHASE else f"{name[:MAX_PHASE]}..."
            picture.text(x + 3, axes.top - 5 - 12 * row, text, 10, colour="#666")
            ends[row] = x + 8 + LETTER * len(text)


def _beginnings(groups: Sequence[Group]) -> dict[float, list[str]]:
    """Return {epochs before it: names of the phases that begin there}."""
    found: dict[float, list[str]] = {}
    for run in (run for group in groups for run in group.runs):
        before = None
        for record in run.epochs:
            if record.get("phase") != before and is_drawable(record.get("epoch")) and record["epoch"] >= 0:
                before = record.get("phase")
                found.setdefault(max(record["epoch"] - 1, 0), []).append(str(before))
    return found


def _key(picture: Picture, groups: Sequence[Group], count: int) -> None:
    top = TOP + HEIGHT + 62
    for i, group in enumerate(groups):
        y, colour = top + LINE * i, colour_of(group.number)
        picture.line(LEFT, y - 4, LEFT + 28, y - 4, colour, 2.4)
        picture.text(LEFT + 38, y, f"{group.number}: {_described(group)}", 12)
    note = f"and {count - len(groups)} more groups; " if count > len(groups) else ""
    several = any(len(group.runs) > 1 for group in groups)
    note += "thin: each run; thick: their mean; " if several else ""
    stopped = any(run.state != "finished" for group in groups for run in group.runs)
    note += "a dot ends the curve of a run that is not finished" if stopped else ""
    picture.text(LEFT, top + LINE * len(groups), note.removesuffix("; "), 11, colour="#666")


def _described(group: Group) -> str:
    label = group.label if len(group.label) <= MAX_LABEL else f"{group.label[:MAX_LABEL]}..."
    count = len(group.runs)
    unfinished = sum(run.state != "finished" for run in group.runs)
    told = [*([f"{count} runs"] if count > 1 else []),
            *([f"{unfinished} unfinished" if count > 1 else "unfinished"] if unfinished else []),
            *([f"test error {test.shown(TEST)}"] if (test := group.spread(TEST)) else []),
            *(["no epoch yet"] if not any(run.epochs for run in group.runs) else [])]
    return f"{label}; {', '.join(told)}" if told else label
