"""Write SVG: the few shapes that curves and histograms need, without a plotting package."""
import math
from collections.abc import Iterable

from tinyq.output.quoting import markup

COLOURS = ("#1f6fb4", "#d1495b", "#2f8f5b", "#8a5fbf", "#b8860b", "#5b6770")
Range = tuple[float, float]


class Picture:
    """Shapes in pixels from the top left corner; `str()` is the SVG file."""

    def __init__(self, width: float, height: float):
        self.width, self.height = width, height
        self._shapes: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "#999", width: float = 1.0,
             dashes: str | None = None) -> None:
        """Draw a straight line; dashes: lengths of strokes and gaps, such as "4 3"."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._shapes.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                            f'stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def curve(self, points: Iterable[tuple[float, float]], colour: str, width: float = 1.6,
              opacity: float = 1.0) -> None:
        """Draw a line through (x, y) points."""
        path, pale = " ".join(f"{x:.1f},{y:.1f}" for x, y in points), f' opacity="{opacity}"' if opacity < 1 else ""
        self._shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{pale}/>')

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a small disc around (x, y)."""
        self._shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """Draw a filled rectangle; (x, y) is its top left corner."""
        self._shapes.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                            f'fill="{colour}"/>')

    def text(self, x: float, y: float, text: str, size: int = 11, anchor: str = "start",
             colour: str = "#222") -> None:
        """Write a line of text; anchor: the part of it that is at x, "start", "middle" or "end"."""
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
                            f'fill="{colour}">{markup(text)}</text>')

    def __str__(self) -> str:
        """Return the SVG file."""
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
                f'viewBox="0 0 {self.width} {self.height}" font-family="sans-serif">')
        return "\n".join([head, f'<rect width="{self.width}" height="{self.height}" fill="white"/>',
                          *self._shapes, "</svg>\n"])


class Axes:
    """A frame in a picture with its own coordinates: x in [x_low, x_high], y in [y_low, y_high].

    With `log` the y range is positive and its scale logarithmic; lower values lie on the lower edge.
    """

    def __init__(self, picture: Picture, left: float, top: float, width: float, height: float,
                 x_range: Range, y_range: Range, log: bool = False):
        """Draw the x and y axes; a range of length 0 is widened."""
        self.picture, self.left, self.top, self.width, self.height = picture, left, top, width, height
        self.log = log
        self.x_range, self.y_range = _widened(*x_range), _widened(*map(self._scaled, y_range))
        picture.line(left, top + height, left + width, top + height)
        picture.line(left, top, left, top + height)

    def x(self, value: float) -> float:
        """Return the pixel column of a value."""
        low, high = self.x_range
        return self.left + self.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        """Return the pixel row of a value."""
        low, high = self.y_range
        return self.top + self.height * (high - max(low, self._scaled(value))) / (high - low)

    def ticks(self, x_label: str = "", y_label: str = "") -> None:
        """Write round numbers along both axes, and the labels."""
        bottom = self.top + self.height
        for value in round_numbers(*self.x_range):
            self.picture.text(self.x(value), bottom + 14, f"{value:g}", 10, "middle")
        for value in self.y_ticks():
            self.picture.line(self.left, self.y(value), self.left + self.width, self.y(value), "#eee")
            self.picture.text(self.left - 5, self.y(value) + 3, f"{value:g}", 10, "end")
        self.picture.text(self.left + self.width / 2, bottom + 30, x_label, 11, "middle")
        self.picture.text(self.left, self.top - 22, y_label)

    def _scaled(self, value: float) -> float:
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def y_ticks(self) -> list[float]:
        """Return the round numbers along the y axis."""
        low, high = self.y_range
        if not self.log:
            return round_numbers(low, high)
        decades = range(math.floor(low), math.ceil(high) + 1)
        marks = (1, 2, 5) if high - low < 3 else (1,)
        found = [mark * 10.0**d for d in decades for mark in marks if low <= math.log10(mark * 10.0**d) <= high]
        return found if len(found) > 1 else round_numbers(10.0**low, 10.0**high)       # within a factor of about two


def round_numbers(low: float, high: float, about: int = 5) -> list[float]:
    """Return about this many multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _widened(low: float, high: float) -> Range:
    return (low, high) if high > low else (low - 0.5, high + 0.5)
