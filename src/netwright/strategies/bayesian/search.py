"""Bayesian optimisation with a Gaussian process and expected improvement.

Expected improvement (Jones, Schonlau and Welch 1998) of a process whose kernel adds views of a
candidate: its decisions, and for networks their paths (White et al. 2021, 1910.11858), subtrees (Ru
et al. 2021, 2006.07556) and sizes. It is evaluated near the best candidates rather than everywhere
(White et al. 2021, "Exploring the loss landscape in NAS", 2005.02960).
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
from netwright.strategies.bayesian.posterior import SurrogateCache, SurrogateInputs
from netwright.strategies.bayesian.prior import Prior
from netwright.strategies.proposal_tracker import ProposalTracker
from netwright.strategies.random import propose_unseen
from netwright.trials.selection import constrained_ranks, crowded_order
from netwright.trials.trial import Proposal, Status, Trial

Array = NDArray[np.float64]

_MAX_MODEL_TRIALS, _N_BEST_TRIALS, _N_LATEST_TRIALS = 500, 250, 200
"""Beyond the first number of trials, only the best and the latest are kept: the cost of a proposal
is bounded."""
_MIN_MODEL_TRIALS = 2
_N_REFERENCE_CANDIDATES = 1000
"""Random candidates among which the prior scores are ranked."""
_MIN_BASES, _MAX_BASES = 8, 30
"""Best trials whose neighbours are in the pool; with several objectives the whole front."""
_N_TWO_EDIT_BASES = 3
"""Best trials with candidates two edits away in the pool."""
_N_TWO_EDIT_CANDIDATES, _N_RANDOM_CANDIDATES, _N_PRIOR_CANDIDATES = 150, 400, 200
_N_REFINEMENTS = 200
"""Perturbations of the numbers of the best candidate, evaluated last."""
_STARTUP_TOP_SHARE = 0.1
"""Share of the reference with the highest prior scores, from which the first trials are drawn."""
_LOCAL_STEP_PROBABILITY = 0.5
"""Probability of a local-search step while the model lacks skill."""


@dataclass(frozen=True)
class Bayesian:
    """Bayesian optimisation with a Gaussian process over decisions and networks; the default.

    Proposes the candidate with the largest expected improvement. With several objectives: the
    expected hypervolume improvement if one of two is known before evaluation, else random weights
    (ParEGO). While the model predicts nothing, half of the proposals are local-search steps from
    the best candidates.

    Args:
        n_startup_trials: First trials without a model, spread out over candidates with high prior
            scores. At least 1.
        prior: Whether to use scores known before evaluation (size, zero-cost scores), which tend
            to be high for good candidates. They are dropped if they turn out not to be.

    Raises:
        InputError: `n_startup_trials` is below 1 or not a whole number.
    """

    n_startup_trials: int = 5
    prior: bool = True

    def __post_init__(self) -> None:
        check_whole("n_startup_trials", self.n_startup_trials, 1)

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return BayesianStrategy(self, problem)


@dataclass
class _Batch:
    """The state of one `ask`: seen candidates and tried forms include those chosen in it."""

    prior: Prior
    seen: Set[Candidate]
    tried_forms: set[str]
    chosen: list[Candidate] = field(default_factory=list)


class BayesianStrategy:
    """The strategy made by `Bayesian`."""

    def __init__(self, settings: Bayesian, problem: Problem) -> None:
        self.settings, self.problem = settings, problem
        self.space, self.knowledge = problem.space, problem.knowledge
        self._tracker = ProposalTracker()  # limits are enforced where candidates are collected
        self._done: list[Trial] = []
        self._infeasible: list[Candidate] = []
        self._running: dict[int, Candidate] = {}
        self._tried_forms: set[str] = set()
        self._first_candidate: Candidate | None = None
        self._prior: Prior | None = None  # takes a second: made by the first `ask` after a `tell`
        self._n_prunes = 0  # kernels fitted before a pruning are those of other trials
        self._cache = SurrogateCache(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        batch: _Batch | None = None

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            nonlocal batch
            batch = batch or _Batch(self._current_prior(rng), seen, set(self._tried_forms))
            proposal = self._propose(batch, rng)
            if proposal is not None:
                batch.chosen.append(proposal.candidate)
                batch.tried_forms.add(self._form_of(proposal.candidate))
            return proposal

        return self._tracker.fill_batch(n, propose)

    def tell(self, trial: Trial) -> None:
        self._first_candidate = self._first_candidate or trial.candidate
        self._tried_forms.add(self._form_of(trial.candidate))
        self._running.pop(trial.id, None)
        if self._tracker.record(trial):
            self._done.append(trial)
            self._prune_trials()
        elif trial.status is Status.RUNNING:
            self._running[trial.id] = trial.candidate
        elif trial.status is Status.INFEASIBLE:
            self._infeasible = [*self._infeasible, trial.candidate][-_N_LATEST_TRIALS:]

    def _prune_trials(self) -> None:
        """Keep only the best and the latest trials, if there are too many."""
        if len(self._done) <= _MAX_MODEL_TRIALS:
            return
        best_ids = {self._done[i].id for i in self._order()[:_N_BEST_TRIALS]}
        best = [trial for trial in self._done[:-_N_LATEST_TRIALS] if trial.id in best_ids]
        self._done = [*best, *self._done[-_N_LATEST_TRIALS:]]
        self._n_prunes += 1

    def _form_of(self, candidate: Candidate) -> str:
        """Return the canonical form and the known objectives: equal for equivalent candidates."""
        metrics = self.knowledge.metrics(candidate)
        cost = [metrics.get(objective.metric) for objective in self.problem.objectives]
        return f"{self.knowledge.canonical(candidate)} {cost}"

    def _order(self) -> list[int]:
        return crowded_order(self._done, self.problem.objectives, self.problem.limits)

    def _current_prior(self, rng: RNG) -> Prior:
        """Return the prior, a function of the first trial; without trials, a random one."""
        if self._first_candidate is None:
            return self._make_prior(rng)
        if self._prior is None:
            seed_point = self.space.to_unit(self._first_candidate)
            self._prior = self._make_prior(_rng_from_point(seed_point))
        return self._prior

    def _make_prior(self, rng: RNG) -> Prior:
        """Return a prior whose reference are random candidates, each network once."""
        candidates = pools.sample_candidates(self.space, _N_REFERENCE_CANDIDATES, rng)
        unique = pools.exclude_seen(candidates, set())
        reference = list(pools.distinct(unique, set(), self.knowledge.canonical))
        knowledge = self.knowledge if self.settings.prior else DefaultKnowledge()
        return Prior.from_reference(knowledge, reference)

    def _propose(self, batch: _Batch, rng: RNG) -> Proposal | None:
        n_started = len(self._done) + len(self._running) + len(batch.chosen)
        if n_started < self.settings.n_startup_trials or len(self._done) < _MIN_MODEL_TRIALS:
            proposal = self._propose_startup(batch, rng)
        else:
            proposal = self._propose_from_model(batch, rng)
        return proposal or propose_unseen(self.space, batch.seen, rng)

    def _propose_startup(self, batch: _Batch, rng: RNG) -> Proposal | None:
        """Propose a candidate with a high prior score, far from all tried ones."""
        prior = batch.prior
        candidates = self._prefer_allowed(self._untried(prior.reference, batch))
        if not candidates:
            return None
        if prior and not self._infeasible:
            scores = prior.scores_of(candidates)
            n_top = max(1, int(_STARTUP_TOP_SHARE * len(prior.reference)))
            top = np.argsort(-scores, kind="stable")[:n_top]
            candidates = [candidates[i] for i in top]
        tried = [trial.candidate for trial in self._done]
        taken = [*tried, *self._infeasible, *self._running.values(), *batch.chosen]
        chosen = pools.sample_distant(candidates, taken, self.space.encode, rng)
        return Proposal(chosen, origin="initial")

    def _propose_from_model(self, batch: _Batch, rng: RNG) -> Proposal | None:
        """Propose the candidate with the largest acquisition value, its numbers refined."""
        order = self._order()
        pool = self._candidate_pool(batch, order, rng)
        pending = (*self._running.values(), *batch.chosen)
        inputs = SurrogateInputs(
            self._n_prunes, tuple(self._done), tuple(self._infeasible), pending, batch.prior
        )
        posterior = self._cache.posterior(inputs)
        if posterior.lacks_skill and rng.random() < _LOCAL_STEP_PROBABILITY:
            return self._propose_neighbour(batch, order, rng)
        if not pool:
            return None
        values = posterior.acquisition_values([*pool], rng)
        best = self._best_untried([*pool], values, batch)
        if best is None:
            return None
        parents = pool[best]
        perturbed = pools.perturb_numbers(self.space, best, _N_REFINEMENTS, rng)
        refinements = pools.exclude_seen(perturbed, batch.seen)
        if refinements:
            candidates = self._prefer_allowed([best, *refinements])
            values = posterior.acquisition_values(candidates, rng)
            best = self._best_untried(candidates, values, batch) or best
        return Proposal(best, origin="model", parents=parents)

    @property
    def potential_parents(self) -> set[int]:
        """Ids of the best trials, whose neighbours are in the pool."""
        return {self._done[i].id for i in self._order()[: self._n_bases()]} if self._done else set()

    def _best_untried(
        self, pool: list[Candidate], values: Array, batch: _Batch
    ) -> Candidate | None:
        """Return the best candidate whose form is untried; lazy, since forms are slow to compute."""
        order = np.argsort(-values, kind="stable")
        best_first = (pool[i] for i in order)
        return next(pools.distinct(best_first, batch.tried_forms, self._form_of), None)

    def _untried(self, candidates: Iterable[Candidate], batch: _Batch) -> list[Candidate]:
        """Return the candidates that are unseen and of untried forms."""
        unseen = pools.exclude_seen(candidates, batch.seen)
        return list(pools.distinct(unseen, batch.tried_forms, self._form_of))

    def _candidate_pool(
        self, batch: _Batch, order: list[int], rng: RNG
    ) -> dict[Candidate, tuple[int, ...]]:
        """Return unseen candidates with the ids of their parents, if they are edits of a trial.

        One edit from the best trials, two from the very best, random ones, and the reference
        candidates with the highest prior scores.
        """
        bases = [self._done[i] for i in order[: self._n_bases()]]
        one_edit = [pools.one_edit_away(self.space, base.candidate, rng) for base in bases]
        two_edits = [
            pools.two_edits_away(self.space, neighbours, _N_TWO_EDIT_CANDIDATES, rng)
            for neighbours in one_edit[:_N_TWO_EDIT_BASES]
        ]
        random = pools.sample_candidates(self.space, _N_RANDOM_CANDIDATES, rng)
        edits_per_base = [*one_edit, *two_edits]
        parents: dict[Candidate, tuple[int, ...]] = {}
        for base, edits in zip([*bases, *bases[:_N_TWO_EDIT_BASES]], edits_per_base, strict=True):
            for candidate in edits:
                parents.setdefault(candidate, (base.id,))
        edits_of_all = chain.from_iterable(edits_per_base)
        candidates = [*edits_of_all, *random, *self._prior_favourites(batch.prior)]
        pool = self._prefer_allowed(pools.exclude_seen(candidates, batch.seen))
        return {candidate: parents.get(candidate, ()) for candidate in pool}

    def _prior_favourites(self, prior: Prior) -> list[Candidate]:
        if not prior:
            return []
        best = np.argsort(-prior.reference_scores, kind="stable")[:_N_PRIOR_CANDIDATES]
        return [prior.reference[i] for i in best]

    def _n_bases(self) -> int:
        """Return how many of the best trials have neighbours in the pool: at most the front."""
        if len(self.problem.objectives) == 1:
            return _MIN_BASES
        rank = constrained_ranks(self._done, self.problem.objectives, self.problem.limits)
        return min(max(_MIN_BASES, int((rank == 0).sum())), _MAX_BASES)

    def _prefer_allowed(self, candidates: list[Candidate]) -> list[Candidate]:
        """Return the candidates within the known limits; all of them if none is."""
        return self._allowed(candidates) or candidates

    def _allowed(self, candidates: list[Candidate]) -> list[Candidate]:
        is_allowed = self._cache.is_within_known_limits
        return [candidate for candidate in candidates if is_allowed(candidate)]

    def _propose_neighbour(self, batch: _Batch, order: list[int], rng: RNG) -> Proposal | None:
        """Local search: propose a random untried neighbour of the best trial that has one."""
        for i in order:
            base = self._done[i]
            neighbours = pools.one_edit_away(self.space, base.candidate, rng)
            if untried := self._allowed(self._untried(neighbours, batch)):
                chosen = untried[int(rng.integers(len(untried)))]
                return Proposal(chosen, origin="neighbour", parents=(base.id,))
        return None


def _rng_from_point(point: Array) -> RNG:
    """Return a generator seeded by a point: independent of the names of decisions."""
    digest = blake2b(np.ascontiguousarray(point).tobytes(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
