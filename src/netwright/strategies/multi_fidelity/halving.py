"""Successive halving and Hyperband: brackets of rungs, each of which promotes its best.

Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter
Optimization", arXiv:1502.07943; Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar 2018,
"Hyperband", JMLR 18(185), arXiv:1603.06560, Algorithm 1: n, s and s_max are its names. Brackets
repeat until the budget ends; while a rung waits for its last trials, the next bracket begins, so
that no worker is idle.
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
from netwright.strategies.multi_fidelity.rungs import (
    BRACKET,
    CandidateSource,
    MultiFidelity,
    RungLadder,
    rung_fidelities,
)
from netwright.trials.trial import Proposal, Status, Trial

_ROUNDING_TOLERANCE = 1e-9

Bracket = Sequence[tuple[int, int]]
"""(rung index, number of trials) pairs, from the lowest rung to full fidelity."""


@dataclass(frozen=True, repr=False)
class SuccessiveHalving(MultiFidelity):
    """Successive halving (Jamieson and Talwalkar, 2016): brackets from the lowest fidelity.

    A bracket starts as many trials as are needed to promote one to full fidelity.

    Args:
        algorithm: The algorithm that proposes new candidates, or the class of its settings.
        eta: Ratio of consecutive fidelities, and the inverse of the promoted share. Above 1.
        min_fidelity: Lowest fidelity, in (0, 1).
        random_fraction: Share of new candidates drawn at random, in [0, 1].
        min_trials_for_model: New candidates come from the strategy of the highest fidelity with
            this many finished trials.

    Raises:
        InputError: A setting is out of range, or `algorithm` is itself multi-fidelity.
    """

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`.

        Raises:
            InputError: There is no fidelity from `min_fidelity` to below 1.
        """
        fidelities = rung_fidelities(problem.fidelities, self.eta, self.min_fidelity)
        return _make_strategy(self, problem, [make_bracket(fidelities, len(fidelities) - 1)])


@dataclass(frozen=True, repr=False)
class Hyperband(MultiFidelity):
    """Hyperband (Li et al., 2018): brackets that start at ever higher fidelities, then repeat.

    Each bracket costs about the same, so little is lost where low fidelities mislead. With TPE it
    is BOHB. With an algorithm that has sub-populations, such as differential evolution, it is DEHB:
    each fidelity has a sub-population of the size of its largest rung. The first brackets fill them
    by promotion; after that, rungs above the lowest are filled with children whose mutants come
    from the best of the sub-population below. DEHB draws no candidates at random
    (`random_fraction=0`).

    Args:
        algorithm: The algorithm that proposes new candidates, or the class of its settings.
        eta: Ratio of consecutive fidelities, and the inverse of the promoted share. Above 1.
        min_fidelity: Lowest fidelity, in (0, 1).
        random_fraction: Share of new candidates drawn at random, in [0, 1].
        min_trials_for_model: New candidates come from the strategy of the highest fidelity with
            this many finished trials.

    Raises:
        InputError: A setting is out of range, or `algorithm` is itself multi-fidelity.

    Example:
        >>> bohb = nw.Hyperband(nw.TPE())
        >>> dehb = nw.Hyperband(nw.DifferentialEvolution(), random_fraction=0)
    """

    def __call__(self, problem: Problem) -> Strategy:
        """Return a strategy for `problem`.

        Raises:
            InputError: There is no fidelity from `min_fidelity` to below 1.
        """
        fidelities = rung_fidelities(problem.fidelities, self.eta, self.min_fidelity)
        s_max = len(fidelities) - 1
        brackets = [make_bracket(fidelities, s) for s in range(s_max, -1, -1)]
        return _make_strategy(self, problem, brackets)


BOHB = Hyperband(TPE())
"""Falkner, Klein and Hutter 2018, arXiv:1807.01774."""
DEHB = Hyperband(DifferentialEvolution(), random_fraction=0)
"""Awad, Mallik and Hutter 2021, arXiv:2105.09821."""


def make_bracket(fidelities: Sequence[float], s: int) -> Bracket:
    """Return Hyperband's bracket `s`, which starts `s` rungs below full fidelity.

    n = ceil(B/R eta^s/(s+1)) with B = (s_max+1) R; n_i = floor(n eta^-i). If the fidelities are
    not powers of eta, a rung promotes the ratio of the fidelities instead of 1/eta.
    """
    s_max = len(fidelities) - 1
    first = s_max - s
    n = math.ceil((s_max + 1) / (s + 1) / fidelities[first] - _ROUNDING_TOLERANCE)
    return [
        (k, math.floor(n * fidelities[first] / fidelities[k] + _ROUNDING_TOLERANCE))
        for k in range(first, s_max + 1)
    ]


def _make_strategy(
    settings: MultiFidelity, problem: Problem, brackets: Sequence[Bracket]
) -> Strategy:
    """Return a strategy that cycles through `brackets`; rungs are sized by their largest."""
    fidelities = rung_fidelities(problem.fidelities, settings.eta, settings.min_fidelity)
    sizes: Counter[float] = Counter()
    for bracket in brackets:
        for k, size in bracket:
            sizes[fidelities[k]] = max(sizes[fidelities[k]], size)
    return BracketStrategy(RungLadder(settings, problem, sizes), brackets)


@dataclass
class _BracketRung:
    """One rung of one bracket. Failed trials free their slot: the candidate is not at fault."""

    n_running: int = 0
    n_ended: int = 0
    done: list[Trial] = field(default_factory=list)

    def record(self, trial: Trial) -> None:
        if trial.status is Status.RUNNING:
            self.n_running += 1
            return
        self.n_running -= 1
        if trial.status is not Status.FAILED:
            self.n_ended += 1
        if trial.status is Status.DONE:
            self.done.append(trial)


class BracketStrategy:
    """The strategy made by `SuccessiveHalving` and `Hyperband`.

    A proposal's note holds the index of its bracket, counted over all repetitions.
    """

    def __init__(self, ladder: RungLadder, brackets: Sequence[Bracket]) -> None:
        self._ladder, self._brackets = ladder, brackets
        self._bracket_rungs: dict[tuple[int, int], _BracketRung] = {}  # (bracket, rung) indices

    def ask(self, n: int, rng: RNG) -> list[Proposal]:
        if n < 1:
            return []
        ladder, batch = self._ladder, _Batch(CandidateSource(self._ladder, n, rng))
        batch.add(ladder.first_at_full_fidelity(batch.source))
        for bracket_index in count():
            while len(batch.proposals) < n and batch.add(self._propose_for(bracket_index, batch)):
                pass
            if len(batch.proposals) == n or batch.source.exhausted:
                break
        if batch.source.exhausted:
            batch.proposals += ladder.unpromoted(batch.proposals)
        return batch.proposals[:n]

    def tell(self, trial: Trial) -> None:
        bracket_index = trial.proposal.note.get(BRACKET)
        k = self._ladder.rung_index(trial)
        if isinstance(bracket_index, int) and k is not None:
            self._bracket_rungs.setdefault((bracket_index, k), _BracketRung()).record(trial)
        self._ladder.tell(trial)

    @property
    def potential_parents(self) -> set[int]:
        """Ids of the ladder's potential parents and of trials that open brackets may promote."""
        ids = self._ladder.potential_parents
        for (bracket_index, k), rung in self._bracket_rungs.items():
            above = self._bracket_rungs.get((bracket_index, k + 1), _BracketRung())
            size_above = dict(self._bracket(bracket_index)).get(k + 1, 0)
            if above.n_ended < size_above:
                ids.update(trial.id for trial in rung.done)
        return ids

    def _bracket(self, bracket_index: int) -> Bracket:
        return self._brackets[bracket_index % len(self._brackets)]

    def _propose_for(self, bracket_index: int, batch: _Batch) -> Proposal | None:
        """Return a bracket's next proposal; None if it waits for running trials or is complete."""
        below: _BracketRung | None = None
        for k, size in self._bracket(bracket_index):
            rung = self._bracket_rungs.get((bracket_index, k), _BracketRung())
            n_proposed = len(batch.at_fidelity(self._ladder.rungs[k].fidelity, bracket_index))
            if rung.n_running + rung.n_ended + n_proposed < size:
                proposal = self._fill_slot(bracket_index, k, size, below, batch)
                if proposal or below is None:
                    return proposal
            if rung.n_running or n_proposed:
                return None
            below = rung
        return None

    def _fill_slot(
        self, bracket_index: int, k: int, size: int, below: _BracketRung | None, batch: _Batch
    ) -> Proposal | None:
        """Fill a free slot: a new candidate, a child of the best below, or the best below itself."""
        note: Mapping[str, Value] = {BRACKET: bracket_index}
        if below is None:
            return batch.source.propose_new(k, note)
        rung = self._ladder.rungs[k]
        promoted = {
            *rung.started,
            *(proposal.candidate for proposal in batch.at_fidelity(rung.fidelity)),
        }
        if child := batch.source.propose_child(k, size, note):
            return child
        for trial in self._ladder.sort_by_rank(below.done):
            if trial.candidate not in promoted:
                return self._ladder.promote(trial, k, note)
        return None


class _Batch:
    """The proposals of one `ask`, and where new candidates come from."""

    def __init__(self, source: CandidateSource) -> None:
        self.source = source
        self.proposals: list[Proposal] = []

    def add(self, proposal: Proposal | None) -> bool:
        """Append the proposal, if any; return whether there was one."""
        if proposal is not None:
            self.proposals.append(proposal)
        return proposal is not None

    def at_fidelity(self, fidelity: float, bracket_index: int | None = None) -> list[Proposal]:
        """Return the proposals at a fidelity, of one bracket or of all."""
        return [
            proposal
            for proposal in self.proposals
            if proposal.fidelity == fidelity and bracket_index in (None, proposal.note.get(BRACKET))
        ]
