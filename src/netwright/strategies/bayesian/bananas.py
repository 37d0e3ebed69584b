"""A predictor chooses which mutants are worth paying for: BANANAS and NPENAS.

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
from netwright.strategies.bayesian.network_ensemble import predictions
from netwright.strategies.bayesian.prior import by_rank
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

Array = NDArray[np.float64]

_LATEST = 500
"""The ensemble learns from so many latest trials: the cost of a proposal is bounded."""


@dataclass(frozen=True)
class _Settings(ABC):
    """What both have; they differ in how they take the ensemble's opinions."""

    n_startup_trials: int = 10
    batch_size: int = 10
    n_candidates: int = 100
    n_parents: int = 10

    def __post_init__(self) -> None:
        for name, least in (("initial", 2), ("batch", 1), ("candidates", 1), ("parents", 1)):
            check_whole(name, getattr(self, name), least)

    def __call__(self, problem: Problem) -> Strategy:
        return _Predicted(self, problem)

    @abstractmethod
    def score(self, guessed: Array, rng: RNG) -> Array:
        """(m,) how promising, from the members' predictions (members, m)."""


@dataclass(frozen=True)
class Bananas(_Settings):
    """Of `candidates` mutants of the best `parents`, those that draws from the ensemble favour.

    The first `initial` trials are random. Every `batch` trials the ensemble is trained anew, and
    the next `batch` proposals are chosen by independent Thompson sampling: each mutant gets a draw
    from a normal of the ensemble's mean and deviation. With several objectives or limits it learns
    the order of the trials by front and crowding.
    """

    def score(self, guessed: Array, rng: RNG) -> Array:
        spread = guessed.std(0, ddof=1)  # one draw each: section 4
        return np.asarray(guessed.mean(0) + spread * rng.standard_normal(guessed.shape[1]))


@dataclass(frozen=True)
class Npenas(_Settings):
    """Evolution with a predictor: of `candidates` children those with the best mean are evaluated.

    Settings as of `Bananas`; what differs is that the predictor's opinion is taken as it is.
    """

    def score(self, guessed: Array, rng: RNG) -> Array:
        return np.asarray(guessed.mean(0))


class _Predicted:
    """The strategy: every `batch` trials a plan is made, a function of the trials until then."""

    def __init__(self, settings: _Settings, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        self.space, self.knowledge = problem.space, problem.knowledge
        self._told = ProposalTracker(problem)
        self._done: deque[Trial] = deque(maxlen=_LATEST)
        self._ended = 0
        self._forms: set[str] = set()
        self._next_plan = settings.n_startup_trials
        self._base: tuple[Trial, ...] = ()
        """The trials that the present plan is made of."""
        self._known: frozenset[Candidate] = frozenset()
        self._tried: frozenset[str] = frozenset()
        self._plan: list[Proposal] | None = None

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n > 0 and self._base and self._plan is None:
            self._plan = self._planned()
        plan = iter(self._plan or ())

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            found = next((p for p in plan if p.candidate not in known), None)
            return found or propose_unseen(self.space, known, rng)

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        self._forms.add(self.knowledge.canonical(trial.candidate))
        if self._told.record(trial):
            self._done.append(trial)
        self._ended += trial.status is not Status.RUNNING
        if self._ended >= self._next_plan and len(self._done) > 1:
            self._next_plan = self._ended + self.settings.batch_size
            # as they are now: a plan must not depend on when it is asked for
            self._base, self._tried = tuple(self._done), frozenset(self._forms)
            self._known = frozenset(self._told.known)
            self._plan = None

    @property
    def potential_parents(self) -> set[int]:
        """The best of the present plan's trials, and of those that the next one is made of."""
        best = [
            self._ranked(trials)[: self.settings.n_parents] for trials in (self._base, self._done)
        ]
        return {trial.id for trials in best for trial in trials}

    def _ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        order = crowded_order(trials, self.problem.objectives, self.problem.limits)
        return [trials[i] for i in order]

    def _planned(self) -> list[Proposal]:
        """Mutants of the best, most promising first: more than a batch, in case some are known."""
        rng = np.random.default_rng([self._base[-1].id, len(self._tried)])
        order = crowded_order(self._base, self.problem.objectives, self.problem.limits)
        place = np.empty(len(order))
        place[order] = np.arange(len(order))
        children = self._children([self._base[i] for i in order], rng)
        if not children:
            return []
        trained = [trial.candidate for trial in self._base]
        rows = self._rows([*trained, *(child.candidate for child in children)])
        guessed = predictions(
            rows[: len(trained)], by_rank(place), rows[len(trained) :], int(rng.integers(2**31))
        )
        best = np.argsort(-self.settings.score(guessed, rng), kind="stable")
        return [children[i] for i in best[: 3 * self.settings.batch_size]]

    def _children(self, ranked: Sequence[Trial], rng: RNG) -> list[Proposal]:
        """Mutants of the best, each network once and none of those tried."""
        if all(len(one.values) == 1 for one in self.space.decisions):
            return []
        parent_of: dict[Candidate, Trial] = {}
        parents = ranked[: self.settings.n_parents]
        for i in range(4 * self.settings.n_candidates):  # many are known, or the same network
            parent = parents[i % len(parents)]
            parent_of.setdefault(self.space.mutate(parent.candidate, rng), parent)
        new = pools.distinct(
            pools.new(parent_of, self._known), self._tried, self.knowledge.canonical
        )
        found = [Proposal(one, origin="mutation", parents=(parent_of[one].id,)) for one in new]
        return found[: self.settings.n_candidates]

    def _rows(self, candidates: Sequence[Candidate]) -> Array:
        """(n, d): the decisions, and what is known of networks."""
        groups = [self.space.encode(candidates), *self.knowledge.features(candidates)]
        return np.concatenate(groups, axis=1)
