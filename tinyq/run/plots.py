"""The pictures of a run: its curves, and where the weights lie among their levels."""
import math

import numpy as np

from tinyq.files.atomic import make_folder, write_text
from tinyq.run.svg import COLOURS, Axes, Picture

BINS = 61


def write_all(folder, records: list[dict], histograms: dict) -> None:
    """Write curves.svg and levels.svg into a folder, as far as there is something to show."""
    folder = make_folder(folder)
    epochs = [r for r in records if r["record"] == "epoch"]
    if epochs:
        write_text(folder / "curves.svg", str(curves(epochs)))
    if histograms:
        write_text(folder / "levels.svg", str(level_histograms(histograms)))


def curves(epochs: list[dict]) -> Picture:
    """Loss and error over the epochs of all phases; a dashed line where a phase begins."""
    picture = Picture(900, 330)
    panels = [("loss", ["loss", "validation_loss"], 1.0), ("error, %", ["error", "validation_error"], 100.0)]
    for i, (title, names, factor) in enumerate(panels):
        lines = {name: _points(epochs, name, factor) for name in names}
        _panel(picture, 60 + 450 * i, title, {n: p for n, p in lines.items() if p}, _beginnings(epochs))
    return picture


def histogram_of(latent, level_values) -> dict:
    """What level_histograms draws of one constrained weight: its latent values in units of the scale, any shape."""
    reach = 1.5 * float(np.abs(level_values).max())
    counts, edges = np.histogram(np.clip(latent, -reach, reach), bins=BINS, range=(-reach, reach))
    return {"counts": counts, "edges": edges, "levels": level_values}


def level_histograms(histograms: dict) -> Picture:
    """One histogram a layer: latent weights in units of their scale, with a line at each level."""
    columns = min(3, len(histograms))
    rows = math.ceil(len(histograms) / columns)
    picture = Picture(40 + 290 * columns, 30 + 190 * rows)
    for i, (name, histogram) in enumerate(histograms.items()):
        counts, edges = histogram["counts"], histogram["edges"]
        axes = Axes(picture, 30 + 290 * (i % columns), 40 + 190 * (i // columns), 260, 120,
                    (edges[0], edges[-1]), (0, math.sqrt(max(counts.max(), 1))))
        for level in histogram["levels"]:
            axes.picture.line(axes.x(level), axes.top, axes.x(level), axes.top + axes.height, COLOURS[1], 0.8, "3 2")
            axes.picture.text(axes.x(level), axes.top + axes.height + 13, f"{level:g}", 9, "middle")
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
            top = axes.y(math.sqrt(count))            # square roots, or the peaks at the levels would hide the rest
            picture.bar(axes.x(left), top, axes.x(right) - axes.x(left) - 0.5, axes.y(0) - top, COLOURS[0])
        picture.text(axes.left, axes.top - 8, name)
    return picture


def _panel(picture, left, title, lines, beginnings):
    values = [y for points in lines.values() for _, y in points]
    last = max((x for points in lines.values() for x, _ in points), default=1)
    positive = [value for value in values if value > 0] or [1.0]
    axes = Axes(picture, left, 40, 370, 230, (0, last), (min(positive), max(positive)), log=True)
    axes.ticks("epoch", title)
    for start in beginnings:
        picture.line(axes.x(start), axes.top, axes.x(start), axes.top + axes.height, "#999", 1, "4 3")
    for i, (name, points) in enumerate(lines.items()):
        picture.curve([(axes.x(x), axes.y(y)) for x, y in points], COLOURS[i])
        picture.text(left + 370, 32 + 14 * i, name.replace("_", " "), 11, "end", COLOURS[i])


def _points(epochs, name, factor):
    return [(i + 1, factor * r[name]) for i, r in enumerate(epochs) if r.get(name) is not None]


def _beginnings(epochs):
    pairs = zip(epochs, epochs[1:], strict=False)
    return [i + 1 for i, (before, after) in enumerate(pairs) if before["phase"] != after["phase"]]
