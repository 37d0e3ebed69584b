"""Compare a portfolio of image networks on two rungs of short trainings, then search on if time allows.

Rungs count epochs: nothing is decided before every network has passed over the rows a few times. The
default is trained on each rung, and the search is over as soon as no other candidate leads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from netwright.interfaces.checks import name_of
from netwright.interfaces.preparation import Preparation
from netwright.interfaces.strategy import (
    RNG,
    Algorithm,
    Problem,
    Strategy,
    potential_parents,
    preparation,
)
from netwright.space.candidate import Candidate
from netwright.strategies.proposal_tracker import known_violation
from netwright.trials.trial import Proposal, Status, Trial

ORIGIN = "portfolio"
"""The origin of proposals of the portfolio."""
_FIRST_EPOCHS, _FIRST_SECONDS = 2.0, 2.0
"""A training of the first rung: the larger of both. It decides only who is left out."""
_SECOND_EPOCHS, _SECOND_SECONDS = 4.5, 6.0
"""A training of the second rung; at 4.7 epochs the order on CIFAR-10 was right, at 2 it was not."""
_N_CHALLENGERS = 3
"""Candidates beside the default on the second rung."""
_MAX_LOSS_RATIO = 1.02
"""A candidate whose log loss on the first rung is larger than this times the default's is out."""
_OVERHEAD_SECONDS = 1.5
"""Of a trial, besides its epochs: to build the network, validate and save."""


@dataclass(frozen=True, repr=False)
class PortfolioRungs:
    """Compare candidates on two rungs, then propose what `algorithm` proposes if time is left.

    Args:
        algorithm: Proposes candidates after the rungs.
        candidates: The default first; a study has it as its first baseline as well.
        epochs: Of a training at full fidelity.
        rows: Training rows.
        seconds: Wall time of the search; infinite if trials are counted: then every candidate of the
            portfolio is trained in full.
        n_workers: Trials side by side.
        searches_on: Whether `algorithm` proposes after the rungs; otherwise the search is over.
    """

    algorithm: Algorithm
    candidates: tuple[Candidate, ...]
    epochs: int
    rows: int
    seconds: float
    n_workers: int
    searches_on: bool = False

    def __repr__(self) -> str:
        """Return a name that does not depend on the budget: a run resumes with another one."""
        return f"PortfolioRungs({name_of(self.algorithm)})"

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return PortfolioRungsStrategy(self, problem)


class PortfolioRungsStrategy:
    """The strategy made by `PortfolioRungs`."""

    def __init__(self, settings: PortfolioRungs, problem: Problem) -> None:
        self._settings = settings
        self._strategy = settings.algorithm(problem)
        default, *others = settings.candidates
        self._default = default
        self._others = [other for other in others if not known_violation(problem, other)]
        self._loss = problem.objectives[0].loss
        self._trials: dict[int, Trial] = {}

    @property
    def potential_parents(self) -> Iterable[int]:
        return potential_parents(self._strategy)

    @property
    def preparation(self) -> Preparation | None:
        return preparation(self._strategy)

    def tell(self, trial: Trial) -> None:
        self._trials[trial.id] = trial
        self._strategy.tell(trial)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if math.isinf(self._settings.seconds):
            return self._missing(self._others, 1.0)[:n] or list(self._strategy.ask(n, rng))
        epoch_seconds = self._epoch_seconds()
        if epoch_seconds is None:  # the first baseline still runs, or has failed
            return []
        first, second = self._fidelities(epoch_seconds)
        everybody = [self._default, *self._others]
        if not self._has_time(everybody, first, second, epoch_seconds):
            return []
        if (proposals := self._missing(everybody, first)) or self._is_running(first):
            return proposals[:n]
        challengers = self._challengers(first)
        if not challengers:  # the default leads
            return self._search_on(n, rng)
        finalists = [self._default, *challengers]
        if (proposals := self._missing(finalists, second)) or self._is_running(second):
            return proposals[:n]
        return self._search_on(n, rng)

    def _search_on(self, n: int, rng: RNG) -> list[Proposal]:
        return list(self._strategy.ask(n, rng)) if self._settings.searches_on else []

    def _epoch_seconds(self) -> float | None:
        """Return the seconds of an epoch of the default on one worker, from its first trial."""
        for trial in self._trials.values():
            rate = trial.metrics.get("rows_per_second", 0.0)
            if trial.candidate == self._default and trial.status is Status.DONE and rate:
                return self._settings.rows / rate
        return None

    def _fidelities(self, epoch_seconds: float) -> tuple[float, float]:
        """Return the fidelities of both rungs."""
        first = max(_FIRST_EPOCHS, _FIRST_SECONDS / epoch_seconds)
        second = max(_SECOND_EPOCHS, _SECOND_SECONDS / epoch_seconds)
        epochs = self._settings.epochs
        return min(1.0, round(first) / epochs), min(1.0, math.ceil(second) / epochs)

    def _has_time(
        self, candidates: list[Candidate], first: float, second: float, epoch_seconds: float
    ) -> bool:
        """Return whether what is missing of both rungs fits into the time of the search."""
        n_first = len(self._missing(candidates, first))
        n_second = 1 + _N_CHALLENGERS
        n_epochs = n_first * first * self._settings.epochs
        n_trials = n_first
        if first != second:
            n_epochs += n_second * second * self._settings.epochs
            n_trials += n_second
        seconds = n_epochs * epoch_seconds + n_trials * _OVERHEAD_SECONDS
        spent = sum(trial.seconds for trial in self._trials.values())
        is_started = any(trial.proposal.origin == ORIGIN for trial in self._trials.values())
        return is_started or (spent + seconds) / self._settings.n_workers <= self._settings.seconds

    def _missing(self, candidates: list[Candidate], fidelity: float) -> list[Proposal]:
        tried = {t.candidate for t in self._trials.values() if t.proposal.fidelity == fidelity}
        return [
            Proposal(candidate, fidelity, origin=ORIGIN)
            for candidate in candidates
            if candidate not in tried
        ]

    def _is_running(self, fidelity: float) -> bool:
        return any(
            trial.status is Status.RUNNING and trial.proposal.fidelity == fidelity
            for trial in self._trials.values()
        )

    def _challengers(self, fidelity: float) -> list[Candidate]:
        """Return the candidates that are not clearly worse than the default on the first rung."""
        scored = {
            trial.candidate: trial.metrics.get("log_loss", self._loss(trial.metrics))
            for trial in self._trials.values()
            if trial.proposal.fidelity == fidelity and trial.status is Status.DONE
        }
        worst = _MAX_LOSS_RATIO * scored.get(self._default, math.inf)
        others = [other for other in self._others if scored.get(other, math.inf) <= worst]
        return sorted(others, key=lambda other: scored[other])[:_N_CHALLENGERS]
