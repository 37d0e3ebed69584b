"""Asynchronous successive halving (ASHA): promote a candidate if possible, else add a new one.

Li, Jamieson, Rostamizadeh, Gonina, Hardt, Recht and Talwalkar, "A System for Massively Parallel
Hyperparameter Tuning", MLSys 2020, arXiv:1810.05934, Algorithm 2. Extensions: ranks by fronts under
limits, any algorithm for new candidates (the paper draws them at random), and an early trial at
full fidelity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netwright.errors import InputError, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.strategies.multi_fidelity.rungs import CandidateSource, MultiFidelity, RungLadder
from netwright.trials.trial import Proposal, Trial

_ROUNDING_TOLERANCE = 1e-9


@dataclass(frozen=True, repr=False)
class ASHA(MultiFidelity):
    """Asynchronous successive halving (Li et al., 2020): no worker waits for another.

    The best 1/eta of a rung are promoted as soon as they are known. Trials are ordered by front
    rank, those outside the limits last; infeasible ones count, but are never promoted.

    Args:
        algorithm: The algorithm that proposes new candidates, or the class of its settings.
        eta: Ratio of consecutive fidelities, and the inverse of the promoted share. Above 1.
        min_fidelity: Lowest fidelity, in (0, 1).
        random_fraction: Share of new candidates drawn at random, in [0, 1].
        min_trials_for_model: New candidates come from the strategy of the highest fidelity with
            this many finished trials.
        promotion_rate: Share of each rung that is promoted, in (0, 1]. 0: the ratio of the
            fidelities.

    Raises:
        InputError: A setting is out of range, or `algorithm` is itself multi-fidelity.

    Example:
        >>> strategy = nw.ASHA(nw.RegularizedEvolution(population=6), eta=4, min_fidelity=0.2)
    """

    promotion_rate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.promotion_rate <= 1:
            fix = "Use 0.5 for the better half."
            raise InputError(expected("promotion_rate", "from 0 to 1", self.promotion_rate, fix))

    def promoted_share(self, fidelity_ratio: float) -> float:
        """Return `promotion_rate`, or the fidelity ratio if that is 0.

        Args:
            fidelity_ratio: The rung's fidelity divided by that of the next one.
        """
        return self.promotion_rate or fidelity_ratio

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`.

        Raises:
            InputError: There is no fidelity from `min_fidelity` to below 1.
        """
        return ASHAStrategy(RungLadder(self, problem))


class ASHAStrategy:
    """The strategy made by `ASHA`; its state is the ladder's."""

    def __init__(self, ladder: RungLadder) -> None:
        self._ladder = ladder

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1:
            return []
        ladder, source = self._ladder, CandidateSource(self._ladder, n, rng)
        top = len(ladder.rungs) - 1
        proposals: list[Proposal] = []
        if first := ladder.first_at_full_fidelity(source):
            proposals.append(first)
        proposals += [
            ladder.promote(trial, k + 1, {})
            for k in reversed(range(top))
            for trial in self.promotable(k)
            if first is None or trial.candidate != first.candidate
        ][: n - len(proposals)]
        while len(proposals) < n and (proposal := source.propose_new(0, {})):
            proposals.append(proposal)
        if source.exhausted:
            proposals += ladder.unpromoted(proposals)
        return proposals[:n]

    def tell(self, trial: Trial) -> None:
        self._ladder.tell(trial)

    @property
    def potential_parents(self) -> set[int]:
        """Ids of trials that may be promoted or become parents."""
        return self._ladder.potential_parents

    def promotable(self, k: int) -> list[Trial]:
        """Return the trials among the promoted share of rung `k` that are not promoted yet."""
        rung, above = self._ladder.rungs[k], self._ladder.rungs[k + 1]
        n_promotable = math.floor(
            rung.n_ended * self._ladder.promoted_share(k) + _ROUNDING_TOLERANCE
        )
        best = self._ladder.ranked(k)[:n_promotable]
        return [trial for trial in best if trial.candidate not in above.started]
