"""Plots of a run: loss and error curves, and histograms of the latent weights."""
import math
from pathlib import Path
from typing import TypeGuard

import numpy as np

from tinyq.files.atomic import make_folder, write_text
from tinyq.run.figures.svg import COLOURS, Axes, Picture

BINS, MAX_BINS = 61, 600       # usual number; limit where levels lie very close
REACH = 3                       # times the largest level: limit of a histogram's range
MOST = 1e30                     # largest loss or error that is drawn
# (title, figures, factor) of each picture of curves.svg; one without a figure is left out.
PANELS = (("loss", ("loss", "validation_loss"), 1.0),
          ("error, %", ("error", "validation_error", "test_error"), 100.0),
          ("mean average precision, %", ("validation_mean_average_precision", "test_mean_average_precision"), 100.0),
          ("mean squared error", ("validation_mean_squared_error", "test_mean_squared_error"), 1.0),
          ("R2", ("validation_r2", "test_r2"), 1.0))
FEW_POINTS = 12                 # up to this many points of a curve get a marker each


def write_all(folder: str | Path, records: list[dict], histograms: dict) -> None:
    """Write the pictures into a folder."""
    folder = make_folder(folder)
    for name, picture in pictures(records, histograms).items():
        write_text(folder / name, picture)


def pictures(records: list[dict], histograms: dict) -> dict[str, str]:
    """Return {file name: SVG}: curves.svg and levels.svg, each only if it has data."""
    found = {}
    epochs = [r for r in records if r.get("record") == "epoch"]
    steps = [(r["step"], r["objective"]) for r in records
             if r.get("record") == "step" and is_drawable(r.get("step")) and is_drawable(r.get("objective"))]
    if epochs:
        found["curves.svg"] = str(curves(epochs))
    elif steps:                                         # ended within its first epoch
        found["curves.svg"] = str(step_curve(steps))
    if histograms:
        found["levels.svg"] = str(level_histograms(histograms))
    return found


def curves(epochs: list[dict]) -> Picture:
    """Plot loss and figures over the epochs of all phases; a dashed line and a name mark the beginning of each."""
    found = {name for record in epochs for name in record}
    panels = [panel for panel in PANELS if found.intersection(panel[1]) or panel[0] == "loss"]
    picture = Picture(450 * len(panels), 350)
    for i, (title, names, factor) in enumerate(panels):
        lines = {name: _points(epochs, name, factor) for name in names}
        _panel(picture, 60 + 450 * i, title, {n: p for n, p in lines.items() if p}, _beginnings(epochs))
    return picture


def step_curve(points: list[tuple[int, float]]) -> Picture:
    """Plot (step, objective) of a run that ended within its first epoch."""
    picture = Picture(450, 350)
    _panel(picture, 60, "objective", {"objective": points}, [], "step")
    return picture


def histogram_of(latent: np.ndarray, level_values: np.ndarray) -> dict:
    """Histogram of one constrained weight: its latent values in units of the scale, any shape.

    The bins are centred on the levels, as far as these are multiples of their smallest gap. They reach to the furthest
    value, but no further than REACH times the largest level; `outside` counts the values beyond.
    """
    furthest = float(np.abs(level_values).max())
    reach = min(max(1.5 * furthest, float(np.abs(latent).max(initial=0))), REACH * furthest)
    gap = float(np.diff(level_values).min())
    width = max(gap / max(1, round(gap * BINS / (2 * reach))), 2 * reach / MAX_BINS)
    first, last = (round((edge - level_values[0]) / width) for edge in (-reach, reach))
    edges = level_values[0] + (np.arange(first, last + 2) - 0.5) * width
    counts, _ = np.histogram(latent, edges)
    return {"counts": counts, "edges": edges, "levels": level_values, "outside": latent.size - int(counts.sum())}


def level_histograms(histograms: dict) -> Picture:
    """Plot one histogram per layer: latent weights in units of their scale, with a dashed line at each level."""
    columns = min(3, len(histograms))
    rows = math.ceil(len(histograms) / columns)
    picture = Picture(max(40 + 310 * columns, 680), 50 + 190 * rows)
    for i, (name, histogram) in enumerate(histograms.items()):
        _histogram(picture, 50 + 310 * (i % columns), 40 + 190 * (i // columns), name, histogram)
    picture.text(50, picture.height - 14, "latent weights in units of the scale; dashed: levels; "
                                          "upwards: number of weights, on a square-root scale")
    return picture


def _histogram(picture, left, top, name, histogram):
    counts, edges = histogram["counts"], histogram["edges"]
    most = max(int(counts.max()), 1)
    # Square roots, or the peaks at the levels would hide the rest.
    axes = Axes(picture, left, top, 250, 120, (edges[0], edges[-1]), (0, 1.1 * math.sqrt(most)))
    for count in sorted({0, most // 4, most}):
        picture.text(left - 4, axes.y(math.sqrt(count)) + 3, f"{count:,}", 9, "end")
    for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
        y, width = axes.y(math.sqrt(count)), axes.x(end) - axes.x(start)
        picture.bar(axes.x(start) + 0.05 * width, y, 0.9 * width, axes.y(0) - y, COLOURS[0])
    labelled = -math.inf
    for level in histogram["levels"]:
        x = axes.x(level)
        picture.line(x, top, x, top + 120, COLOURS[1], 0.8, "3 2")
        if x - labelled > 24:                           # levels that lie close would print over each other
            picture.text(x, top + 133, f"{level:g}", 9, "middle")
            labelled = x
    outside = histogram["outside"]
    picture.text(left, top - 8, name + (f" ({outside:,} outside)" if outside else ""))


def _panel(picture, left, title, lines, phases, x_label="epoch"):
    values = [y for points in lines.values() for _, y in points] or [1.0]
    last = max((x for points in lines.values() for x, _ in points), default=1)
    log = min(values) > 0                               # a logarithmic axis has no place for a zero
    axes = Axes(picture, left, 60, 370, 230, (0, last), (min(values) if log else min(0, *values), max(*values, 0)), log)
    axes.ticks(x_label, f"{title} (log scale)" if log else title)
    for start, name in phases:
        if start:
            picture.line(axes.x(start), axes.top, axes.x(start), axes.top + axes.height, "#999", 1, "4 3")
        picture.text(axes.x(start) + 3, axes.top - 5, name, 10, colour="#777")
    for i, (name, points) in enumerate(lines.items()):
        pixels = [(axes.x(x), axes.y(y)) for x, y in points]
        picture.curve(pixels, COLOURS[i])
        if len(pixels) <= FEW_POINTS:                   # a single point makes no line
            for x, y in pixels:
                picture.dot(x, y, COLOURS[i])
        picture.text(left + 370, 26 + 14 * i, name.replace("_", " "), 11, "end", COLOURS[i])


def _points(epochs, name, factor):
    return [(i + 1, factor * r[name]) for i, r in enumerate(epochs) if is_drawable(r.get(name))]


def is_drawable(value: object) -> TypeGuard[int | float]:
    """Return True for a number; a damaged record may hold something else."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < MOST


def _beginnings(epochs):
    """Return (epochs before it, name) of each phase."""
    names = [str(r.get("phase")) for r in epochs]
    return [(i, name) for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
