"""The figure of an experiment: training and validation error over training (the CoNNTrA paper's figures 2, 3 and 5)."""
from experiments import LEVELS, METHODS

from tinyq.run.svg import COLOURS, Axes, Picture

WIDTH, HEIGHT, GAP = 250, 200, 70
SHARES = (("training", 1), ("validation", 2))


def figure(experiment, results):
    """The text of results/NAME.svg: one panel for each method and set, a curve for each run and part of the data."""
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
