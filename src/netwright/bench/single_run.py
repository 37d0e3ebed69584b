"""Run one strategy with one seed on a table, recording the incumbent's score."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from netwright.bench.oracle import TableOracle
from netwright.interfaces.strategy import Algorithm, Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.trials.objective import searched_metrics
from netwright.trials.trial import Metrics, Proposal, Status, Trial, as_told

_MAX_INFEASIBLE_IN_A_ROW = 1000
"""Consecutive candidates missing from the table after which a run ends."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run.

    Args:
        candidate: what was evaluated.
        cost: evaluations so far, each counted as its fidelity.
        clock: seconds of training so far, by the table.
        fidelity: the table's fidelity that was looked up.
        metrics: what the strategy was told; empty if the table lacks the candidate.
        repeated: whether the run had evaluated the candidate at this fidelity before.
        reached: whether the optimum of the searched metrics has been evaluated by now.
        overhead_ms: CPU milliseconds that the strategy itself took.
        reported: the reported score of the incumbents after it.
    """

    candidate: Candidate
    cost: float
    clock: float
    fidelity: float
    metrics: Metrics
    repeated: bool
    reached: bool
    overhead_ms: float
    reported: float


def make_problem(oracle: TableOracle) -> Problem:
    """Return the problem passed to every strategy."""
    table, settings = oracle.table, oracle.settings
    fidelities = (1.0,) if settings.fidelity is not None else oracle.fidelities
    return Problem(table.space, settings.search, settings.limits, oracle.knowledge, fidelities)


def run_strategy(algorithm: Algorithm, oracle: TableOracle, seed: int) -> Iterator[Evaluation]:
    """Yield the evaluations of one run, until the budget is spent or the search is over.

    One trial runs at a time. Each `ask` draws from the seed and the number of trials told so far,
    so that strategies which begin alike begin with the same candidates.
    """
    settings = oracle.settings
    strategy = algorithm(make_problem(oracle))
    searched = searched_metrics(settings.search, settings.limits)
    incumbents = _Incumbents(oracle)
    seen: Counter[tuple[Candidate, float]] = Counter()
    cost, clock, reached, infeasible_in_a_row = 0.0, 0.0, False, 0
    for trial_id in count(1):
        rng = np.random.default_rng([seed, 2 * (trial_id - 1)])  # each trial is told twice
        proposal, ask_seconds = _ask(strategy, rng)
        if proposal is None:
            return
        proposal = replace(proposal, candidate=oracle.table.stand_in(proposal.candidate))
        fidelity, price = _price(oracle, proposal)
        key = (proposal.candidate, fidelity)
        training = [seed, int(proposal.candidate.key, 16), seen[key]]  # equal for all strategies
        trial = Trial(trial_id, proposal, int(np.random.default_rng(training).integers(2**31)))
        metrics = oracle.evaluate(trial.candidate, fidelity, trial.seed)
        cost, clock = cost + price, clock + metrics.get("train_seconds", 0.0)
        infeasible_in_a_row = 0 if metrics else infeasible_in_a_row + 1
        is_spent = cost > settings.evaluations + 1e-9 or clock > settings.clock
        if is_spent or infeasible_in_a_row > _MAX_INFEASIBLE_IN_A_ROW:
            return
        ended = replace(
            trial, status=Status.DONE if metrics else Status.INFEASIBLE, metrics=metrics
        )
        overhead_ms = 1000 * (ask_seconds + _tell(strategy, trial, as_told(ended, searched)))
        if metrics:
            incumbents.update(proposal.candidate, fidelity, metrics)
            reached = reached or incumbents.reach_optimum(proposal.candidate, fidelity)
        repeated = seen[key] > 0
        seen[key] += 1
        yield Evaluation(
            proposal.candidate,
            cost,
            clock,
            fidelity,
            metrics,
            repeated,
            reached,
            overhead_ms,
            incumbents.reported,
        )
        if reached and settings.until_found:
            return


def _price(oracle: TableOracle, proposal: Proposal) -> tuple[float, float]:
    """Return the table's nearest fidelity and the cost of an evaluation at it."""
    if oracle.settings.fidelity is not None:
        return oracle.fidelity, 1.0  # every evaluation counts as a whole one then
    fidelity = oracle.round_down_fidelity(proposal.fidelity)
    return fidelity, fidelity


def _ask(strategy: Strategy, rng: np.random.Generator) -> tuple[Proposal | None, float]:
    """Return the next proposal, or None if the search is over, and the CPU seconds it took."""
    began = time.process_time()
    proposals = list(strategy.ask(1, rng))
    return (proposals[0] if proposals else None), time.process_time() - began


def _tell(strategy: Strategy, *trials: Trial) -> float:
    """Report trials to the strategy, and return the CPU time used, in seconds."""
    began = time.process_time()
    for trial in trials:
        strategy.tell(trial)
    return time.process_time() - began


class _Incumbents:
    """Best candidates by the searched metrics within the limits, at the highest fidelity."""

    def __init__(self, oracle: TableOracle) -> None:
        self.oracle, self.settings = oracle, oracle.settings
        self.fidelity = 0.0
        self.reported = oracle.reported_score(())
        self._front: list[tuple[Candidate, NDArray[np.float64]]] = []  # losses (m,)

    @property
    def candidates(self) -> list[Candidate]:
        return [candidate for candidate, _ in self._front]

    def update(self, candidate: Candidate, fidelity: float, metrics: Mapping[str, float]) -> None:
        """Take an evaluation into account, and update the `reported` score."""
        within = all(limit.keeps(metrics) for limit in self.settings.limits)
        if fidelity < self.fidelity or not within:
            return
        if fidelity > self.fidelity:
            self.fidelity, self._front = fidelity, []
        losses = np.array([objective.loss(metrics) for objective in self.settings.search])
        if any((incumbent <= losses).all() for _, incumbent in self._front):
            return  # of equal candidates the earliest stays
        self._front = [pair for pair in self._front if not (losses <= pair[1]).all()]
        self._front.append((candidate, losses))
        self.reported = self.oracle.reported_score(self.candidates)

    def reach_optimum(self, candidate: Candidate, fidelity: float) -> bool:
        """Return whether this evaluation reached the optimum of the search."""
        if fidelity != self.oracle.fidelity:
            return False
        if len(self.settings.search) == 1:
            return self.oracle.reaches_target(candidate)
        incumbents = self.candidates  # a candidate outside has changed nothing
        return candidate in incumbents and self.oracle.reaches_front(incumbents)
