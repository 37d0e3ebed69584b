"""Predictor-guided evolution: BANANAS and NPENAS.

BANANAS (White, Neiswanger and Savani 2021, 1910.11858, algorithm 1): an ensemble of networks on a
path encoding, independent Thompson sampling, mutants of the best. NPENAS (Wei et al. 2020,
2003.12857): evolution whose children a predictor ranks, the best of which are evaluated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.errors import check_whole
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian import candidate_pools as pools
from netwright.strategies.bayesian.network_ensemble import fit_predict
from netwright.strategies.bayesian.targets import rank_targets
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

Array = NDArray[np.float64]

_MAX_TRAINING_TRIALS = 500
"""The ensemble is trained on the latest trials only, so that the cost of a proposal is bounded."""
_MUTATIONS_PER_CANDIDATE = 4
"""Mutations drawn per candidate wanted: some are seen already, or are the same network."""
_PLAN_SIZE_IN_BATCHES = 3
"""Proposals planned in advance, in case some of them have been seen when they are due."""


@dataclass(frozen=True)
class _PredictorSettings(ABC):
    """Settings of BANANAS and NPENAS, which differ in how they use the predictions."""

    n_startup_trials: int = 10
    batch_size: int = 10
    n_candidates: int = 100
    n_parents: int = 10

    def __post_init__(self) -> None:
        minimums = {"n_startup_trials": 2, "batch_size": 1, "n_candidates": 1, "n_parents": 1}
        for name, minimum in minimums.items():
            check_whole(name, getattr(self, name), minimum)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return PredictorStrategy(self, problem)

    @abstractmethod
    def score(self, predictions: Array, rng: RNG) -> Array:
        """Return scores (m,), higher is better, from the members' predictions (members, m)."""


@dataclass(frozen=True)
class Bananas(_PredictorSettings):
    """BANANAS (White et al., 2021): mutants ranked by Thompson sampling from an ensemble.

    Every `batch_size` trials the ensemble is retrained, and the next `batch_size` proposals are
    chosen by independent Thompson sampling: each mutant draws from a normal with the ensemble's
    mean and standard deviation. With several objectives or limits, the targets are the trials'
    order by front and crowding.

    Args:
        n_startup_trials: Random trials before the first model. At least 2.
        batch_size: Trials between two trainings of the ensemble.
        n_candidates: Mutants that the ensemble ranks.
        n_parents: Best trials that are mutated.

    Raises:
        InputError: A setting is out of range.
    """

    def score(self, predictions: Array, rng: RNG) -> Array:
        """Return a Thompson sample for each mutant.

        Args:
            predictions: (members, m) Predictions of the ensemble's members.
            rng: Source of randomness.

        Returns:
            (m,) Scores, higher is better.
        """
        std = predictions.std(0, ddof=1)
        noise = rng.standard_normal(predictions.shape[1])  # independent draws: section 4
        return np.asarray(predictions.mean(0) + std * noise)


@dataclass(frozen=True)
class Npenas(_PredictorSettings):
    """NPENAS (Wei et al., 2020): evolution whose children an ensemble ranks by its mean.

    Like `Bananas`, but the uncertainty of the predictions is not used.

    Args:
        n_startup_trials: Random trials before the first model. At least 2.
        batch_size: Trials between two trainings of the ensemble.
        n_candidates: Mutants that the ensemble ranks.
        n_parents: Best trials that are mutated.

    Raises:
        InputError: A setting is out of range.
    """

    def score(self, predictions: Array, rng: RNG) -> Array:
        """Return the mean prediction of each mutant.

        Args:
            predictions: (members, m) Predictions of the ensemble's members.
            rng: Not used.

        Returns:
            (m,) Scores, higher is better.
        """
        return np.asarray(predictions.mean(0))


class PredictorStrategy:
    """The strategy made by `Bananas` and `Npenas`.

    Every `batch_size` trials it makes a plan (a list of proposals), a function of the trials until
    then.
    """

    def __init__(self, settings: _PredictorSettings, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        self.space, self.knowledge = problem.space, problem.knowledge
        self._tracker = ProposalTracker(problem)
        self._done: deque[Trial] = deque(maxlen=_MAX_TRAINING_TRIALS)
        self._n_ended = 0
        self._canonical_forms: set[str] = set()
        self._next_plan_at = settings.n_startup_trials
        # snapshots from which the current plan is made
        self._training_trials: tuple[Trial, ...] = ()
        self._seen: frozenset[Candidate] = frozenset()
        self._tried_forms: frozenset[str] = frozenset()
        self._plan: list[Proposal] | None = None

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n > 0 and self._training_trials and self._plan is None:
            self._plan = self._make_plan()
        planned = iter(self._plan or ())

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            proposal = next((p for p in planned if p.candidate not in seen), None)
            return proposal or propose_unseen(self.space, seen, rng)

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        self._canonical_forms.add(self.knowledge.canonical(trial.candidate))
        if self._tracker.record(trial):
            self._done.append(trial)
        if trial.status is not Status.RUNNING:
            self._n_ended += 1
        if self._n_ended >= self._next_plan_at and len(self._done) > 1:
            self._next_plan_at = self._n_ended + self.settings.batch_size
            # snapshots: a plan must not depend on when it is asked for
            self._training_trials = tuple(self._done)
            self._tried_forms = frozenset(self._canonical_forms)
            self._seen = frozenset(self._tracker.seen)
            self._plan = None

    @property
    def potential_parents(self) -> set[int]:
        """Ids of the best trials behind the current plan and behind the next one."""
        best = [
            self._ranked(trials)[: self.settings.n_parents]
            for trials in (self._training_trials, self._done)
        ]
        return {trial.id for trials in best for trial in trials}

    def _ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        order = crowded_order(trials, self.problem.objectives, self.problem.limits)
        return [trials[i] for i in order]

    def _make_plan(self) -> list[Proposal]:
        """Return mutants of the best trials, most promising first."""
        rng = np.random.default_rng([self._training_trials[-1].id, len(self._tried_forms)])
        order = crowded_order(self._training_trials, self.problem.objectives, self.problem.limits)
        rank = np.empty(len(order))
        rank[order] = np.arange(len(order))
        mutants = self._mutants([self._training_trials[i] for i in order], rng)
        if not mutants:
            return []
        trained = [trial.candidate for trial in self._training_trials]
        rows = self._encode([*trained, *(mutant.candidate for mutant in mutants)])
        train, pool = rows[: len(trained)], rows[len(trained) :]
        predictions = fit_predict(train, rank_targets(rank), pool, int(rng.integers(2**31)))
        best = np.argsort(-self.settings.score(predictions, rng), kind="stable")
        return [mutants[i] for i in best[: _PLAN_SIZE_IN_BATCHES * self.settings.batch_size]]

    def _mutants(self, ranked: Sequence[Trial], rng: RNG) -> list[Proposal]:
        """Return mutants of the best trials, without tried networks and repetitions."""
        if all(len(decision.values) == 1 for decision in self.space.decisions):
            return []
        parent_of: dict[Candidate, Trial] = {}
        parents = ranked[: self.settings.n_parents]
        for i in range(_MUTATIONS_PER_CANDIDATE * self.settings.n_candidates):
            parent = parents[i % len(parents)]
            parent_of.setdefault(self.space.mutate(parent.candidate, rng), parent)
        unseen = pools.exclude_seen(parent_of, self._seen)
        mutants = [
            Proposal(candidate, origin="mutation", parents=(parent_of[candidate].id,))
            for candidate in pools.distinct(unseen, self._tried_forms, self.knowledge.canonical)
        ]
        return mutants[: self.settings.n_candidates]

    def _encode(self, candidates: Sequence[Candidate]) -> Array:
        """Return features (n, d): encoded decisions, and known features of the networks."""
        groups = [self.space.encode(candidates), *self.knowledge.features(candidates)]
        return np.concatenate(groups, axis=1)
