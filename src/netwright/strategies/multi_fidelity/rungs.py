"""Searching at several fidelities: rungs, what is known at each, and where new candidates come from.

What successive halving, Hyperband and ASHA have in common (`halving.py`, `asha.py`). The algorithm
they wrap proposes the candidates; BOHB (Falkner, Klein and Hutter 2018, arXiv:1807.01774) and DEHB
(Awad, Mallik and Hutter 2021, arXiv:2105.09821) are compositions.
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
from netwright.interfaces.strategy import RNG, Algorithm, Problem, Strategy, potential_parents
from netwright.space.candidate import Candidate, Value
from netwright.strategies.proposal_tracker import within
from netwright.strategies.random import RandomSearch, propose_unseen
from netwright.trials.selection import crowded_order
from netwright.trials.trial import Proposal, Status, Trial

BRACKET = "bracket"
"""What is ours in a note; the rest is the wrapped strategy's."""
_FIRST = 3
"""So many new candidates are tried as a first answer at full fidelity."""
_DIFFERENCE = 4
"""Individuals that a mutant needs: three, of which none is its rival."""
_EPSILON = 1e-9


@dataclass(frozen=True, repr=False)
class MultiFidelity(ABC):
    """Many candidates at low fidelity, the best of them at higher ones.

    `algorithm` proposes the candidates. Each fidelity has a strategy of its own, which is told the
    trials of that fidelity and no others: losses of different fidelities are never compared. Of
    what was tried elsewhere it hears as of a trial that failed, known and without a result. New
    candidates come from the strategy of the highest fidelity with `enough` results, as in BOHB (as
    many as the algorithm needs to begin); a share `random` of them is drawn at random, and so are
    those for which the strategy has to wait: a misled model cannot hold up the search.

    A fidelity is at least `eta` times the one below, from `least` to 1: of those that the evaluator
    has, or 1, 1/eta, 1/eta^2... where it takes any. A rung passes on the share by which the
    fidelity rises (1/eta), so that every rung costs the same.

    Only full fidelity enters a study's front. So without baselines the first trial of all has it,
    and others until one of them succeeds; when there is no new candidate left, the rest follows,
    best first, until all have it.
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
            raise InputError(expected("least", "between 0 and 1", self.min_fidelity))
        if not 0 <= self.random_fraction <= 1:
            raise InputError(expected("random", "from 0 to 1", self.random_fraction))
        check_whole("enough", self.min_trials_for_model, 1)

    def __repr__(self) -> str:
        """Without addresses: a run folder is gone on with by the same one only."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["algorithm"] = name_of(self.algorithm)
        settings = ", ".join(f"{name}={value}" for name, value in values.items())
        return f"{type(self).__name__}({settings})"

    def passed(self, rise: float) -> float:
        """The share of a rung that is passed on to one whose fidelity is 1 / `rise` times its own."""
        return rise

    @abstractmethod
    def __call__(self, problem: Problem) -> Strategy: ...


def rungs(fidelities: Sequence[float], eta: float, least: float) -> tuple[float, ...]:
    """The fidelities to use, rising to 1: each about `eta` times the one below.

    Of the given ones, or 1, 1/eta, 1/eta^2... where none are given. Raises InputError when there
    is none from `least` to below 1.
    """
    if not fidelities:
        steps = math.floor(math.log(1 / least, eta) + _EPSILON)
        found = [eta**-k for k in range(steps + 1)]
    else:
        able = [one for one in fidelities if least - _EPSILON <= one < 1]
        found = [1.0]
        while below := [one for one in able if one < found[-1]]:
            wanted = found[-1] / eta
            far = [one for one in below if one <= wanted * (1 + _EPSILON)]
            if not far and len(found) > 1:
                break
            found.append(max(far) if far else min(below))
    if len(found) < 2:
        fix = f"Use a least below {1 / eta:.3g}." if not fidelities else "Use a smaller least."
        got = list(fidelities) if fidelities else least
        rule = f"such that one lies from least ({least:g}) to below 1"
        raise InputError(expected("fidelities" if fidelities else "least", rule, got, fix))
    return tuple(reversed(found))


class SubPopulation(Strategy, Protocol):
    """A strategy that breeds for its fidelity from the best of the one below, as DEHB does."""

    @property
    def members(self) -> Sequence[Trial]:
        """Those who are alive."""
        ...

    def breed(
        self, pool: Sequence[Trial], known: Set[Candidate], asked: int, rng: RNG
    ) -> Proposal | None:
        """A child of the pool's that is not known; `asked` were bred since the last tell.

        None while it has too few members, or when there seems to be no other.
        """
        ...


@runtime_checkable
class Breeds(Protocol):
    """An algorithm with a sub-population for each fidelity."""

    def sub_population(self, problem: Problem, size: int) -> SubPopulation: ...


@dataclass
class Rung:
    """What is known at one fidelity. `started` are all, `ended` counts results, infeasible too."""

    fidelity: float
    strategy: Strategy
    population: SubPopulation | None = None
    """The strategy, where it breeds."""
    started: set[Candidate] = field(default_factory=set)
    running: set[int] = field(default_factory=set)
    done: list[Trial] = field(default_factory=list)
    ended: int = 0

    def hear(self, trial: Trial) -> None:
        """A trial of this fidelity started or ended."""
        self.started.add(trial.candidate)
        self.running.discard(trial.id)
        if trial.status is Status.RUNNING:
            self.running.add(trial.id)
        elif trial.status is not Status.FAILED:
            self.ended += 1
            if trial.status is Status.DONE:
                self.done.append(trial)
        self.strategy.tell(_as_the_only_fidelity(trial))


class Ladder:
    """The rungs, lowest fidelity first."""

    def __init__(
        self, settings: MultiFidelity, problem: Problem, sizes: Mapping[float, int] | None = None
    ) -> None:
        self.settings, self.problem, self.space = settings, problem, problem.space
        self.objectives, self.limits = problem.objectives, problem.limits
        self.known: set[Candidate] = set()
        # a supernet's preparation is the study's to run: inside of a rung nobody would
        inner = replace(problem, fidelities=(1.0,), supernet=None)
        algorithm = settings.algorithm
        self.rungs: list[Rung] = []
        for fidelity in rungs(problem.fidelities, settings.eta, settings.min_fidelity):
            if sizes is not None and isinstance(algorithm, Breeds):
                population = algorithm.sub_population(inner, sizes[fidelity])
                self.rungs.append(Rung(fidelity, population, population))
            else:
                self.rungs.append(Rung(fidelity, algorithm(inner)))
        self._ranked: dict[int, tuple[int, list[Trial]]] = {}
        self._place = {rung.fidelity: k for k, rung in enumerate(self.rungs)}

    def place(self, trial: Trial) -> int | None:
        """The trial's rung; None at a fidelity that none has."""
        return self._place.get(trial.proposal.fidelity)

    def tell(self, trial: Trial) -> None:
        """The strategy of the trial's rung hears it; the others, once, that it is known."""
        new, place = trial.candidate not in self.known, self.place(trial)
        self.known.add(trial.candidate)
        for k, rung in enumerate(self.rungs):
            if k == place:
                rung.hear(trial)
            elif new:
                for status in (Status.RUNNING, Status.FAILED):
                    rung.strategy.tell(
                        Trial(trial.id, Proposal(trial.candidate), trial.seed, status)
                    )

    @property
    def potential_parents(self) -> set[int]:
        """Who may be promoted, and of whom the rungs' own strategies may propose children."""
        found: set[int] = set()
        for k, rung in enumerate(self.rungs):
            found.update(potential_parents(rung.strategy))
            if k + 1 < len(self.rungs):
                most = math.ceil(len(rung.done) * self.share(k))
                above = self.rungs[k + 1].started
                found |= {one.id for one in self.ranked(k)[:most] if one.candidate not in above}
        return found

    def best(self, trials: Sequence[Trial]) -> list[Trial]:
        """Best first: by front rank, those outside the limits last."""
        return [trials[i] for i in crowded_order(trials, self.objectives, self.limits)]

    def ranked(self, k: int) -> list[Trial]:
        """The results of rung `k`, best first."""
        done = self.rungs[k].done  # it only grows
        if k not in self._ranked or self._ranked[k][0] != len(done):
            self._ranked[k] = len(done), self.best(done)
        return self._ranked[k][1]

    def share(self, k: int) -> float:
        """What rung `k` passes on."""
        return self.settings.passed(self.rungs[k].fidelity / self.rungs[k + 1].fidelity)

    def answer(self, supply: Supply) -> Proposal | None:
        """A trial of full fidelity where there is none yet, nor will be soon.

        Of new candidates first; after some that failed, of the best that did not fail below.
        """
        top = self.rungs[-1]
        if top.done or top.running:
            return None
        if len(top.started) < _FIRST:
            return supply.new(len(self.rungs) - 1, {})
        return next(self.leftovers(()), None)

    def model(self, k: int) -> int:
        """The rung whose strategy proposes for rung `k`: the highest with enough results.

        BOHB's rule. A sub-population breeds for its own fidelity.
        """
        if self.rungs[k].population is None:
            for place in reversed(range(len(self.rungs))):
                if len(self.rungs[place].done) >= self.settings.min_trials_for_model:
                    return place
        return k

    def pool(self, k: int, size: int, rng: RNG) -> list[Trial]:
        """DEHB's parents for rung `k`: the best of the sub-population below.

        Filled up from all sub-populations where these are too few for a difference.
        """
        pool = self.best(self._members(k - 1))[:size]
        if not pool or len(pool) >= _DIFFERENCE:
            return pool
        taken = {one.id for one in pool}
        others = [one for j in range(len(self.rungs)) for one in self._members(j)]
        others = [one for one in others if one.id not in taken]
        chosen = rng.permutation(len(others))[: _DIFFERENCE - len(pool)]
        return pool + [others[i] for i in chosen]

    def leftovers(self, asked: Sequence[Proposal]) -> Iterator[Proposal]:
        """What has no full fidelity yet goes straight there: the highest rung first, best first."""
        gone = {*self.rungs[-1].started, *(one.candidate for one in asked)}
        top = len(self.rungs) - 1
        for k in reversed(range(top)):
            for trial in self.ranked(k):
                if trial.candidate not in gone:
                    gone.add(trial.candidate)
                    yield self.promotion(trial, top, {})

    def promotion(self, trial: Trial, k: int, note: Mapping[str, Value]) -> Proposal:
        """The same candidate on rung `k`."""
        fidelity = self.rungs[k].fidelity
        return Proposal(trial.candidate, fidelity, "promotion", (trial.id,), note)

    def _members(self, k: int) -> Sequence[Trial]:
        population = self.rungs[k].population
        return population.members if population else ()


class Supply:
    """New candidates for one `ask` of at most `n`: each strategy is asked once, for all of them."""

    def __init__(self, ladder: Ladder, n: int, rng: RNG) -> None:
        self._ladder, self._n, self._rng = ladder, n, rng
        self._known = set(ladder.known)
        self._asked: dict[int, deque[Proposal]] = {}
        self._bred: Counter[int] = Counter()
        self.exhausted = False

    def new(self, k: int, note: Mapping[str, Value]) -> Proposal | None:
        """A candidate that nobody knows, at the fidelity of rung `k`; None when there is none."""
        ladder, rng = self._ladder, self._rng
        found = None
        if rng.random() >= ladder.settings.random_fraction:
            found = self._of_strategy(ladder.model(k))
        found = found or within(
            ladder.problem, lambda: propose_unseen(ladder.space, self._known, rng), self._known
        )
        self.exhausted = found is None
        return None if found is None else self._at(k, found, note)

    def child(self, k: int, size: int, note: Mapping[str, Value]) -> Proposal | None:
        """A child for rung `k` of the best `size` below it; None where nothing breeds, or not yet."""
        population = self._ladder.rungs[k].population
        if population is None:
            return None
        pool = self._ladder.pool(k, size, self._rng)
        found = within(
            self._ladder.problem,
            lambda: population.breed(pool, self._known, self._bred[k], self._rng),
            self._known,
        )
        self._bred[k] += 1
        return None if found is None else self._at(k, found, note)

    def _of_strategy(self, k: int) -> Proposal | None:
        if k not in self._asked:
            self._asked[k] = deque(
                checked_proposals(
                    self._ladder.rungs[k].strategy, self._ladder.problem.space, self._n, self._rng
                )
            )
        while self._asked[k]:
            if (found := self._asked[k].popleft()).candidate not in self._known:
                return found
        return None  # it waits for results, or knows no other

    def _at(self, k: int, found: Proposal, note: Mapping[str, Value]) -> Proposal:
        self._known.add(found.candidate)
        return replace(found, fidelity=self._ladder.rungs[k].fidelity, note={**found.note, **note})


def _as_the_only_fidelity(trial: Trial) -> Trial:
    """As the strategy of one rung sees it: its own note, at the only fidelity there is for it."""
    note = {name: value for name, value in trial.proposal.note.items() if name != BRACKET}
    return replace(trial, proposal=replace(trial.proposal, fidelity=1.0, note=note))
