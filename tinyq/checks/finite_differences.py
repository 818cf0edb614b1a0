"""Finite differences of a function of one array, compared with its gradient."""
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Steps in order of trial, relative to the root mean square of x or to 1. Large steps lose least by rounding; small
# steps cross fewer kinks. If none agrees, the one-sided slopes at KINK_STEP show a kink.
STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
KINK_STEP = 1e-6

# Bound of the rounding error of the function, relative to its weighted output.
ROUNDING = 32 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class Slope:
    """Slope along a direction: `analytic` by the gradient, `left` and `right` by one-sided differences."""

    analytic: float
    left: float
    right: float
    verdict: str                                    # "ok", "kink" or "wrong"
    entry: tuple[int, ...] | None = None            # the first kink or wrong element, None for the whole direction


def compare(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, gradient: np.ndarray, g: np.ndarray,
            direction: np.ndarray, rtol: float) -> Slope:
    """Compare `gradient` with differences of <g, function(x)> along `direction`; all arrays are float64.

    The verdict is "ok" if the slopes agree to rtol times the sum of the |contributions|. Otherwise the direction is
    halved down to a single element. The verdict there is "kink" if the one-sided slopes differ at every step size and
    the gradient lies between them, else "wrong".
    """
    surroundings = _Surroundings(function, x, gradient, g, direction, rtol)
    with np.errstate(all="ignore"):                 # a step outside the domain does not agree; a smaller one follows
        return surroundings.search(np.arange(x.size))


class _Surroundings:
    def __init__(self, function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, gradient: np.ndarray, g: np.ndarray,
                 direction: np.ndarray, rtol: float) -> None:
        self.function, self.x, self.gradient, self.g, self.rtol = function, x, gradient, g, rtol
        self.direction, self.y = direction, function(x)
        self.unit = max(1.0, math.sqrt(np.square(x).mean())) if x.size else 1.0
        self.rounding = ROUNDING * math.sqrt(np.square(g * self.y).sum())

    def search(self, entries: np.ndarray) -> Slope:
        """Return the worst Slope among the flat indices `entries`."""
        flat = np.zeros(self.x.size)
        flat[entries] = self.direction.ravel()[entries]
        v = flat.reshape(self.x.shape)
        terms = (v * self.gradient).ravel()
        slope = self._settled(v, math.fsum(terms), math.fsum(np.abs(terms)))
        if slope.verdict == "ok":
            return slope
        if len(entries) == 1:
            return self._of_element(entries[0], slope)
        return self._worse_half(entries, slope)

    def _of_element(self, index: int, slope: Slope) -> Slope:
        """Return the Slope per unit of the one element that moved."""
        entry = tuple(int(i) for i in np.unravel_index(index, self.x.shape))
        v = float(self.direction[entry])
        left, right = (slope.left, slope.right) if v > 0 else (slope.right, slope.left)
        return Slope(slope.analytic / v, left / v, right / v, slope.verdict, entry)

    def _worse_half(self, entries: np.ndarray, slope: Slope) -> Slope:
        """Return the first wrong element, else the first kink, else the Slope of the whole direction."""
        half = len(entries) // 2
        found = self.search(entries[:half])
        if found.verdict != "wrong":
            other = self.search(entries[half:])
            found = other if other.verdict == "wrong" or found.verdict == "ok" else found
        return found if found.verdict != "ok" else slope

    def _settled(self, v: np.ndarray, analytic: float, size: float) -> Slope:
        """Return the Slope along v: "ok" at the first step that agrees, else the verdict at KINK_STEP."""
        tolerance = self.rtol * size + self.rounding / (STEPS[0] * self.unit)
        for step in STEPS:
            left, right, central, smooth = self._differences(v, step * self.unit, tolerance)
            if smooth and abs(analytic - central) <= tolerance:
                return Slope(analytic, left, right, "ok")
        left, right, _, smooth = self._differences(v, KINK_STEP * self.unit, tolerance)
        tolerance = self.rtol * max(abs(left), abs(right)) + self.rounding / (KINK_STEP * self.unit)
        between = min(left, right) - tolerance <= analytic <= max(left, right) + tolerance
        return Slope(analytic, left, right, "kink" if between and not smooth else "wrong")

    def _differences(self, v: np.ndarray, h: float, tolerance: float) -> tuple[float, float, float, bool]:
        """Return the left, right and central slope, extrapolated from steps h and h / 2 to 0, and True if smooth."""
        far_left, far_right = -self._change(-h * v) / h, self._change(h * v) / h
        near_left, near_right = -self._change(-h / 2 * v) / (h / 2), self._change(h / 2 * v) / (h / 2)
        far_gap, near_gap = abs(far_right - far_left), abs(near_right - near_left)
        smooth = near_gap <= 0.75 * far_gap or near_gap <= tolerance        # curvature halves with the step, not a kink
        central = (4 * (near_left + near_right) - (far_left + far_right)) / 6
        return 2 * near_left - far_left, 2 * near_right - far_right, central, smooth

    def _change(self, step: np.ndarray) -> float:
        """Return <g, function(x + step) - function(x)>, summed exactly; NaN if a term is not finite."""
        terms = self.g * (self.function(self.x + step) - self.y)
        return math.fsum(terms.ravel()) if np.isfinite(terms).all() else math.nan
