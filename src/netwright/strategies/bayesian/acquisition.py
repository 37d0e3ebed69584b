"""Acquisition functions: expected improvement for one objective and for several.

All values are maximised. Predictions are arrays of means and standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MAX_KNOTS = 64
"""Knots of an inverse warp: enough for its shape, and the cost of an improvement is bounded."""


def expected_improvement(mean: Array, std: Array, best: float | Array) -> Array:
    """Return E[max(0, f - best)] for normal f (Mockus 1975; Jones et al. 1998), broadcast."""
    std = np.maximum(std, 1e-12)
    z = (mean - best) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.asarray(np.maximum(std * (density + z * normal_cdf(z)), 0.0))


def normal_cdf(z: Array) -> Array:
    """Return the cumulative distribution function of the standard normal."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


@dataclass(frozen=True)
class InverseWarp:
    """Piecewise-linear map from targets (such as ranks) back to measured values.

    The process is fitted to warped values, since a single outlier would spoil it otherwise; the
    improvement is that of the measured values (Snelson et al. 2004, warped Gaussian processes).
    Above the best value, the slope is half the mean slope of the better half; below the worst, the
    map is constant.

    Args:
        knots: (knots,) Targets, rising.
        values: (knots,) Measured values at the knots, rising.
        slopes: (knots,) Slopes of the segments that start at each knot.
    """

    knots: Array
    values: Array
    slopes: Array

    @classmethod
    def fit(cls, targets: Array, values: Array) -> InverseWarp:
        """Interpolate pairs of targets (n,) and values (n,), thinned to `_MAX_KNOTS` if more.

        Missing values (-inf) count as the worst value.
        """
        is_finite = np.isfinite(values)
        worst = values[is_finite].min() if is_finite.any() else 0.0
        values = np.where(is_finite, values, worst)
        _, first = np.unique(targets, return_index=True)
        if len(first) > _MAX_KNOTS:
            first = first[np.linspace(0, len(first) - 1, _MAX_KNOTS).round().astype(int)]
        knots, values = targets[first], values[first]
        rise, run = values[-1] - values[len(first) // 2], knots[-1] - knots[len(first) // 2]
        slope_above_best = 0.5 * rise / run if run > 0 else 0.0
        return cls(knots, values, np.append(np.diff(values) / np.diff(knots), slope_above_best))

    def __call__(self, targets: Array) -> Array:
        above = np.maximum(targets - self.knots[-1], 0.0)
        return np.asarray(np.interp(targets, self.knots, self.values) + self.slopes[-1] * above)

    def expected_improvement_over(self, mean: Array, std: Array) -> Callable[[float], Array]:
        """Return a function: measured value -> exact expected improvement (m,) over it.

        Where the slope changes at a knot, the improvement above the knot changes by as much.
        """
        over_knots = expected_improvement(mean, std, self.knots[:, None])  # (knots, m)
        slope_changes = np.diff(self.slopes, prepend=0.0)

        def improvement_over(height: float) -> Array:
            if height < self.values[0]:
                return np.asarray(self.values[0] - height + slope_changes @ over_knots)
            next_knot = int(np.searchsorted(self.values, height, "right"))
            slope = self.slopes[next_knot - 1]
            if slope <= 0:
                return np.zeros(len(mean))
            start = self.knots[next_knot - 1] + (height - self.values[next_knot - 1]) / slope
            above = slope_changes[next_knot:] @ over_knots[next_knot:]
            return np.asarray(slope * expected_improvement(mean, std, start) + above)

        return improvement_over


def expected_hypervolume_improvement(
    improvement_over: Callable[[float], Array],
    cost: Array,
    front: Array,
    reference: tuple[float, float],
) -> Array:
    """Return the exact expected hypervolume gain (m,) if one of two objectives is known.

    A candidate of cost c raises each step of the front's staircase to the right of c: sum, over the
    steps, the width right of c times the expected improvement over the step's height.

    Args:
        improvement_over: Height -> expected improvement (m,) of the predicted objective over it.
        cost: (m,) The known objective, minimised.
        front: (k, 2) Non-dominated pairs of cost and value.
        reference: Largest cost and smallest value that count.
    """
    front = front[np.argsort(front[:, 0], kind="stable")] if len(front) else front.reshape(0, 2)
    step_costs = np.minimum(front[:, 0], reference[0])
    costs = np.concatenate([[-math.inf], step_costs, [reference[0]]])
    heights = np.concatenate([[reference[1]], front[:, 1]])
    total = np.zeros(len(cost))
    for k, height in enumerate(heights):
        width = np.maximum(0.0, costs[k + 1] - np.maximum(costs[k], cost))  # (m,)
        if width.any():
            total += width * improvement_over(max(float(height), reference[1]))
    return total


def augmented_chebyshev(values: Array, weights: Array) -> Array:
    """Return the augmented Chebyshev scalarisation (...) of values (..., objectives) in 0..1.

    ParEGO (Knowles 2006), negated so that higher is better.
    """
    weighted_losses = weights * (1.0 - values)
    return np.asarray(-(weighted_losses.max(-1) + 0.05 * weighted_losses.sum(-1)))
