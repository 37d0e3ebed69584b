"""What nearly every strategy does alike: remembering what it was told, and filling a batch."""

from __future__ import annotations

from collections.abc import Callable, Set

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.trials.selection import constraint_violation
from netwright.trials.trial import Proposal, Status, Trial

One = Callable[[Set[Candidate], int], Proposal | None]
"""What is known by now, how many are proposed already in this batch -> the next, or None."""
_TRIES = 100


class ProposalTracker:
    """The candidates that were started, and the trials that run.

    With a `problem`, batches hold nothing that is known to break its limits while there is other.
    """

    def __init__(self, problem: Problem | None = None) -> None:
        self._problem = problem
        self.known: set[Candidate] = set()
        self.running: set[int] = set()

    def record(self, trial: Trial) -> bool:
        """Takes note of a start or an end; whether the trial was done, so that there is a result."""
        self.known.add(trial.candidate)
        if trial.status is Status.RUNNING:
            self.running.add(trial.id)
        else:
            self.running.discard(trial.id)
        return trial.status is Status.DONE

    def batch(self, n: int, one: One) -> list[Proposal]:
        """At most `n` proposals, none of a known candidate twice; ends where `one` gives None."""
        proposals: list[Proposal] = []
        added: list[Candidate] = []  # taken out again: asking changes nothing, and copies nothing
        try:
            while len(proposals) < n and (proposal := self._next(one, len(proposals))) is not None:
                if proposal.candidate not in self.known:
                    self.known.add(proposal.candidate)
                    added.append(proposal.candidate)
                proposals.append(proposal)
        finally:
            self.known.difference_update(added)
        return proposals

    def _next(self, one: One, asked: int) -> Proposal | None:
        if self._problem is None:
            return one(self.known, asked)
        return within(self._problem, lambda: one(self.known, asked), self.known)


def within(
    problem: Problem, draw: Callable[[], Proposal | None], known: set[Candidate]
) -> Proposal | None:
    """The first draw that keeps the limits as far as metrics are known before it is paid for.

    `draw` looks at `known`, where those that do not are kept meanwhile. When none of many draws
    does: the one that breaks them least.
    """
    if not problem.limits:
        return draw()
    refused: list[tuple[float, Proposal]] = []
    added: list[Candidate] = []
    try:
        while len(refused) < _TRIES and (proposal := draw()) is not None:
            if not (excess := foreseen(problem, proposal.candidate)):
                return proposal
            refused.append((excess, proposal))
            if proposal.candidate not in known:
                known.add(proposal.candidate)
                added.append(proposal.candidate)
    finally:
        known.difference_update(added)
    return min(refused, key=lambda pair: pair[0])[1] if refused else None


def foreseen(problem: Problem, candidate: Candidate) -> float:
    """By how much a candidate breaks the limits on metrics that are known before it is paid for."""
    if not problem.limits:
        return 0.0
    metrics = problem.knowledge.metrics(candidate)
    return constraint_violation(metrics, [one for one in problem.limits if one.metric in metrics])
