"""Asynchronous successive halving: promote whoever can be, otherwise widen the lowest rung.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht and Talwalkar, "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, arXiv:1810.05934, Algorithm 2. Added here: rank by fronts under
limits, any algorithm for the candidates (the paper draws them at random), and a first answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.errors import InputError, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.strategies.multi_fidelity.rungs import Ladder, MultiFidelity, Supply
from netwright.trials.trial import Proposal, Trial

_EPSILON = 1e-9


@dataclass(frozen=True, repr=False)
class ASHA(MultiFidelity):
    """Promotes the best 1/eta of a rung as soon as they are; no worker ever waits for another.

    Results of a rung are ordered by front rank, those outside the limits last; infeasible ones
    count, and are never promoted. `promote` above 0 is the share that each rung passes on, in place
    of that by which the fidelity rises.
    """

    promotion_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.promotion_rate <= 1:
            fix = "Use 0.5 for the better half."
            raise InputError(expected("promote", "from 0 to 1", self.promotion_rate, fix))

    def passed(self, rise: float) -> float:
        """As `promote` says."""
        return self.promotion_rate or rise

    def __call__(self, problem: Problem) -> Strategy:
        return _Asynchronous(Ladder(self, problem))


class _Asynchronous:
    """The strategy of `ASHA`: its state is the ladder's."""

    def __init__(self, ladder: Ladder) -> None:
        self._ladder = ladder

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1:
            return []
        ladder, supply = self._ladder, Supply(self._ladder, n, rng)
        top = len(ladder.rungs) - 1
        proposals: list[Proposal] = []
        if first := ladder.answer(supply):
            proposals.append(first)
        proposals += [
            ladder.promotion(trial, k + 1, {})
            for k in reversed(range(top))
            for trial in self.promotable(k)
            if first is None or trial.candidate != first.candidate
        ][: n - len(proposals)]
        while len(proposals) < n and (fresh := supply.new(0, {})):
            proposals.append(fresh)
        if supply.exhausted:
            proposals += ladder.leftovers(proposals)
        return proposals[:n]

    def tell(self, trial: Trial) -> None:
        self._ladder.tell(trial)

    @property
    def potential_parents(self) -> set[int]:
        """Those of the ladder."""
        return self._ladder.potential_parents

    def promotable(self, k: int) -> list[Trial]:
        """The best share of rung `k`'s results that has not been promoted."""
        rung, above = self._ladder.rungs[k], self._ladder.rungs[k + 1]
        most = math.floor(rung.ended * self._ladder.share(k) + _EPSILON)
        best = self._ladder.ranked(k)[:most]
        return [trial for trial in best if trial.candidate not in above.started]
