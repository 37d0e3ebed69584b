"""How much a candidate is worth trying: expected improvements, of one objective and of several.

Everything is "higher is better" here, and in arrays: means and deviations of what a model predicts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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


def known_cost_improvement(
    mean: Array, deviation: Array, cost: Array, front: Array, reference: tuple[float, float]
) -> Array:
    """The expected gain in hypervolume where one of two objectives is known beforehand: exact.

    `cost` (m,) is known and to be small, the other is predicted and to be large. `front` (k, 2):
    non-dominated (cost, value). A candidate of cost c lifts each step of the front's staircase
    right of c: the sum over steps of width right of c times the expected improvement over the
    step's height. `reference`: the largest cost and the least value that count.
    """
    front = front[np.argsort(front[:, 0], kind="stable")] if len(front) else front.reshape(0, 2)
    within = np.minimum(front[:, 0], reference[0])
    costs = np.concatenate([[-math.inf], within, [reference[0]]])
    heights = np.concatenate([[reference[1]], front[:, 1]])
    total = np.zeros(len(cost))
    for k, height in enumerate(heights):
        width = np.maximum(0.0, costs[k + 1] - np.maximum(costs[k], cost))  # (m,)
        total += width * expected_improvement(mean, deviation, max(height, reference[1]))
    return total


def chebyshev(values: Array, weights: Array) -> Array:
    """(...) of values (..., objectives) in about 0..1: the worst weighted, and a little of all.

    The augmented function of ParEGO (Knowles 2006), turned so that higher is better.
    """
    lost = weights * (1.0 - values)
    return np.asarray(-(lost.max(-1) + 0.05 * lost.sum(-1)))
