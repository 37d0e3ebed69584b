"""Bayesian optimisation: a Gaussian process says what to expect, and the most promising is tried.

Expected improvement (Jones, Schonlau and Welch 1998) of a process whose kernel adds views of a
candidate: its decisions, and where networks are known its paths (White et al. 2021, 1910.11858),
subtrees (Ru et al. 2021, 2006.07556) and sizes. It is asked about candidates near the best ones
rather than everywhere (White et al. 2021, "Exploring the loss landscape in NAS", 2005.02960).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, expected
from netwright.space.candidate import Candidate
from netwright.strategies import pools
from netwright.strategies.base import RNG, OnlyTheSpace, Problem, Strategy
from netwright.strategies.prior import Prior
from netwright.strategies.promise import Beliefs, Promise
from netwright.strategies.random import stranger
from netwright.strategies.selection import constrained_ranks, crowded_order
from netwright.strategies.told import Told
from netwright.trials.trial import Proposal, Status, Trial

Array = NDArray[np.float64]

_MOST, _BEST, _LATEST = 500, 250, 200
"""Beyond so many trials only the best and the latest are kept: the cost of a proposal is bounded."""
_REFERENCE = 1000
_BASES, _MOST_BASES = 8, 30
_FAR, _RANDOM, _LIKED = 150, 400, 200
_TOP = 0.1
_LEAST = 2
"""Trials that a model needs."""


@dataclass(frozen=True)
class Bayesian:
    """Proposes what promises the largest improvement under a Gaussian process; the default.

    The first `initial` trials are spread out over those that the `prior` likes: the scores known
    beforehand (size, zero-cost scores), which good candidates tend to have much of. Whether they
    do here is judged as trials come in; where not, the prior is dropped. With several
    objectives: the expected hypervolume where one of two is known beforehand, else random weights.
    Where the model does not foretell anything, half of the proposals are steps from the best.
    """

    initial: int = 5
    prior: bool = True

    def __post_init__(self) -> None:
        if self.initial < 1:
            raise InputError(expected("initial", "at least 1", self.initial))

    def __call__(self, problem: Problem) -> Strategy:
        return _Search(self, problem)


class _Search:
    """The strategy of `Bayesian`."""

    def __init__(self, settings: Bayesian, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        self.space, self.knowledge = problem.space, problem.knowledge
        self._told = Told()
        self._done: list[Trial] = []
        self._infeasible: list[Candidate] = []
        self._running: dict[int, Candidate] = {}
        self._forms: set[str] = set()
        self._prior: Prior | None = None
        self._era = 0
        """How often trials were forgotten: what was fitted before is of other trials."""
        self._promise = Promise(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        chosen: list[Candidate] = []

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            forms = self._forms | {self._form(c) for c in chosen}
            proposal = self._next(known, forms, chosen, rng)
            if proposal is not None:
                chosen.append(proposal.candidate)
            return proposal

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        if self._prior is None:
            self._prior = self._prior_of(_generator(self.space.to_unit(trial.candidate)))
        self._forms.add(self._form(trial.candidate))
        self._running.pop(trial.id, None)
        if self._told.hear(trial):
            self._done.append(trial)
            self._forget()
        elif trial.status is Status.RUNNING:
            self._running[trial.id] = trial.candidate
        elif trial.status is Status.INFEASIBLE:
            self._infeasible = [*self._infeasible, trial.candidate][-_LATEST:]

    def _forget(self) -> None:
        """Keeps the best and the latest; a function of what was told, as everything here."""
        if len(self._done) <= _MOST:
            return
        best = {self._done[i].id for i in self._order()[:_BEST]}
        kept = [trial for trial in self._done[:-_LATEST] if trial.id in best]
        self._done = [*kept, *self._done[-_LATEST:]]
        self._era += 1

    def _form(self, candidate: Candidate) -> str:
        """Of candidates of one form only one is worth paying for: the same network, at one cost."""
        metrics = self.knowledge.metrics(candidate)
        cost = [metrics.get(one.metric) for one in self.problem.objectives]
        return f"{self.knowledge.canonical(candidate)} {cost}"

    def _order(self) -> list[int]:
        return crowded_order(self._done, self.problem.objectives, self.problem.limits)

    def _prior_of(self, rng: RNG) -> Prior:
        """Scores among random candidates, each network once."""
        random = pools.new(pools.drawn(self.space, _REFERENCE, rng), set())
        reference = list(pools.distinct(random, set(), self.knowledge.canonical))
        return Prior.of(self.knowledge if self.settings.prior else OnlyTheSpace(), reference)

    def _next(
        self, known: Set[Candidate], forms: Set[str], chosen: list[Candidate], rng: RNG
    ) -> Proposal | None:
        prior = self._prior_of(rng) if self._prior is None else self._prior
        begun = len(self._done) + len(self._running) + len(chosen)
        if begun < self.settings.initial or len(self._done) < _LEAST:
            found = self._first(prior, known, forms, chosen, rng)
        else:
            found = self._promising(prior, known, forms, chosen, rng)
        return found or stranger(self.space, known, rng)

    def _first(
        self,
        prior: Prior,
        known: Set[Candidate],
        forms: Set[str],
        chosen: list[Candidate],
        rng: RNG,
    ) -> Proposal | None:
        """Among those that the prior likes best one far from all tried."""
        new = pools.new(prior.reference, known)
        new = self._within(list(pools.distinct(new, forms, self._form)))
        if not new:
            return None
        if prior and not self._infeasible:
            scores = prior.of_candidates(new)
            best = np.argsort(-scores, kind="stable")[: max(1, int(_TOP * len(prior.reference)))]
            new = [new[i] for i in best]
        tried = [trial.candidate for trial in self._done]
        taken = [*tried, *self._infeasible, *self._running.values(), *chosen]
        return Proposal(pools.spread(new, taken, self.space.encode, rng), origin="initial")

    def _promising(
        self,
        prior: Prior,
        known: Set[Candidate],
        forms: Set[str],
        chosen: list[Candidate],
        rng: RNG,
    ) -> Proposal | None:
        order = self._order()
        pool = self._pool(prior, order, known, rng)
        beliefs = Beliefs(
            self._era, tuple(self._done), tuple(self._infeasible),
            (*self._running.values(), *chosen), prior,
        )  # fmt: skip
        model = self._promise.model(beliefs)
        if model.is_blind and rng.random() < 0.5:
            return self._step(order, known, forms, rng)
        best = self._best(pool, model.worth(pool, rng), forms) if pool else None
        if best is None:
            return None
        near = pools.new(pools.steps_of_numbers(self.space, best, 200, rng), known)
        if near:
            both = self._within([best, *near])
            best = self._best(both, model.worth(both, rng), forms) or best
        return Proposal(best, origin="model")

    def _best(self, pool: list[Candidate], worth: Array, forms: Set[str]) -> Candidate | None:
        """The worthiest whose network was not tried under another writing; few need be looked at."""
        order = np.argsort(-worth, kind="stable")
        return next(pools.distinct((pool[i] for i in order), forms, self._form), None)

    def _pool(
        self, prior: Prior, order: list[int], known: Set[Candidate], rng: RNG
    ) -> list[Candidate]:
        """One edit from the best eight, two from the best three, random ones, the prior's choice."""
        bases = [self._done[i].candidate for i in order[: self._bases()]]
        near = [pools.one_edit(self.space, base, rng) for base in bases]
        far = [c for part in near[:3] for c in pools.once_more(self.space, part, _FAR, rng)]
        random = pools.drawn(self.space, _RANDOM, rng)
        found = [*chain.from_iterable(near), *far, *random, *self._liked(prior)]
        return self._within(pools.new(found, known))

    def _liked(self, prior: Prior) -> list[Candidate]:
        if not prior:
            return []
        best = np.argsort(-prior.of_reference, kind="stable")[:_LIKED]
        return [prior.reference[i] for i in best]

    def _bases(self) -> int:
        """Neighbours are those of the whole front, where several objectives make it long."""
        if len(self.problem.objectives) == 1:
            return _BASES
        rank = constrained_ranks(self._done, self.problem.objectives, self.problem.limits)
        return min(max(_BASES, int((rank == 0).sum())), _MOST_BASES)

    def _within(self, candidates: list[Candidate]) -> list[Candidate]:
        """Those whose known metrics keep the limits; all, where none does."""
        able = [c for c in candidates if self._promise.keeps_known(c)]
        return able or candidates

    def _step(
        self, order: list[int], known: Set[Candidate], forms: Set[str], rng: RNG
    ) -> Proposal | None:
        """Local search: a random neighbour of the best candidate that has a new one."""
        for i in order:
            base = self._done[i]
            near = pools.one_edit(self.space, base.candidate, rng)
            if new := self._within(list(pools.distinct(pools.new(near, known), forms, self._form))):
                chosen = new[int(rng.integers(len(new)))]
                return Proposal(chosen, origin="neighbour", parents=(base.id,))
        return None


def _generator(point: Array) -> RNG:
    """Seeded by a point: what is drawn depends on what was told, and not on names."""
    digest = blake2b(np.ascontiguousarray(point).tobytes(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
