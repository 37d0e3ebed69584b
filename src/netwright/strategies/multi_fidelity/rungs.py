"""Rungs of several fidelities, and where new candidates come from.

Shared by successive halving, Hyperband (`halving.py`) and ASHA (`asha.py`). The wrapped algorithm
proposes the candidates; BOHB (Falkner, Klein and Hutter 2018, arXiv:1807.01774) and DEHB (Awad,
Mallik and Hutter 2021, arXiv:2105.09821) are compositions.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from typing import Protocol, runtime_checkable

from netwright.errors import InputError, Phrase, check_whole, expected
from netwright.interfaces.checks import as_algorithm, checked_proposals, name_of
from netwright.interfaces.strategy import (
    RNG,
    Algorithm,
    Problem,
    Strategy,
    potential_parents,
    searches,
)
from netwright.space.candidate import Candidate, Value
from netwright.strategies.proposal_tracker import first_within_limits
from netwright.strategies.random import RandomSearch, propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

BRACKET = "bracket"
"""Key of our entry in a proposal's note; all other keys are the wrapped strategy's."""
_MAX_FIRST_FULL_FIDELITY_TRIALS = 3
"""New candidates tried at full fidelity until one succeeds; then promoted candidates are tried."""
_MIN_MUTATION_PARENTS = 4
"""Pool size for rand/1: three individuals, and one more in case one of them is the target."""
_ROUNDING_TOLERANCE = 1e-9


@dataclass(frozen=True, repr=False)
class MultiFidelity(ABC):
    """Base of the multi-fidelity algorithms: many candidates at low fidelity, the best at higher.

    Each fidelity has its own strategy, which is told the trials of that fidelity only: losses of
    different fidelities are never compared. Candidates tried at other fidelities are reported to it
    as failed trials: seen, but without metrics.

    A fidelity is at least `eta` times the one below: those that the evaluator declares, or 1,
    1/eta, 1/eta^2... if it accepts any. A rung promotes the share by which the fidelity rises
    (1/eta), so that every rung costs the same.

    Only trials at full fidelity enter a study's front. So, without baselines, the first trial of
    all has full fidelity, and so have others until one succeeds. When there is no new candidate
    left, all others are promoted to full fidelity, best first.

    Args:
        algorithm: The algorithm that proposes new candidates, or the class of its settings.
        eta: Ratio of consecutive fidelities, and the inverse of the promoted share. Above 1.
        min_fidelity: Lowest fidelity, in (0, 1).
        random_fraction: Share of new candidates drawn at random, in [0, 1]; the default is that of
            BOHB. Candidates for which the strategy would have to wait are random, too, so that a
            misled model cannot hold up the search. None are if `algorithm` does not search.
        min_trials_for_model: New candidates come from the strategy of the highest fidelity with
            this many finished trials, as in BOHB; as many as the algorithm needs to start.

    Raises:
        InputError: A setting is out of range, or `algorithm` is itself multi-fidelity.
    """

    algorithm: Algorithm = RandomSearch()  # noqa: RUF009  # frozen
    eta: float = 3
    min_fidelity: float = 0.05
    random_fraction: float = 1 / 3
    min_trials_for_model: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", as_algorithm(self.algorithm))
        if isinstance(self.algorithm, MultiFidelity):
            got = Phrase(type(self.algorithm).__name__)
            raise InputError(expected("algorithm", "one that leaves fidelities alone", got))
        if not self.eta > 1:
            raise InputError(expected("eta", "above 1", self.eta, "Use 3 or 4."))
        if not 0 < self.min_fidelity < 1:
            raise InputError(expected("min_fidelity", "between 0 and 1", self.min_fidelity))
        if not 0 <= self.random_fraction <= 1:
            raise InputError(expected("random_fraction", "from 0 to 1", self.random_fraction))
        check_whole("min_trials_for_model", self.min_trials_for_model, 1)

    def __repr__(self) -> str:
        """Leave out memory addresses: a run resumes only with an equal algorithm."""
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        settings["algorithm"] = name_of(self.algorithm)
        text = ", ".join(f"{name}={value}" for name, value in settings.items())
        return f"{type(self).__name__}({text})"

    @property
    def searches(self) -> bool:
        """Whether `algorithm` proposes candidates of its own; only then are some drawn at random."""
        return searches(self.algorithm)

    def promoted_share(self, fidelity_ratio: float) -> float:
        """Return the share of a rung that is promoted.

        Args:
            fidelity_ratio: The rung's fidelity divided by that of the next one.
        """
        return fidelity_ratio

    @abstractmethod
    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`.

        Raises:
            InputError: There is no fidelity from `min_fidelity` to below 1.
        """


def rung_fidelities(
    fidelities: Sequence[float], eta: float, min_fidelity: float
) -> tuple[float, ...]:
    """Return the rungs' fidelities, rising to 1, each about `eta` times the one below.

    Args:
        fidelities: Fidelities to choose from; if empty, 1, 1/eta, 1/eta^2...
        eta: Ratio of consecutive fidelities.
        min_fidelity: Lowest fidelity.

    Raises:
        InputError: There is no fidelity from `min_fidelity` to below 1.
    """
    if not fidelities:
        n_rungs_below = math.floor(math.log(1 / min_fidelity, eta) + _ROUNDING_TOLERANCE)
        descending = [eta**-k for k in range(n_rungs_below + 1)]
    else:
        allowed = [
            fidelity
            for fidelity in fidelities
            if min_fidelity - _ROUNDING_TOLERANCE <= fidelity < 1
        ]
        descending = [1.0]
        while below := [fidelity for fidelity in allowed if fidelity < descending[-1]]:
            target = descending[-1] / eta
            at_most_target = [
                fidelity for fidelity in below if fidelity <= target * (1 + _ROUNDING_TOLERANCE)
            ]
            if not at_most_target and len(descending) > 1:
                break
            descending.append(max(at_most_target) if at_most_target else min(below))
    if len(descending) < 2:
        raise InputError(_no_low_fidelity(fidelities, eta, min_fidelity))
    return tuple(reversed(descending))


def _no_low_fidelity(fidelities: Sequence[float], eta: float, min_fidelity: float) -> str:
    rule = f"such that one is from min_fidelity ({min_fidelity:g}) to below 1"
    if fidelities:
        return expected("fidelities", rule, list(fidelities), "Use a smaller min_fidelity.")
    fix = f"Use a min_fidelity below {1 / eta:.3g}."
    return expected("min_fidelity", rule, min_fidelity, fix)


class SubPopulation(Strategy, Protocol):
    """A population of one fidelity, whose children have parents at the fidelity below (DEHB)."""

    @property
    def individuals(self) -> Sequence[Trial]:
        """The current population."""
        ...

    def propose_child(
        self, pool: Sequence[Trial], seen: Set[Candidate], n_proposed: int, rng: RNG
    ) -> Proposal | None:
        """Return an unseen child of parents in `pool`; `n_proposed` were made since the last tell.

        None while it has too few individuals, or if no unseen child is drawn.
        """
        ...


@runtime_checkable
class SubPopulationAlgorithm(Protocol):
    """An algorithm that makes a sub-population for each fidelity."""

    def sub_population(self, problem: Problem, size: int) -> SubPopulation: ...


@dataclass
class Rung:
    """The trials of one fidelity, and the strategy that is told of them.

    Args:
        fidelity: In (0, 1].
        strategy: The wrapped algorithm's strategy for this fidelity.
        population: The same strategy, if it is a sub-population.
        started: All candidates that were started.
        running: Ids of running trials.
        done: Trials that finished with metrics.
        n_ended: Trials that finished or were infeasible.
    """

    fidelity: float
    strategy: Strategy
    population: SubPopulation | None = None
    started: set[Candidate] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    done: list[Trial] = field(default_factory=list)
    n_ended: int = 0

    def record(self, trial: Trial) -> None:
        """Record the start or end of a trial of this fidelity."""
        self.started.add(trial.candidate)
        self.running.discard(trial.id)
        if trial.status is Status.RUNNING:
            self.running.add(trial.id)
        elif trial.status is not Status.FAILED:
            self.n_ended += 1
            if trial.status is Status.DONE:
                self.done.append(trial)
        self.strategy.tell(_at_full_fidelity(trial))


class RungLadder:
    """All rungs, lowest fidelity first.

    With `sizes` (fidelity -> individuals), an algorithm that supports it gets a sub-population for
    each rung.
    """

    def __init__(
        self, settings: MultiFidelity, problem: Problem, sizes: Mapping[float, int] | None = None
    ) -> None:
        self.settings, self.problem, self.space = settings, problem, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.seen: set[Candidate] = set()
        # no supernet: only the study runs preparations, and it does not see a rung's strategy
        inner_problem = replace(problem, fidelities=(1.0,), supernet=None)
        algorithm = settings.algorithm
        self.rungs: list[Rung] = []
        for fidelity in rung_fidelities(problem.fidelities, settings.eta, settings.min_fidelity):
            if sizes is not None and isinstance(algorithm, SubPopulationAlgorithm):
                population = algorithm.sub_population(inner_problem, sizes[fidelity])
                self.rungs.append(Rung(fidelity, population, population))
            else:
                self.rungs.append(Rung(fidelity, algorithm(inner_problem)))
        self._ranked_trials: dict[int, tuple[int, list[Trial]]] = {}  # rung -> (n done, ranked)
        self._index_of_fidelity = {rung.fidelity: k for k, rung in enumerate(self.rungs)}

    def rung_index(self, trial: Trial) -> int | None:
        """Return the index of the trial's rung; None if no rung has its fidelity."""
        return self._index_of_fidelity.get(trial.proposal.fidelity)

    def tell(self, trial: Trial) -> None:
        """Tell the strategy of the trial's rung; tell the others once that the candidate is seen."""
        is_new, rung_index = trial.candidate not in self.seen, self.rung_index(trial)
        self.seen.add(trial.candidate)
        for k, rung in enumerate(self.rungs):
            if k == rung_index:
                rung.record(trial)
            elif is_new:
                for status in (Status.RUNNING, Status.FAILED):
                    rung.strategy.tell(
                        Trial(trial.id, Proposal(trial.candidate), trial.seed, status)
                    )

    @property
    def potential_parents(self) -> set[int]:
        """Ids of trials that may be promoted or become parents in a rung's own strategy."""
        ids: set[int] = set()
        for k, rung in enumerate(self.rungs):
            ids.update(potential_parents(rung.strategy))
            if k + 1 < len(self.rungs):
                n_promotable = math.ceil(len(rung.done) * self.promoted_share(k))
                above = self.rungs[k + 1].started
                best = self.ranked(k)[:n_promotable]
                ids.update(trial.id for trial in best if trial.candidate not in above)
        return ids

    def sort_by_rank(self, trials: Sequence[Trial]) -> list[Trial]:
        """Sort trials by front rank, best first; those outside the limits last."""
        return [trials[i] for i in crowded_order(trials, self.objectives, self.limits)]

    def ranked(self, k: int) -> list[Trial]:
        """Return the finished trials of rung `k`, best first (cached)."""
        done = self.rungs[k].done  # it only grows: its length identifies it
        if k not in self._ranked_trials or self._ranked_trials[k][0] != len(done):
            self._ranked_trials[k] = len(done), self.sort_by_rank(done)
        return self._ranked_trials[k][1]

    def promoted_share(self, k: int) -> float:
        """Return the share of rung `k` that is promoted."""
        fidelity_ratio = self.rungs[k].fidelity / self.rungs[k + 1].fidelity
        return self.settings.promoted_share(fidelity_ratio)

    def first_at_full_fidelity(self, source: CandidateSource) -> Proposal | None:
        """Return a proposal at full fidelity unless a trial there is running or finished.

        The first few are new candidates; if these fail, the best candidates of lower rungs.
        """
        top = self.rungs[-1]
        if top.done or top.running:
            return None
        if len(top.started) < _MAX_FIRST_FULL_FIDELITY_TRIALS:
            return source.propose_new(len(self.rungs) - 1, {})
        return next(self.unpromoted(()), None)

    def model_rung(self, k: int) -> int:
        """Return the rung whose strategy proposes for rung `k`.

        The highest one with enough finished trials (BOHB); a sub-population proposes for itself.
        """
        if self.rungs[k].population is None:
            for j in reversed(range(len(self.rungs))):
                if len(self.rungs[j].done) >= self.settings.min_trials_for_model:
                    return j
        return k

    def parent_pool(self, k: int, size: int, rng: RNG) -> list[Trial]:
        """Return DEHB's parents for rung `k`: the best of the sub-population below.

        Filled up at random from all sub-populations if too small for a difference vector.
        """
        pool = self.sort_by_rank(self._individuals(k - 1))[:size]
        if not pool or len(pool) >= _MIN_MUTATION_PARENTS:
            return pool
        pool_ids = {trial.id for trial in pool}
        everyone = [trial for j in range(len(self.rungs)) for trial in self._individuals(j)]
        others = [trial for trial in everyone if trial.id not in pool_ids]
        chosen = rng.permutation(len(others))[: _MIN_MUTATION_PARENTS - len(pool)]
        return pool + [others[i] for i in chosen]

    def unpromoted(self, proposals: Sequence[Proposal]) -> Iterator[Proposal]:
        """Promote all other candidates to full fidelity: highest rung first, best first."""
        at_top = {
            *self.rungs[-1].started,
            *(proposal.candidate for proposal in proposals),
        }
        top = len(self.rungs) - 1
        for k in reversed(range(top)):
            for trial in self.ranked(k):
                if trial.candidate not in at_top:
                    at_top.add(trial.candidate)
                    yield self.promote(trial, top, {})

    def promote(self, trial: Trial, k: int, note: Mapping[str, Value]) -> Proposal:
        """Return a proposal of the trial's candidate at the fidelity of rung `k`."""
        fidelity = self.rungs[k].fidelity
        return Proposal(trial.candidate, fidelity, "promotion", (trial.id,), note)

    def _individuals(self, k: int) -> Sequence[Trial]:
        population = self.rungs[k].population
        return population.individuals if population else ()


class CandidateSource:
    """New candidates for one `ask` of at most `n`; each rung's strategy is asked at most once."""

    def __init__(self, ladder: RungLadder, n: int, rng: RNG) -> None:
        self._ladder, self._n, self._rng = ladder, n, rng
        self._seen = set(ladder.seen)
        self._queues: dict[int, deque[Proposal]] = {}  # rung -> its strategy's proposals
        self._n_children: Counter[int] = Counter()
        self.exhausted = False

    def propose_new(self, k: int, note: Mapping[str, Value]) -> Proposal | None:
        """Return an unseen candidate at the fidelity of rung `k`; None if there is none left."""
        ladder, rng, may_draw = self._ladder, self._rng, self._ladder.settings.searches
        proposal = None
        if not may_draw or rng.random() >= ladder.settings.random_fraction:
            proposal = self._from_strategy(ladder.model_rung(k))
        if proposal is None and may_draw:
            proposal = first_within_limits(
                ladder.problem, lambda: propose_unseen(ladder.space, self._seen, rng), self._seen
            )
        self.exhausted = proposal is None
        return None if proposal is None else self._at_rung(k, proposal, note)

    def propose_child(self, k: int, size: int, note: Mapping[str, Value]) -> Proposal | None:
        """Return a child for rung `k` of the best `size` individuals below it.

        None if the rung has no sub-population, or this one cannot propose a child (yet).
        """
        population = self._ladder.rungs[k].population
        if population is None:
            return None
        pool = self._ladder.parent_pool(k, size, self._rng)
        proposal = first_within_limits(
            self._ladder.problem,
            lambda: population.propose_child(pool, self._seen, self._n_children[k], self._rng),
            self._seen,
        )
        self._n_children[k] += 1
        return None if proposal is None else self._at_rung(k, proposal, note)

    def _from_strategy(self, k: int) -> Proposal | None:
        if k not in self._queues:
            strategy, space = self._ladder.rungs[k].strategy, self._ladder.problem.space
            self._queues[k] = deque(checked_proposals(strategy, space, self._n, self._rng))
        while self._queues[k]:
            if (proposal := self._queues[k].popleft()).candidate not in self._seen:
                return proposal
        return None  # the strategy waits for running trials, or has no unseen candidate

    def _at_rung(self, k: int, proposal: Proposal, note: Mapping[str, Value]) -> Proposal:
        self._seen.add(proposal.candidate)
        fidelity = self._ladder.rungs[k].fidelity
        return replace(proposal, fidelity=fidelity, note={**proposal.note, **note})


def _at_full_fidelity(trial: Trial) -> Trial:
    """Return the trial as the strategy of its rung sees it: fidelity 1, and its own note."""
    note = {key: value for key, value in trial.proposal.note.items() if key != BRACKET}
    return replace(trial, proposal=replace(trial.proposal, fidelity=1.0, note=note))
