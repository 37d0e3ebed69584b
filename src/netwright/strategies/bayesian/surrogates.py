"""Gaussian processes over the candidates of a space: which views they have, and when they are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.interfaces.knowledge import Knowledge
from netwright.space.candidate import Candidate
from netwright.space.choices import NumberChoice
from netwright.space.space import Space
from netwright.strategies.bayesian.gaussian_process import Kernel, Process, View, fit_kernel
from netwright.strategies.bayesian.prior import rank_correlation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """How candidates of a space look to a kernel: options, numbers, and what else is known."""

    space: Space[Any]
    knowledge: Knowledge

    def of(self, candidates: Sequence[Candidate]) -> list[View]:
        """The views of all of them, put beside each other: options, numbers, then groups known."""
        rows = self.space.encode(candidates)  # (n, columns)
        paths = {one.path for one in self.space.decisions if isinstance(one.choice, NumberChoice)}
        number = np.array([name in paths for name in self.space.columns], bool)
        views = []
        if (~number).any():
            views.append(View((rows[:, ~number],)))
        if number.any():
            blocks = tuple(rows[:, i : i + 1] for i in np.flatnonzero(number))
            views.append(View(blocks, rough=True))
        return [*views, *(View((group,)) for group in self.knowledge.features(candidates))]

    def terms(self, views: Sequence[View]) -> list[tuple[int, ...]]:
        """Each view by itself; and options with numbers, whose best values may depend on them."""
        alone: list[tuple[int, ...]] = [(i,) for i in range(len(views))]
        rough = [i for i, view in enumerate(views) if view.rough]
        return [*alone, (0, rough[0])] if rough and rough[0] > 0 else alone


@dataclass(frozen=True)
class Surrogate:
    """A fitted kernel, and how well it foretells what it has not seen.

    `skill`: the rank correlation of targets with what is predicted for each from all the others.
    """

    kernel: Kernel
    skill: float

    @classmethod
    def fitted(cls, views: Sequence[View], terms: list[tuple[int, ...]], y: Array, lean: Array,
               slope: float) -> Surrogate:  # fmt: skip
        """To targets y (n,), whose prior mean is slope * lean, (n,), and a constant."""
        rest = y - slope * lean
        rest = rest - rest.mean()
        kernel = fit_kernel(views, rest, terms)
        guess = Process(kernel, views, rest, np.zeros(len(y))).left_out() + slope * lean
        return cls(kernel, rank_correlation(guess, y))


def take(views: Sequence[View], rows: slice) -> list[View]:
    """The same views of fewer candidates."""
    return [view.take(rows) for view in views]


def refit_at(n: int) -> int:
    """Kernels are fitted anew at 2, 3, 4, 5, 10, 15... trials, then at every fifth part more."""
    at = 2
    while (following := at + (1 if at < 5 else max(5, at // 5))) <= n:
        at = following
    return min(at, n)
