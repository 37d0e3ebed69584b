"""Gaussian-process surrogates: the views of candidates, and when kernels are refitted."""

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
from netwright.strategies.bayesian.belief_mixture import BeliefMixture
from netwright.strategies.bayesian.gaussian_process import (
    GaussianProcess,
    Kernel,
    View,
    fit_kernel,
    initial_kernel,
)
from netwright.strategies.bayesian.targets import rank_correlation
from netwright.strategies.bayesian.trends import Trend

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KernelFeatures:
    """Encodes candidates as kernel views: options, numbers, and known features of networks."""

    space: Space[Any]
    knowledge: Knowledge

    def views(self, candidates: Sequence[Candidate]) -> list[View]:
        """Return the views of all candidates together: options, numbers, then known features."""
        rows = self.space.encode(candidates)  # (n, columns)
        number_paths = {
            decision.path
            for decision in self.space.decisions
            if isinstance(decision.choice, NumberChoice)
        }
        is_number = np.array([name in number_paths for name in self.space.columns], bool)
        views = []
        if (~is_number).any():
            views.append(View((rows[:, ~is_number],)))
        if is_number.any():
            blocks = tuple(rows[:, i : i + 1] for i in np.flatnonzero(is_number))
            views.append(View(blocks, is_matern=True))
        return [*views, *(View((group,)) for group in self.knowledge.features(candidates))]

    def terms(self, views: Sequence[View]) -> list[tuple[int, ...]]:
        """Return the kernel's terms: each view, and options times numbers (interactions)."""
        terms: list[tuple[int, ...]] = [(i,) for i in range(len(views))]
        matern = [i for i, view in enumerate(views) if view.is_matern]
        return [*terms, (0, matern[0])] if matern and matern[0] > 0 else terms


@dataclass(frozen=True)
class Surrogate:
    """A fitted kernel and how well it predicts unseen targets.

    Args:
        kernel: The kernel.
        skill: Rank correlation of targets and leave-one-out predictions.
    """

    kernel: Kernel
    skill: float

    @classmethod
    def fit(
        cls,
        views: Sequence[View],
        terms: list[tuple[int, ...]],
        y: Array,
        trends: Sequence[Trend],
        prior_weights: Array,
    ) -> Surrogate:
        """Fit a kernel to what the trends, weighted by their evidence, leave of targets y (n,)."""
        before = GaussianProcess.at(initial_kernel(views, terms), views)
        explained = BeliefMixture.fit(before, trends, y, prior_weights).trend_at_trials()
        kernel = fit_kernel(views, y - explained, terms)
        process = GaussianProcess.at(kernel, views)
        mixture = BeliefMixture.fit(process, trends, y, prior_weights)
        return cls(kernel, rank_correlation(mixture.leave_one_out_means(), y))


def select_rows(views: Sequence[View], rows: slice) -> list[View]:
    """Return the same views of fewer candidates."""
    return [view.select_rows(rows) for view in views]


def n_trials_at_refit(n_trials: int) -> int:
    """Return the number of trials at the latest refit of a kernel, after `n_trials`.

    Kernels are refitted at 2, 3, 4, 5, 10, 15... trials, then every time there are a fifth more.
    """
    refit_at = 2
    while (next_refit := refit_at + (1 if refit_at < 5 else max(5, refit_at // 5))) <= n_trials:
        refit_at = next_refit
    return min(refit_at, n_trials)
