"""Successive halving and Hyperband: brackets of rungs, of which each passes on its best.

Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", arXiv:1502.07943; Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar 2018,
"Hyperband", JMLR 18(185), arXiv:1603.06560, Algorithm 1: n, s and s_max are its names. The brackets
follow one another for as long as there is a budget; while a rung waits for its last trials, the
next bracket begins, so that no worker stands still.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from netwright.interfaces.strategy import RNG, Problem, Strategy
from netwright.space.candidate import Value
from netwright.strategies.bayesian.tpe import TPE
from netwright.strategies.evolution.differential import DifferentialEvolution
from netwright.strategies.multi_fidelity.rungs import BRACKET, Ladder, MultiFidelity, Supply, rungs
from netwright.trials.trial import Proposal, Status, Trial

_EPSILON = 1e-9

Bracket = Sequence[tuple[int, int]]
"""(rung, how many trials) from its lowest rung to full fidelity."""


@dataclass(frozen=True, repr=False)
class SuccessiveHalving(MultiFidelity):
    """Brackets that all begin at the lowest fidelity: as many as let one through to the full one."""

    def __call__(self, problem: Problem) -> Strategy:
        fidelities = rungs(problem.fidelities, self.eta, self.min_fidelity)
        return _brackets(self, problem, [bracket(fidelities, len(fidelities) - 1)])


@dataclass(frozen=True, repr=False)
class Hyperband(MultiFidelity):
    """Brackets that begin ever higher, the last at full fidelity; then over again.

    Each costs about the same. So it loses little where low fidelity misleads. Over TPE it is BOHB.
    Over an algorithm that breeds, such as differential evolution, it is DEHB: each fidelity has a
    sub-population, as large as its largest rung; the first brackets fill them by promotion, after
    that a rung above the lowest is filled with children, whose mutants come from the best of the
    sub-population below. DEHB itself draws none at random: `random` 0.
    """

    def __call__(self, problem: Problem) -> Strategy:
        fidelities = rungs(problem.fidelities, self.eta, self.min_fidelity)
        s_max = len(fidelities) - 1
        return _brackets(self, problem, [bracket(fidelities, s) for s in range(s_max, -1, -1)])


BOHB = Hyperband(TPE())
"""Falkner, Klein and Hutter 2018, arXiv:1807.01774."""
DEHB = Hyperband(DifferentialEvolution(), random_fraction=0)
"""Awad, Mallik and Hutter 2021, arXiv:2105.09821."""


def bracket(fidelities: Sequence[float], s: int) -> Bracket:
    """Bracket `s` of Hyperband on fidelities that rise to 1: it begins `s` rungs below.

    n = ceil(B/R eta^s/(s+1)) with B = (s_max+1) R; n_i = floor(n eta^-i). Where the fidelities are
    not powers of eta, what a rung passes on is the share by which the fidelity rises.
    """
    s_max = len(fidelities) - 1
    first = s_max - s
    n = math.ceil((s_max + 1) / (s + 1) / fidelities[first] - _EPSILON)
    return [
        (k, math.floor(n * fidelities[first] / fidelities[k] + _EPSILON))
        for k in range(first, s_max + 1)
    ]


def _brackets(settings: MultiFidelity, problem: Problem, cycle: Sequence[Bracket]) -> Strategy:
    fidelities = rungs(problem.fidelities, settings.eta, settings.min_fidelity)
    sizes: Counter[float] = Counter()
    for one in cycle:
        for k, size in one:
            sizes[fidelities[k]] = max(sizes[fidelities[k]], size)
    return _Brackets(Ladder(settings, problem, sizes), cycle)


@dataclass
class _Slots:
    """One rung of one bracket. A failed trial gives its slot back: the candidate is not at fault."""

    running: int = 0
    ended: int = 0
    done: list[Trial] = field(default_factory=list)

    def hear(self, trial: Trial) -> None:
        if trial.status is Status.RUNNING:
            self.running += 1
            return
        self.running -= 1
        self.ended += trial.status is not Status.FAILED
        if trial.status is Status.DONE:
            self.done.append(trial)


class _Brackets:
    """The strategy of both; a trial's note says which bracket it belongs to."""

    def __init__(self, ladder: Ladder, cycle: Sequence[Bracket]) -> None:
        self._ladder, self._cycle = ladder, cycle
        self._slots: dict[tuple[int, int], _Slots] = {}  # (bracket, rung)

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1:
            return []
        ladder, batch = self._ladder, _Batch(Supply(self._ladder, n, rng))
        batch.add(ladder.answer(batch.supply))
        for number in count():
            while len(batch.proposals) < n and batch.add(self._next(number, batch)):
                pass
            if len(batch.proposals) == n or batch.supply.exhausted:
                break
        if batch.supply.exhausted:
            batch.proposals += ladder.leftovers(batch.proposals)
        return batch.proposals[:n]

    def tell(self, trial: Trial) -> None:
        number, k = trial.proposal.note.get(BRACKET), self._ladder.place(trial)
        if isinstance(number, int) and k is not None:
            self._slots.setdefault((number, k), _Slots()).hear(trial)
        self._ladder.tell(trial)

    @property
    def potential_parents(self) -> set[int]:
        """Those of the ladder, and whom brackets that are not over may pass on."""
        found = self._ladder.potential_parents
        for (number, k), slots in self._slots.items():
            above, sizes = self._slots.get((number, k + 1), _Slots()), dict(self._of(number))
            if above.ended < sizes.get(k + 1, 0):
                found |= {trial.id for trial in slots.done}
        return found

    def _of(self, number: int) -> Bracket:
        return self._cycle[number % len(self._cycle)]

    def _next(self, number: int, batch: _Batch) -> Proposal | None:
        """A bracket's next trial; None when it waits for running ones, or is over."""
        below: _Slots | None = None
        for k, size in self._of(number):
            slots = self._slots.get((number, k), _Slots())
            asked = len(batch.of(self._ladder.rungs[k].fidelity, number))
            if slots.running + slots.ended + asked < size:
                proposal = self._fill(number, k, size, below, batch)
                if proposal or below is None:
                    return proposal
            if slots.running or asked:
                return None
            below = slots
        return None

    def _fill(
        self, number: int, k: int, size: int, below: _Slots | None, batch: _Batch
    ) -> Proposal | None:
        """For a free slot: a new candidate, a child of the best below, or the best below itself."""
        note: Mapping[str, Value] = {BRACKET: number}
        if below is None:
            return batch.supply.new(k, note)
        rung = self._ladder.rungs[k]
        gone = {*rung.started, *(one.candidate for one in batch.of(rung.fidelity))}
        if child := batch.supply.child(k, size, note):
            return child
        left = [one for one in self._ladder.best(below.done) if one.candidate not in gone]
        return self._ladder.promotion(left[0], k, note) if left else None


class _Batch:
    """What one `ask` has put together so far."""

    def __init__(self, supply: Supply) -> None:
        self.supply = supply
        self.proposals: list[Proposal] = []

    def add(self, proposal: Proposal | None) -> bool:
        """Whether there was one."""
        if proposal is not None:
            self.proposals.append(proposal)
        return proposal is not None

    def of(self, fidelity: float, number: int | None = None) -> list[Proposal]:
        """Those at a fidelity, of one bracket or of all."""
        return [
            one for one in self.proposals
            if one.fidelity == fidelity and number in (None, one.note.get(BRACKET))
        ]  # fmt: skip
