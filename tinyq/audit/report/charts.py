"""Curves of the page: loss and figures over the epochs, and series of every tensor over the steps."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyq.audit.report.findings import Report
from tinyq.audit.report.numbers import number_or_none
from tinyq.audit.report.series import evenly
from tinyq.output.quoting import markup
from tinyq.run.figures.svg import COLOURS, Axes, Picture
from tinyq.tasks.task import FIGURE_NAMES

WIDTH, HEIGHT = 520, 250
LEFT, TOP, RIGHT, BOTTOM = 62, 26, 24, 46
MOST_EPOCHS = 500                       # drawn, evenly spread
FEW_POINTS = 40                         # of a curve with a dot each
# (field of a Point, title, whether the scale is logarithmic)
SERIES = (("gradient", "norm of the gradient", True), ("ratio", "norm of the update / norm of the weight", True),
          ("flips", "weights that changed their level in the step", False),
          ("distance", "mean distance to the nearest level, in scales", False),
          ("cosine", "cosine of true and surrogate gradient", False),
          ("descent", "cosine of the update and the descent of the true gradient", False))
EPOCH_CURVES = (("loss (logarithmic)", (("training", "loss"), ("validation", "validation_loss")), True),
                *((FIGURE_NAMES[name], (("training", name), ("validation", f"validation_{name}"),
                                        ("test", f"test_{name}")), False) for name in FIGURE_NAMES if name != "loss"))


@dataclass(frozen=True)
class Curve:
    """A named curve; points: (x, y), ascending in x."""

    name: str
    points: list[tuple[float, float]]


def epoch_curves(report: Report) -> str:
    """Draw loss and figures over the epochs, each phase marked where it begins."""
    if report.history is None or not report.history.epochs:
        return ""
    epochs = report.history.epochs
    shown = [(i + 1, epochs[i]["measured"]) for i in evenly(range(len(epochs)), MOST_EPOCHS)]
    phases = [(record["epoch"] - 1, record["phase"]) for record in report.history.phases]
    drawn = [(title, [Curve(name, points) for name, key in names if (points := _points(shown, key))], log)
             for title, names, log in EPOCH_CURVES]
    figures = "".join(_figure(title, lines, "epoch", phases, log) for title, lines, log in drawn if lines or log)
    return ('<p class="note">From the records of epochs, which a replay compares. Dashed lines: the beginning of a '
            f'phase.</p><div class="charts">{figures}</div>')


def series(report: Report) -> str:
    """Draw every metric of the first tensors, constrained ones before others."""
    constrained = set(tensors_of(report, "distance"))
    figures = ""
    for metric, title, log in SERIES:
        names = sorted(tensors_of(report, metric), key=lambda name: name not in constrained)
        shown = names[:len(COLOURS)]
        more = f" ({len(shown)} of {len(names)} tensors, constrained ones first)" if len(names) > len(shown) else ""
        figures += _series_figure(report, metric, title, shown, log, more) if names else ""
    return figures and f'<div class="charts">{figures}</div>'


def tensor_by_tensor(report: Report) -> str:
    """Draw the series of each tensor in a <details> of its own; with scripts on, a list chooses one of them."""
    used = {metric: tensors_of(report, metric) for metric, _, _ in SERIES}
    names = list(dict.fromkeys(name for found in used.values() for name in found))
    if not names:
        return ""
    options = "".join(f"<option>{markup(name)}</option>" for name in names)
    details = "\n".join(
        f'<details class="tensor"><summary>{markup(name)}</summary><div class="charts">'
        + "".join(_series_figure(report, metric, title, [name], log) for metric, title, log in SERIES
                  if name in used[metric]) + "</div></details>" for name in names)
    return (f'<p class="choose" hidden><label>Tensor: <select id="tensor" autocomplete="off">{options}</select>'
            f"</label></p>{details}")


def tensors_of(report: Report, metric: str) -> list[str]:
    """Return the names of tensors with a value of this metric, in the order of the network."""
    return list(dict.fromkeys(name for point in report.points for name, value in getattr(point, metric).items()
                              if value is not None))


def _series_figure(report: Report, metric: str, title: str, names: Sequence[str], log: bool, more: str = "") -> str:
    curves = [Curve(name, [(point.step, value) for point in report.points
                           if (value := getattr(point, metric).get(name)) is not None]) for name in names]
    phases = [(record["step"], record["phase"]) for record in report.history.phases] if report.history else []
    return _figure(title, curves, "step", phases, log, more)


def _points(epochs: list[tuple[int, dict]], key: str) -> list[tuple[float, float]]:
    return [(x, y) for x, measured in epochs if (y := number_or_none(measured.get(key))) is not None]


def _figure(title: str, curves: list[Curve], x_label: str, phases: list[tuple[int, str]], log: bool,
            more: str = "") -> str:
    key = "".join(f'<span><i style="background:{colour}"></i>{markup(curve.name)}</span>'
                  for curve, colour in zip(curves, COLOURS, strict=False))
    return (f"<figure><figcaption><h3>{markup(title[0].upper() + title[1:])}</h3></figcaption>"
            f'{_picture(curves, x_label, phases, log)}<p class="key">{key}{markup(more)}</p></figure>')


def _picture(curves: list[Curve], x_label: str, phases: list[tuple[int, str]], log: bool) -> str:
    values = [y for curve in curves for _, y in curve.points if y > 0 or not log]
    if not values:
        return "<p>0 throughout</p>"
    picture = Picture(WIDTH, HEIGHT)
    xs = [x for curve in curves for x, _ in curve.points]
    low = min(values) if log or x_label == "epoch" else min(0.0, *values)
    axes = Axes(picture, LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, (min(xs), max(xs)),
                (low, max(values)), log)
    axes.ticks(x_label)
    for x, name in _within(phases, min(xs), max(xs)):
        picture.line(axes.x(x), TOP, axes.x(x), HEIGHT - BOTTOM, "#999", 1, "4 3")
        picture.text(axes.x(x) + 3, TOP - 8, name[:16], 11, colour="#666")
    for curve, colour in zip(curves, COLOURS, strict=False):
        pixels = [(axes.x(x), axes.y(y)) for x, y in curve.points]
        if len(pixels) > 1:
            picture.curve(pixels, colour)
        for x, y in pixels if len(pixels) <= FEW_POINTS else ():
            picture.dot(x, y, colour)
    return str(picture)


def _within(phases: list[tuple[int, str]], first: float, last: float) -> Iterator[tuple[float, str]]:
    """Yield the phases that begin in a range, one that begins just before it at its edge."""
    for x, name in phases:
        if first - 1 <= x <= last:
            yield max(x, first), name
