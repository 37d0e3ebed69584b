"""Tree-structured Parzen estimator: propose what is likelier among the good than among the rest.

Bergstra, Bardenet, Bengio and Kegl, "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011;
multivariate as in BOHB (Falkner, Klein and Hutter 2018, 1807.01774): one kernel a trial over all
its decisions at once, so that what is good together is proposed together.
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
from netwright.strategies.bayesian.acquisition import normal_below
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

_LATEST = 500
"""Densities are those of so many latest trials: the cost of a proposal is bounded."""
_TRIES = 100
_WIDTH = 0.2
"""The width of a single trial's kernel along a number, as a share of the range."""


@dataclass(frozen=True)
class TPE:
    """Draws `candidates` from the density of the best share `good` of the trials; proposes the one
    with the highest ratio to the density of the others.

    The first `initial` trials are random. Infeasible and running trials count as not good, so that
    several workers spread out. With several objectives the good are the first fronts; trials
    outside the limits come after those within.
    """

    n_startup_trials: int = 10
    gamma: float = 0.15
    n_ei_candidates: int = 24

    def __post_init__(self) -> None:
        check_whole("initial", self.n_startup_trials, 2)
        if not 0 < self.gamma < 1:
            raise InputError(expected("good", "between 0 and 1", self.gamma))
        check_whole("candidates", self.n_ei_candidates, 1)

    def __call__(self, problem: Problem) -> Strategy:
        return _Parzen(self, problem)


class _Parzen:
    """The strategy of `TPE`."""

    def __init__(self, settings: TPE, problem: Problem) -> None:
        self.settings, self.space = settings, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self._told = ProposalTracker(problem)
        self._running: dict[int, Candidate] = {}
        self._done: deque[Trial] = deque(maxlen=_LATEST)
        self._infeasible: deque[Candidate] = deque(maxlen=_LATEST)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1 or len(self._done) < self.settings.n_startup_trials:
            return self._told.batch(n, lambda known, _: propose_unseen(self.space, known, rng))
        good, rest = self._halves()
        of_good = Density(self.space, good)  # l(x)
        chosen: list[Candidate] = []  # in this batch: they run soon

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            of_rest = Density(self.space, [*rest, *chosen])  # g(x)
            proposal = self._likeliest(of_good, of_rest, known, rng)
            if proposal is not None:
                chosen.append(proposal.candidate)
            return proposal

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        self._running.pop(trial.id, None)
        if self._told.record(trial):
            self._done.append(trial)
        elif trial.status is Status.RUNNING:
            self._running[trial.id] = trial.candidate
        elif trial.status is Status.INFEASIBLE:
            self._infeasible.append(trial.candidate)

    def _halves(self) -> tuple[list[Candidate], list[Candidate]]:
        """The good trials' candidates, and those of all others."""
        done = list(self._done)
        order = [done[i].candidate for i in crowded_order(done, self.objectives, self.limits)]
        border = math.ceil(self.settings.gamma * len(order))
        return order[:border], [*order[border:], *self._infeasible, *self._running.values()]

    def _likeliest(
        self, of_good: Density, of_rest: Density, known: Set[Candidate], rng: RNG
    ) -> Proposal | None:
        drawn: list[Candidate] = []
        for _ in range(_TRIES):
            candidate = of_good.draw(rng)
            if candidate not in known and self.space.contains(candidate):
                drawn.append(candidate)
            if len(drawn) == self.settings.n_ei_candidates:
                break
        if not drawn:
            return propose_unseen(self.space, known, rng)
        ratio = of_good.log(drawn) - of_rest.log(drawn)  # improvement rises with l / g: section 4.1
        return Proposal(drawn[int(np.argmax(ratio))], origin="model")


class Density:
    """A mixture of one kernel for each candidate seen, and of the prior, all of equal weight.

    A kernel is a product over the decisions. Options: the one seen, or another (as if each had been
    seen 1/n times more). Numbers: a normal around the one seen, cut off at the range's ends. A
    decision that was not asked in the candidate seen is as in the prior: uniform.
    """

    def __init__(self, space: Space[Any], seen: Sequence[Candidate]) -> None:
        self.space, self._number = space, len(seen)
        self._places = _places(space, seen)  # (n, decisions), NaN where not asked
        numbers = sum(map(_is_number, space.decisions))
        # Scott's rule: the more trials, the narrower; the more dimensions, the wider
        self._width = _WIDTH * max(self._number, 1) ** (-1 / (numbers + 4))

    def draw(self, rng: RNG) -> Candidate:
        """A candidate of the density; no rule is asked."""
        which = int(rng.integers(self._number + 1))
        unit = rng.random(len(self.space.decisions))  # the prior
        if which < self._number:
            for d, decision in enumerate(self.space.decisions):
                place = self._places[which, d]
                if not math.isnan(place):
                    unit[d] = self._near(decision, place, unit[d], rng)
        return self.space.from_unit(unit)

    def log(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """(m,) logarithms of the density; numbers are measured in shares of their range."""
        at = _places(self.space, candidates)  # (m, decisions)
        total = np.zeros((len(candidates), self._number + 1))  # the prior comes last
        for d, decision in enumerate(self.space.decisions):
            asked = ~np.isnan(at[:, d])  # (m,)
            prior = _log_prior(decision)
            kernel = self._log_kernel(decision, at[:, d, None], self._places[None, :, d])
            kernel = np.where(np.isnan(self._places[None, :, d]), prior, kernel)  # (m, n)
            found = np.column_stack([kernel, np.full(len(candidates), prior)])
            total += np.where(asked[:, None], found, 0.0)
        peak = total.max(1, keepdims=True)
        mean = np.exp(total - peak).mean(1)
        return np.asarray(peak[:, 0] + np.log(mean))

    def _near(self, decision: Decision, place: float, u: float, rng: RNG) -> float:
        """A place drawn from the kernel around `place`; `u` is uniform in [0, 1)."""
        if _is_number(decision):
            for _ in range(_TRIES):
                if 0 <= (drawn := rng.normal(place, self._width)) < 1:
                    return float(drawn)
            return u
        elsewhere = 1 / (1 + self._number / len(decision.values))  # K/n of 1 + K/n
        return u if rng.random() < elsewhere else place

    def _log_kernel(
        self, decision: Decision, at: NDArray[np.float64], seen: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(m, n) of `at` (m, 1) under the kernels of `seen` (1, n)."""
        if _is_number(decision):
            inside = normal_below((1 - seen) / self._width) - normal_below(-seen / self._width)
            z = (at - seen) / self._width
            return np.asarray(
                -0.5 * z**2 - np.log(self._width * math.sqrt(2 * math.pi)) - np.log(inside)
            )
        options, n = len(decision.values), max(self._number, 1)
        return np.asarray(np.log(((at == seen) + 1 / n) / (1 + options / n)))


def _places(space: Space[Any], candidates: Sequence[Candidate]) -> NDArray[np.float64]:
    """(n, decisions) places in the unit cube; NaN where nothing is decided."""
    places = np.full((len(candidates), len(space.decisions)), np.nan)
    for row, candidate in zip(places, candidates, strict=True):
        for d, decision in enumerate(space.decisions):
            if decision.path in candidate.values:
                row[d] = decision.to_unit(candidate.values[decision.path])
    return places


def _is_number(decision: Decision) -> bool:
    return isinstance(decision.choice, NumberChoice) and not decision.fixed


def _log_prior(decision: Decision) -> float:
    if _is_number(decision):
        return 0.0
    return -math.log(len(decision.values))
