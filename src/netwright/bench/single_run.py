"""One strategy, one seed, one table: every evaluation, and what the incumbent is worth after it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from netwright.bench.settings import TableOracle
from netwright.interfaces.strategy import Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.trials.trial import Metrics, Proposal, Status, Trial

_MOST_INFEASIBLE = 1000
"""So many candidates in a row that are not in the table end a run."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation; `cost` and `clock` are sums up to here, `reported` is what the incumbent is
    worth after it, `overhead` the strategy's own milliseconds of CPU time for it."""

    cost: float
    clock: float
    fidelity: float
    metrics: Metrics
    repeated: bool
    reached: bool
    """Whether by now the optimum of what is searched has been evaluated."""
    overhead_ms: float
    reported: float


def make_problem(judge: TableOracle) -> Problem:
    """What the strategies are given."""
    table, protocol = judge.table, judge.protocol
    fidelities = (1.0,) if protocol.fidelity is not None else judge.fidelities
    return Problem(table.space, protocol.search, protocol.limits, judge.knowledge, fidelities)


def run_strategy(algorithm: Algorithm, judge: TableOracle, seed: int) -> Iterator[Evaluation]:
    """The evaluations of one run, until its budget is spent, the search is over or has won.

    One trial at a time. Each `ask` draws from the seed and the number of trials told so far, so
    that strategies which begin alike begin with the same candidates.
    """
    protocol = judge.protocol
    strategy = algorithm(make_problem(judge))
    incumbents = _Incumbents(judge)
    seen: Counter[tuple[Candidate, float]] = Counter()
    cost, clock, reached, hopeless = 0.0, 0.0, False, 0
    for number in count(1):
        rng = np.random.default_rng([seed, 2 * (number - 1)])  # each trial is told twice
        proposal, asking = _ask(strategy, rng)
        if proposal is None:
            return
        fidelity, price = _price(judge, proposal)
        key = (proposal.candidate, fidelity)
        training = [seed, int(proposal.candidate.key, 16), seen[key]]  # equal for all strategies
        trial = Trial(number, proposal, int(np.random.default_rng(training).integers(2**31)))
        metrics = judge.evaluate(trial.candidate, fidelity, trial.seed)
        cost, clock = cost + price, clock + metrics.get("train_seconds", 0.0)
        hopeless = 0 if metrics else hopeless + 1
        spent = cost > protocol.evaluations + 1e-9 or clock > protocol.clock
        if spent or hopeless > _MOST_INFEASIBLE:
            return
        ended = replace(
            trial, status=Status.DONE if metrics else Status.INFEASIBLE, metrics=metrics
        )
        overhead = 1000 * (asking + _tell(strategy, trial, ended))
        if metrics:
            incumbents.hear(proposal.candidate, fidelity, metrics)
            reached = reached or incumbents.reach(proposal.candidate, fidelity)
        repeated = seen[key] > 0
        seen[key] += 1
        yield Evaluation(
            cost, clock, fidelity, metrics, repeated, reached, overhead, incumbents.reported
        )
        if reached and protocol.until_found:
            return


def _price(judge: TableOracle, proposal: Proposal) -> tuple[float, float]:
    """The fidelity of the table that is looked up, and what it costs."""
    if judge.protocol.fidelity is not None:
        return judge.fidelity, 1.0  # every evaluation is a whole one then
    fidelity = judge.nearest(proposal.fidelity)
    return fidelity, fidelity


def _ask(strategy: Strategy, rng: np.random.Generator) -> tuple[Proposal | None, float]:
    """The next proposal, None when the search is over, and the CPU seconds it took."""
    began = time.process_time()
    proposals = list(strategy.ask(1, rng))
    return (proposals[0] if proposals else None), time.process_time() - began


def _tell(strategy: Strategy, *trials: Trial) -> float:
    began = time.process_time()
    for trial in trials:
        strategy.tell(trial)
    return time.process_time() - began


class _Incumbents:
    """The best by the searched metrics among those within the limits, at the highest fidelity."""

    def __init__(self, judge: TableOracle) -> None:
        self.judge, self.protocol = judge, judge.protocol
        self.fidelity = 0.0
        self.reported = judge.reported_score(())
        self._held: list[tuple[Candidate, NDArray[np.float64]]] = []  # losses (m,)

    def hear(self, candidate: Candidate, fidelity: float, metrics: Mapping[str, float]) -> None:
        """Takes note of a result; `reported` is of the incumbents after it."""
        if fidelity < self.fidelity or not all(one.keeps(metrics) for one in self.protocol.limits):
            return
        if fidelity > self.fidelity:
            self.fidelity, self._held = fidelity, []
        losses = np.array([one.loss(metrics) for one in self.protocol.search])
        if any((held <= losses).all() for _, held in self._held):
            return  # equal ones count: the earliest stays
        self._held = [one for one in self._held if not (losses <= one[1]).all()]
        self._held.append((candidate, losses))
        self.reported = self.judge.reported_score([one for one, _ in self._held])

    def reach(self, candidate: Candidate, fidelity: float) -> bool:
        """Whether this evaluation met what the search is after."""
        if fidelity != self.judge.fidelity:
            return False
        if len(self.protocol.search) == 1:
            return self.judge.reaches_target(candidate)
        held = [one for one, _ in self._held]  # without it where it changed nothing
        return candidate in held and self.judge.reaches_front(held)
