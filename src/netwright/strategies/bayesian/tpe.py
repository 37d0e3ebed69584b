"""Tree-structured Parzen estimator (TPE).

Bergstra, Bardenet, Bengio and Kegl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011;
multivariate as in BOHB (Falkner, Klein and Hutter 2018, 1807.01774): one kernel per trial over all
its decisions, so that interactions are kept.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.choices import NumberChoice
from netwright.space.decision import Decision
from netwright.space.space import Space
from netwright.strategies.bayesian.acquisition import normal_cdf
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

Array = NDArray[np.float64]

_MAX_MODEL_TRIALS = 500
"""The densities use the latest trials only, so that the cost of a proposal is bounded."""
_MAX_DRAWS = 100
"""Draws per proposal (unseen, legal) and per number (inside its range)."""
_SINGLE_KERNEL_BANDWIDTH = 0.2
"""Standard deviation of a single trial's kernel along a number, as a share of its range."""


@dataclass(frozen=True)
class TPE:
    """Tree-structured Parzen estimator (Bergstra et al., 2011), multivariate as in BOHB.

    Draws candidates from the density l(x) of good trials and proposes the one with the highest
    ratio l(x) / g(x), where g is the density of all others. Infeasible and running trials belong to
    g, so that several workers spread out. With several objectives, the good trials are the first
    fronts; trials outside the limits come after those within.

    Args:
        n_startup_trials: Random trials before the first model. At least 2.
        gamma: Share of the trials that is good, in (0, 1).
        n_ei_candidates: Candidates drawn from l per proposal.

    Raises:
        InputError: A setting is out of range.
    """

    n_startup_trials: int = 10
    gamma: float = 0.15
    n_ei_candidates: int = 24

    def __post_init__(self) -> None:
        check_whole("n_startup_trials", self.n_startup_trials, 2)
        if not 0 < self.gamma < 1:
            raise InputError(expected("gamma", "between 0 and 1", self.gamma))
        check_whole("n_ei_candidates", self.n_ei_candidates, 1)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return TPEStrategy(self, problem)


class TPEStrategy:
    """The strategy made by `TPE`."""

    def __init__(self, settings: TPE, problem: Problem) -> None:
        self.settings, self.space = settings, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self._tracker = ProposalTracker(problem)
        self._running: dict[int, Candidate] = {}
        self._done: deque[Trial] = deque(maxlen=_MAX_MODEL_TRIALS)
        self._infeasible: deque[Candidate] = deque(maxlen=_MAX_MODEL_TRIALS)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1 or len(self._done) < self.settings.n_startup_trials:
            return self._tracker.fill_batch(
                n, lambda seen, _: propose_unseen(self.space, seen, rng)
            )
        good_candidates, other_candidates = self._split()
        good = ParzenEstimator(self.space, good_candidates)  # l(x)
        chosen: list[Candidate] = []  # in this batch: they count as running

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            others = ParzenEstimator(self.space, [*other_candidates, *chosen])  # g(x)
            proposal = self._propose_best_ratio(good, others, seen, rng)
            if proposal is not None:
                chosen.append(proposal.candidate)
            return proposal

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        self._running.pop(trial.id, None)
        if self._tracker.record(trial):
            self._done.append(trial)
        elif trial.status is Status.RUNNING:
            self._running[trial.id] = trial.candidate
        elif trial.status is Status.INFEASIBLE:
            self._infeasible.append(trial.candidate)

    def _split(self) -> tuple[list[Candidate], list[Candidate]]:
        """Return the candidates of the good trials, and those of all others."""
        done = list(self._done)
        ranked = [done[i].candidate for i in crowded_order(done, self.objectives, self.limits)]
        n_good = math.ceil(self.settings.gamma * len(ranked))
        return ranked[:n_good], [*ranked[n_good:], *self._infeasible, *self._running.values()]

    def _propose_best_ratio(
        self, good: ParzenEstimator, others: ParzenEstimator, seen: Set[Candidate], rng: RNG
    ) -> Proposal | None:
        """Propose the draw from l(x) with the highest l(x) / g(x); a random one without draws."""
        drawn: list[Candidate] = []
        for _ in range(_MAX_DRAWS):
            candidate = good.sample(rng)
            if candidate not in seen and self.space.contains(candidate):
                drawn.append(candidate)
            if len(drawn) == self.settings.n_ei_candidates:
                break
        if not drawn:
            return propose_unseen(self.space, seen, rng)
        # expected improvement rises with l / g: section 4.1
        log_ratio = good.log_pdf(drawn) - others.log_pdf(drawn)
        return Proposal(drawn[int(np.argmax(log_ratio))], origin="model")


class ParzenEstimator:
    """A mixture of one kernel per candidate and of the uniform prior, with equal weights.

    A kernel is a product over the decisions. Options: the candidate's option, or another one, as if
    each had been seen 1/n times more. Numbers: a normal around the candidate's number, truncated to
    the range. Inactive decisions: the prior.
    """

    def __init__(self, space: Space[Any], candidates: Sequence[Candidate]) -> None:
        self.space, self._n_kernels = space, len(candidates)
        self._points = _unit_points(space, candidates)  # (n, decisions), NaN where inactive
        n_numbers = sum(map(_is_number, space.decisions))
        # Scott's rule: narrower with more trials, wider with more dimensions
        self._bandwidth = _SINGLE_KERNEL_BANDWIDTH * max(self._n_kernels, 1) ** (
            -1 / (n_numbers + 4)
        )

    def sample(self, rng: RNG) -> Candidate:
        """Draw a candidate; it may violate a rule of the space."""
        kernel = int(rng.integers(self._n_kernels + 1))
        unit = rng.random(len(self.space.decisions))  # the prior
        if kernel < self._n_kernels:
            for d, decision in enumerate(self.space.decisions):
                center = self._points[kernel, d]
                if not math.isnan(center):
                    unit[d] = self._sample_kernel(decision, center, unit[d], rng)
        return self.space.from_unit(unit)

    def log_pdf(self, candidates: Sequence[Candidate]) -> Array:
        """Return the log densities (m,); numbers are measured in shares of their range."""
        points = _unit_points(self.space, candidates)  # (m, decisions)
        log_kernels = np.zeros((len(candidates), self._n_kernels + 1))  # the prior comes last
        for d, decision in enumerate(self.space.decisions):
            is_active = ~np.isnan(points[:, d])  # (m,)
            log_prior = _log_prior(decision)
            centers = self._points[None, :, d]
            log_kernel = self._log_kernel(decision, points[:, d, None], centers)
            log_kernel = np.where(np.isnan(centers), log_prior, log_kernel)  # (m, n)
            with_prior = np.column_stack([log_kernel, np.full(len(candidates), log_prior)])
            log_kernels += np.where(is_active[:, None], with_prior, 0.0)
        peak = log_kernels.max(1, keepdims=True)
        mean = np.exp(log_kernels - peak).mean(1)
        return np.asarray(peak[:, 0] + np.log(mean))

    def _sample_kernel(self, decision: Decision, center: float, u: float, rng: RNG) -> float:
        """Draw from the kernel around `center`; `u` is a draw from the prior, in [0, 1)."""
        if _is_number(decision):
            for _ in range(_MAX_DRAWS):
                if 0 <= (drawn := rng.normal(center, self._bandwidth)) < 1:
                    return float(drawn)
            return u
        prior_weight = 1 / (1 + self._n_kernels / len(decision.values))  # K/n of 1 + K/n
        return u if rng.random() < prior_weight else center

    def _log_kernel(self, decision: Decision, points: Array, centers: Array) -> Array:
        """Return the log densities (m, n) of points (m, 1) under the kernels of centers (1, n)."""
        if _is_number(decision):
            h = self._bandwidth
            mass_inside = normal_cdf((1 - centers) / h) - normal_cdf(-centers / h)
            z = (points - centers) / h
            log_normal = -0.5 * z**2 - np.log(h * math.sqrt(2 * math.pi))
            return np.asarray(log_normal - np.log(mass_inside))
        n_options, n = len(decision.values), max(self._n_kernels, 1)
        is_same = (points == centers).astype(float)
        return np.asarray(np.log((is_same + 1 / n) / (1 + n_options / n)))


def _unit_points(space: Space[Any], candidates: Sequence[Candidate]) -> Array:
    """Return coordinates (n, decisions) in the unit cube; NaN where a decision is inactive."""
    points = np.full((len(candidates), len(space.decisions)), np.nan)
    for point, candidate in zip(points, candidates, strict=True):
        for d, decision in enumerate(space.decisions):
            if decision.path in candidate.values:
                point[d] = decision.to_unit(candidate.values[decision.path])
    return points


def _is_number(decision: Decision) -> bool:
    return isinstance(decision.choice, NumberChoice) and not decision.fixed


def _log_prior(decision: Decision) -> float:
    if _is_number(decision):
        return 0.0
    return -math.log(len(decision.values))
