"""Bayesian optimisation with a Gaussian process and expected improvement.

Expected improvement (Jones, Schonlau and Welch 1998) of a process whose kernel adds views of a
candidate: its decisions, and for networks their paths (White et al. 2021, 1910.11858), subtrees (Ru
et al. 2021, 2006.07556) and sizes. It is evaluated near the best candidates rather than everywhere
(White et al. 2021, "Exploring the loss landscape in NAS", 2005.02960).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, check_whole, expected
from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Candidate, Value
from netwright.strategies.bayesian import candidate_pools as pools
from netwright.strategies.bayesian.beliefs import (
    EARLIER_TRIALS,
    USER_BELIEF,
    Beliefs,
    Score,
    known_scores,
    user_score,
)
from netwright.strategies.bayesian.posterior import Posterior, SurrogateCache, SurrogateInputs
from netwright.strategies.bayesian.startup import startup_candidates
from netwright.strategies.bayesian.transfer import transferred_score
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
"""Random candidates among which sources of belief rank others."""
_MIN_BASES, _MAX_BASES = 8, 30
"""Best trials whose neighbours are in the pool; with several objectives the whole front."""
_N_TWO_EDIT_BASES = 3
"""Best trials with candidates two edits away in the pool."""
_N_TWO_EDIT_CANDIDATES, _N_RANDOM_CANDIDATES, _N_PRIOR_CANDIDATES = 150, 400, 200
_N_REFINEMENTS = 200
"""Perturbations of the numbers of the best candidate, evaluated last."""
_NOTE_DIGITS = 3
_SCEPTICAL_EVERY = 6
"""Each of so many proposals of the model trusts no belief."""
_LOCAL_STEP_PROBABILITY = 0.5
"""Probability of a local-search step while the model lacks skill."""


@dataclass(frozen=True)
class Bayesian:
    """Bayesian optimisation with a Gaussian process over decisions and networks; the default.

    Proposes the candidate with the largest expected improvement, averaged over what is believed
    beforehand: nothing, or that a score such as size foretells quality, each weighted by how well it
    has foretold the trials; every sixth proposal believes nothing. With several objectives: the
    expected hypervolume improvement if one of two is known before evaluation, else random weights
    (ParEGO). While the model predicts nothing, half of the proposals are local-search steps from
    the best candidates.

    Args:
        n_startup_trials: First trials without a model, by turns among the candidates that are
            believed to be good and among all; with several objectives from all parts of the range
            of costs. At least 1.
        prior: Whether to use what is known before evaluation: size, zero-cost scores. Each is a
            source of belief that the trials have to confirm; half of the weight, and never less than
            a fifth, stays with no belief. So are the trials of a `WarmStart`. A mapping adds a belief
            of your own: path of a decision -> the value that you expect to be good.
        confidence: Weight of your own belief before any trial, between 0 and 1.

    Raises:
        InputError: A setting is out of range; or, called with a problem, `prior` does not fit its
            space.

    Example:
        >>> strategy = Bayesian(prior={"lr": 1e-3}, confidence=0.5)
    """

    n_startup_trials: int = 5
    prior: bool | Mapping[str, Value] = field(default=True, hash=False)
    confidence: float = 0.3

    def __post_init__(self) -> None:
        check_whole("n_startup_trials", self.n_startup_trials, 1)
        if not isinstance(self.prior, bool | Mapping):
            fix = 'Use prior={"lr": 1e-3}.'
            raise InputError(expected("prior", "True, False or a mapping", self.prior, fix))
        if not 0 < self.confidence < 1:
            raise InputError(expected("confidence", "between 0 and 1", self.confidence))

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`."""
        return BayesianStrategy(self, problem)


@dataclass
class _Batch:
    """The state of one `ask`: seen candidates and tried forms include those chosen in it."""

    beliefs: Beliefs
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
        self._user_score = None
        if isinstance(settings.prior, Mapping) and settings.prior:
            self._user_score = user_score(self.space, settings.prior)
        self._beliefs: Beliefs | None = (
            None  # takes a second: made by the first `ask` after a `tell`
        )
        self._n_prunes = 0  # kernels fitted before a pruning are those of other trials
        self._cache = SurrogateCache(problem)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        batch: _Batch | None = None

        def propose(seen: Set[Candidate], n_proposed: int) -> Proposal | None:
            nonlocal batch
            batch = batch or _Batch(self._current_beliefs(rng), seen, set(self._tried_forms))
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

    def _current_beliefs(self, rng: RNG) -> Beliefs:
        """Return the beliefs, a function of the first trial; without trials, of random candidates."""
        if self._first_candidate is None:
            return self._make_beliefs(rng)
        if self._beliefs is None:
            seed_point = self.space.to_unit(self._first_candidate)
            self._beliefs = self._make_beliefs(_rng_from_point(seed_point))
        return self._beliefs

    @cached_property
    def _transferred_score(self) -> Score | None:
        """Prediction of the first objective from earlier trials; None without enough of them."""
        earlier = self.problem.earlier_trials
        return transferred_score(self._cache.features, earlier, self.problem.objectives[0])

    def _make_beliefs(self, rng: RNG) -> Beliefs:
        """Return beliefs whose reference are random candidates, each network once."""
        candidates = pools.sample_candidates(self.space, _N_REFERENCE_CANDIDATES, rng)
        unique = pools.exclude_seen(candidates, set())
        reference = list(pools.distinct(unique, set(), self.knowledge.canonical))
        scores = {} if self.settings.prior is False else known_scores(self.knowledge, reference)
        if self.settings.prior is not False and self._transferred_score is not None:
            scores = {**scores, EARLIER_TRIALS: self._transferred_score}
        if self._user_score is not None:
            scores = {**scores, USER_BELIEF: self._user_score}
        return Beliefs.from_reference(scores, reference, self.settings.confidence)

    @property
    def prior_weights(self) -> Mapping[str, Mapping[str, float]]:
        """Modelled objective -> source of belief -> how far the trials let it be trusted."""
        if len(self._done) < _MIN_MODEL_TRIALS:
            return {}
        beliefs = self._current_beliefs(np.random.default_rng(0))
        return self._cache.posterior(self._surrogate_inputs(beliefs, ())).prior_weights

    def _surrogate_inputs(
        self, beliefs: Beliefs, pending: tuple[Candidate, ...], *, trusts_beliefs: bool = True
    ) -> SurrogateInputs:
        trials, infeasible = tuple(self._done), tuple(self._infeasible)
        return SurrogateInputs(self._n_prunes, trials, infeasible, pending, beliefs, trusts_beliefs)

    def _propose(self, batch: _Batch, rng: RNG) -> Proposal | None:
        n_started = len(self._done) + len(self._running) + len(batch.chosen)
        if n_started < self.settings.n_startup_trials or len(self._done) < _MIN_MODEL_TRIALS:
            proposal = self._propose_startup(batch, n_started, rng)
        else:
            proposal = self._propose_from_model(batch, n_started, rng)
        return proposal or propose_unseen(self.space, batch.seen, rng)

    def _propose_startup(self, batch: _Batch, n_started: int, rng: RNG) -> Proposal | None:
        """Propose a candidate far from all tried ones, see `startup_candidates`."""
        reference = [*batch.beliefs.reference, *self._believed(batch.beliefs.reference)]
        candidates = self._prefer_allowed(self._untried(reference, batch))
        if not candidates:
            return None
        beliefs = Beliefs() if self._infeasible else batch.beliefs
        n_startup = self.settings.n_startup_trials
        candidates = startup_candidates(self.problem, beliefs, candidates, n_started, n_startup)
        tried = [trial.candidate for trial in self._done]
        taken = [*tried, *self._infeasible, *self._running.values(), *batch.chosen]
        chosen = pools.sample_distant(candidates, taken, self.space.encode, rng)
        return Proposal(chosen, origin="initial")

    def _propose_from_model(self, batch: _Batch, n_started: int, rng: RNG) -> Proposal | None:
        """Propose the candidate with the largest acquisition value, its numbers refined."""
        order = self._order()
        pool = self._candidate_pool(batch, order, rng)
        pending = (*self._running.values(), *batch.chosen)
        n_of_model = max(0, n_started - self.settings.n_startup_trials) + 1
        is_sceptical = n_of_model % _SCEPTICAL_EVERY == 0
        inputs = self._surrogate_inputs(batch.beliefs, pending, trusts_beliefs=not is_sceptical)
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
        note = _weights_note(posterior, is_sceptical=is_sceptical) if batch.beliefs else {}
        return Proposal(best, origin="model", parents=parents, note=note)

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
        candidates that each source of belief likes best.
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
        candidates = [*edits_of_all, *random, *self._believed_good(batch.beliefs, random)]
        pool = self._prefer_allowed(pools.exclude_seen(candidates, batch.seen))
        return {candidate: parents.get(candidate, ()) for candidate in pool}

    def _believed_good(self, beliefs: Beliefs, random: list[Candidate]) -> list[Candidate]:
        """Return the reference candidates that each source of belief likes best."""
        if not beliefs:
            return []
        likings = [beliefs.reference_agreement, *beliefs.reference_scores]
        n_each = _N_PRIOR_CANDIDATES // len(likings)
        best = {int(i) for liking in likings for i in np.argsort(-liking, kind="stable")[:n_each]}
        return [*(beliefs.reference[i] for i in sorted(best)), *self._believed(random)]

    def _believed(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return candidates with the decisions of the user's belief, where they can have them."""
        prior = self.settings.prior
        if not isinstance(prior, Mapping):
            return []
        changed = (
            Candidate({path: prior.get(path, drawn) for path, drawn in candidate.values.items()})
            for candidate in candidates
        )
        return [candidate for candidate in changed if self.space.contains(candidate)]

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


def _weights_note(posterior: Posterior, *, is_sceptical: bool) -> dict[str, Value]:
    """Return the weights of the sources of belief, for a proposal's note."""
    if is_sceptical:
        return {"prior": "not used, as in every sixth proposal"}
    return {
        f"prior {metric} {source}": round(weight, _NOTE_DIGITS)
        for metric, weights in posterior.prior_weights.items()
        for source, weight in weights.items()
    }


def _rng_from_point(point: Array) -> RNG:
    """Return a generator seeded by a point: independent of the names of decisions."""
    digest = blake2b(np.ascontiguousarray(point).tobytes(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))
