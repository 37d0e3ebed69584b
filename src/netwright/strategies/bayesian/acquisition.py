"""How much a candidate is worth trying: expected improvements, of one objective and of several.

Everything is "higher is better" here, and in arrays: means and deviations of what a model predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_KNOTS = 64


def expected_improvement(mean: Array, deviation: Array, best: float | Array) -> Array:
    """E[max(0, f - best)] for f normal (Mockus 1975; Jones et al. 1998); arrays are broadcast."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.asarray(np.maximum(deviation * (density + z * normal_below(z)), 0.0))


def normal_below(z: Array) -> Array:
    """The share of a standard normal below z."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


@dataclass(frozen=True)
class Unwarp:
    """From targets (ranks, say) back to what was measured: straight lines between `knots`.

    A process is fitted to warped values, since one outlier would spoil it otherwise; what is
    gained counts as measured (Snelson et al. 2004, warped Gaussian processes). Above the best it
    goes on half as steeply as the better half rises; below the worst it is flat.
    """

    knots: Array
    values: Array
    slopes: Array
    """Of the lines that begin at each knot."""

    @classmethod
    def of(cls, targets: Array, values: Array) -> Unwarp:
        """Through pairs (n,), both rising; of many, as many as tell the shape.

        A value that is missing (-inf) is as bad as the worst.
        """
        known = np.isfinite(values)
        values = np.where(known, values, values[known].min() if known.any() else 0.0)
        _, first = np.unique(targets, return_index=True)
        if len(first) > _KNOTS:
            first = first[np.linspace(0, len(first) - 1, _KNOTS).round().astype(int)]
        knots, values = targets[first], values[first]
        rise, run = values[-1] - values[len(first) // 2], knots[-1] - knots[len(first) // 2]
        beyond = 0.5 * rise / run if run > 0 else 0.0
        return cls(knots, values, np.append(np.diff(values) / np.diff(knots), beyond))

    def __call__(self, targets: Array) -> Array:
        above = np.maximum(targets - self.knots[-1], 0.0)
        return np.asarray(np.interp(targets, self.knots, self.values) + self.slopes[-1] * above)

    def improvement(self, mean: Array, deviation: Array) -> Callable[[float], Array]:
        """Height -> the expected improvement (m,) over it, as measured: exact.

        Where the line bends at a knot, what is gained above the knot grows by the bend.
        """
        at = expected_improvement(mean, deviation, self.knots[:, None])  # (knots, m)
        bends = np.diff(self.slopes, prepend=0.0)

        def over(height: float) -> Array:
            if height < self.values[0]:
                return np.asarray(self.values[0] - height + bends @ at)
            place = int(np.searchsorted(self.values, height, "right"))  # the next knot
            slope = self.slopes[place - 1]
            if slope <= 0:
                return np.zeros(len(mean))
            start = self.knots[place - 1] + (height - self.values[place - 1]) / slope
            above = bends[place:] @ at[place:]
            return np.asarray(slope * expected_improvement(mean, deviation, start) + above)

        return over


def known_cost_improvement(
    over: Callable[[float], Array], cost: Array, front: Array, reference: tuple[float, float]
) -> Array:
    """The expected gain in hypervolume where one of two objectives is known beforehand: exact.

    `cost` (m,) is known and to be small, the other is predicted and to be large: `over` gives
    each one's expected improvement (m,) over a height. `front` (k, 2): non-dominated (cost,
    value). A candidate of cost c lifts each step of the front's staircase right of c: the sum over
    steps of width right of c times the expected improvement over the step's height. `reference`:
    the largest cost and the least value that count.
    """
    front = front[np.argsort(front[:, 0], kind="stable")] if len(front) else front.reshape(0, 2)
    within = np.minimum(front[:, 0], reference[0])
    costs = np.concatenate([[-math.inf], within, [reference[0]]])
    heights = np.concatenate([[reference[1]], front[:, 1]])
    total = np.zeros(len(cost))
    for k, height in enumerate(heights):
        width = np.maximum(0.0, costs[k + 1] - np.maximum(costs[k], cost))  # (m,)
        if width.any():
            total += width * over(max(float(height), reference[1]))
    return total


def chebyshev(values: Array, weights: Array) -> Array:
    """(...) of values (..., objectives) in about 0..1: the worst weighted, and a little of all.

    The augmented function of ParEGO (Knowles 2006), turned so that higher is better.
    """
    lost = weights * (1.0 - values)
    return np.asarray(-(lost.max(-1) + 0.05 * lost.sum(-1)))
