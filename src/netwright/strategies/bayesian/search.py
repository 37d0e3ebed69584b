"""Bayesian optimisation: a Gaussian process says what to expect, and the most promising is tried.

Expected improvement (Jones, Schonlau and Welch 1998) of a process whose kernel adds views of a
candidate: its decisions, and where networks are known its paths (White et al. 2021, 1910.11858),
subtrees (Ru et al. 2021, 2006.07556) and sizes. It is asked about candidates near the best ones
rather than everywhere (White et al. 2021, "Exploring the loss landscape in NAS", 2005.02960).
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from netwright.errors import check_whole
from netwright.interfaces.knowledge import DefaultKnowledge
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.strategies.bayesian import candidate_pools as pools
from netwright.strategies.bayesian.posterior import Beliefs, Posteriors
from netwright.strategies.bayesian.prior import Prior
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import constrained_ranks, crowded_order
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

    n_startup_trials: int = 5
    prior: bool = True

    def __post_init__(self) -> None:
        check_whole("initial", self.n_startup_trials, 1)

    def __call__(self, problem: Problem) -> Strategy:
        return _Search(self, problem)


@dataclass
class _Batch:
    """One `ask`: candidates known and forms tried by now, what was `chosen` in it already among
    them."""

    prior: Prior
    known: Set[Candidate]
    forms: set[str]
    chosen: list[Candidate] = field(default_factory=list)


class _Search:
    """The strategy of `Bayesian`."""

    def __init__(self, settings: Bayesian, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        self.space, self.knowledge = problem.space, problem.knowledge
        self._told = ProposalTracker()  # limits are kept where candidates are gathered
        self._done: list[Trial] = []
        self._infeasible: list[Candidate] = []
        self._running: dict[int, Candidate] = {}
        self._forms: set[str] = set()
        self._first: Candidate | None = None
        self._prior: Prior | None = None
        """Of a thousand candidates, which takes a second: made by the first `ask` after a tell."""
        self._era = 0
        """How often trials were forgotten: what was fitted before is of other trials."""
        self._posteriors = Posteriors(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        batch: _Batch | None = None

        def one(known: Set[Candidate], asked: int) -> Proposal | None:
            nonlocal batch
            batch = batch or _Batch(self._prior_for(rng), known, set(self._forms))
            proposal = self._next(batch, rng)
            if proposal is not None:
                batch.chosen.append(proposal.candidate)
                batch.forms.add(self._form(proposal.candidate))
            return proposal

        return self._told.batch(n, one)

    def tell(self, trial: Trial) -> None:
        self._first = self._first or trial.candidate
        self._forms.add(self._form(trial.candidate))
        self._running.pop(trial.id, None)
        if self._told.record(trial):
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

    def _prior_for(self, rng: RNG) -> Prior:
        """A function of what was told: before anything was, it is drawn anew."""
        if self._first is None:
            return self._prior_of(rng)
        if self._prior is None:
            self._prior = self._prior_of(_generator(self.space.to_unit(self._first)))
        return self._prior

    def _prior_of(self, rng: RNG) -> Prior:
        """Scores among random candidates, each network once."""
        random = pools.new(pools.drawn(self.space, _REFERENCE, rng), set())
        reference = list(pools.distinct(random, set(), self.knowledge.canonical))
        return Prior.of(self.knowledge if self.settings.prior else DefaultKnowledge(), reference)

    def _next(self, batch: _Batch, rng: RNG) -> Proposal | None:
        begun = len(self._done) + len(self._running) + len(batch.chosen)
        if begun < self.settings.n_startup_trials or len(self._done) < _LEAST:
            found = self._spread_out(batch, rng)
        else:
            found = self._promising(batch, rng)
        return found or propose_unseen(self.space, batch.known, rng)

    def _spread_out(self, batch: _Batch, rng: RNG) -> Proposal | None:
        """Among those that the prior likes best one far from all tried."""
        prior = batch.prior
        new = self._within(self._untried(prior.reference, batch))
        if not new:
            return None
        if prior and not self._infeasible:
            scores = prior.of_candidates(new)
            best = np.argsort(-scores, kind="stable")[: max(1, int(_TOP * len(prior.reference)))]
            new = [new[i] for i in best]
        tried = [trial.candidate for trial in self._done]
        taken = [*tried, *self._infeasible, *self._running.values(), *batch.chosen]
        return Proposal(pools.spread(new, taken, self.space.encode, rng), origin="initial")

    def _promising(self, batch: _Batch, rng: RNG) -> Proposal | None:
        order = self._order()
        pool = self._pool(batch, order, rng)
        beliefs = Beliefs(
            self._era, tuple(self._done), tuple(self._infeasible),
            (*self._running.values(), *batch.chosen), batch.prior,
        )  # fmt: skip
        posterior = self._posteriors.after(beliefs)
        if posterior.is_blind and rng.random() < 0.5:
            return self._step(batch, order, rng)
        best = self._best([*pool], posterior.worth([*pool], rng), batch) if pool else None
        if best is None:
            return None
        parents = pool[best]
        near = pools.new(pools.steps_of_numbers(self.space, best, 200, rng), batch.known)
        if near:
            both = self._within([best, *near])
            best = self._best(both, posterior.worth(both, rng), batch) or best
        return Proposal(best, origin="model", parents=parents)

    @property
    def potential_parents(self) -> set[int]:
        """Those whose neighbours are looked at."""
        return {self._done[i].id for i in self._order()[: self._bases()]} if self._done else set()

    def _best(self, pool: list[Candidate], worth: Array, batch: _Batch) -> Candidate | None:
        """The worthiest whose network was not tried under another writing; few need be looked at."""
        order = np.argsort(-worth, kind="stable")
        return next(pools.distinct((pool[i] for i in order), batch.forms, self._form), None)

    def _untried(self, candidates: Iterable[Candidate], batch: _Batch) -> list[Candidate]:
        """Neither known, nor of a form that was tried."""
        return list(pools.distinct(pools.new(candidates, batch.known), batch.forms, self._form))

    def _pool(self, batch: _Batch, order: list[int], rng: RNG) -> dict[Candidate, tuple[int, ...]]:
        """One edit from the best eight, two from the best three, random ones, the prior's choice.

        Each with the trial of which it is an edit, if it is one.
        """
        bases = [self._done[i] for i in order[: self._bases()]]
        near = [pools.one_edit(self.space, base.candidate, rng) for base in bases]
        far = [pools.once_more(self.space, part, _FAR, rng) for part in near[:3]]
        random = pools.drawn(self.space, _RANDOM, rng)
        parents: dict[Candidate, tuple[int, ...]] = {}
        for base, edits in zip([*bases, *bases[:3]], [*near, *far], strict=True):
            for one in edits:
                parents.setdefault(one, (base.id,))
        found = [*chain.from_iterable([*near, *far]), *random, *self._liked(batch.prior)]
        pool = self._within(pools.new(found, batch.known))
        return {one: parents.get(one, ()) for one in pool}

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
        return self._able(candidates) or candidates

    def _able(self, candidates: list[Candidate]) -> list[Candidate]:
        return [c for c in candidates if self._posteriors.keeps_known(c)]

    def _step(self, batch: _Batch, order: list[int], rng: RNG) -> Proposal | None:
        """Local search: a random neighbour of the best candidate that has a new one."""
        for i in order:
            base = self._done[i]
            near = pools.one_edit(self.space, base.candidate, rng)
            if new := self._able(self._untried(near, batch)):
                chosen = new[int(rng.integers(len(new)))]
                return Proposal(chosen, origin="neighbour", parents=(base.id,))
        return None


def _generator(point: Array) -> RNG:
    """Seeded by a point: what is drawn depends on what was told, and not on names."""
    digest = blake2b(np.ascontiguousarray(point).tobytes(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
