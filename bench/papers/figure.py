"""Draw an experiment: training and test error over training (the CoNNTrA paper's figures 2, 3 and 5)."""
import statistics

from card import values_of
from experiments import LEVELS, METHODS

from tinyq.run.figures.svg import COLOURS, Axes, Picture

WIDTH, HEIGHT, GAP = 250, 200, 70
LIGHT = ("#c9dced", "#f4d0d5", "#cfe6d9")
SHARES = (("training", 1), ("test", 2))


def figure(experiment, results):
    """Draw results/NAME.svg: one panel per method and set, one curve per run and part of the data."""
    panels = {}
    for run in results.values():
        panels.setdefault((run["method"], run["levels"]), []).append(run["curve"])
    rows = sorted({method for method, _ in panels}, key=METHODS.index)
    columns = sorted({levels for _, levels in panels}, key=LEVELS.index)
    picture = Picture(max(60 + (WIDTH + GAP) * len(columns), 700), 70 + (HEIGHT + GAP) * len(rows))
    for (method, levels), curves in panels.items():
        left, top = 60 + (WIDTH + GAP) * columns.index(levels), 75 + (HEIGHT + GAP) * rows.index(method)
        _panel(picture, left, top, f"{method} to {levels}: error, %", curves)
    for i, (share, _) in enumerate(SHARES):
        picture.text(60 + 70 * i, 38, share, colour=COLOURS[i])
    picture.text(60, 20, experiment.title)
    picture.text(210, 38, "dashed: the method begins; logarithmic, from 0.1 %", colour="#777")
    return str(picture)


def comparison_figure(results):
    """Draw results/lenet-comparison.svg: one dot per seed and a bar at the mean, by set and method."""
    picture = Picture(640, 330)
    found = {(m, levels): values_of(results, m, levels, "discrete", "validation_error")
             for levels in LEVELS for m in METHODS}
    highest = max((max(values) for values in found.values() if values), default=1)
    axes = Axes(picture, 60, 60, 540, 210, (0, len(LEVELS)), (0, 1.1 * highest))
    for value in axes.y_ticks():
        picture.line(60, axes.y(value), 600, axes.y(value), "#eee")
        picture.text(55, axes.y(value) + 3, f"{value:g}", 10, "end")
    for (method, levels), values in found.items():
        i = METHODS.index(method)
        x = axes.x(LEVELS.index(levels) + 0.25 * (i + 1))
        if values:
            top = axes.y(statistics.mean(values))
            picture.bar(x - 12, top, 24, axes.y(0) - top, LIGHT[i])
        for value in values:
            picture.dot(x, axes.y(value), COLOURS[i])
    for i, levels in enumerate(LEVELS):
        picture.text(axes.x(i + 0.5), 288, levels, 11, "middle")
    for i, method in enumerate(METHODS):
        picture.text(60 + 70 * i, 38, method, colour=COLOURS[i])
    picture.text(60, 20, "LeNet on MNIST, test error, %: each seed and the mean")
    return str(picture)


def _panel(picture, left, top, title, curves):
    longest = max(len(curve) for curve in curves)
    highest = max((100 * point[at] for curve in curves for point in curve for _, at in SHARES), default=1)
    axes = Axes(picture, left, top, WIDTH, HEIGHT, (0, longest), (0.1, max(highest, 1)), log=True)
    axes.ticks("epoch or pass", title)
    for i, (_, at) in enumerate(SHARES):
        for curve in curves:
            points = [(axes.x(n + 1), axes.y(100 * point[at])) for n, point in enumerate(curve)]
            picture.curve(points, COLOURS[i])
            picture.dot(*points[-1], COLOURS[i])
    start = sum(point[0] == "float" for point in curves[0])
    picture.line(axes.x(start), top, axes.x(start), top + HEIGHT, "#999", 1, "4 3")
