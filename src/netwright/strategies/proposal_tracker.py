"""Bookkeeping that nearly every strategy shares: seen candidates, running trials, filled batches."""

from __future__ import annotations

from collections.abc import Callable, Set

from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.trials.selection import constraint_violation
from netwright.trials.trial import Proposal, Status, Trial

ProposeNext = Callable[[Set[Candidate], int], Proposal | None]
"""(seen candidates, proposals already in this batch) -> the next proposal, or None."""
_MAX_DRAWS = 100
"""Draws until one satisfies the limits known in advance; then the least violating draw is used."""


class ProposalTracker:
    """The candidates that were started and the ids of running trials.

    With a `problem`, batches avoid candidates that are known to violate its limits.
    """

    def __init__(self, problem: Problem | None = None) -> None:
        self._problem = problem
        self.seen: set[Candidate] = set()
        self.running: set[int] = set()

    def record(self, trial: Trial) -> bool:
        """Record the start or end of a trial; return True if it finished with metrics."""
        self.seen.add(trial.candidate)
        if trial.status is Status.RUNNING:
            self.running.add(trial.id)
        else:
            self.running.discard(trial.id)
        return trial.status is Status.DONE

    def fill_batch(self, n: int, propose: ProposeNext) -> list[Proposal]:
        """Return at most `n` proposals, no candidate twice; stop when `propose` returns None."""
        proposals: list[Proposal] = []
        added: list[Candidate] = []  # removed again afterwards: `ask` must not change the state
        try:
            while len(proposals) < n:
                proposal = self._propose_within_limits(propose, len(proposals))
                if proposal is None:
                    break
                if proposal.candidate not in self.seen:
                    self.seen.add(proposal.candidate)
                    added.append(proposal.candidate)
                proposals.append(proposal)
        finally:
            self.seen.difference_update(added)
        return proposals

    def _propose_within_limits(self, propose: ProposeNext, n_proposed: int) -> Proposal | None:
        if self._problem is None:
            return propose(self.seen, n_proposed)
        return first_within_limits(self._problem, lambda: propose(self.seen, n_proposed), self.seen)


def first_within_limits(
    problem: Problem, draw: Callable[[], Proposal | None], seen: set[Candidate]
) -> Proposal | None:
    """Return the first draw that satisfies the limits on metrics known before evaluation.

    If none of `_MAX_DRAWS` draws does, return the one with the smallest violation. `draw` must not
    repeat candidates in `seen`; rejected candidates are in it until this function returns.
    """
    if not problem.limits:
        return draw()
    rejected: list[tuple[float, Proposal]] = []
    added: list[Candidate] = []
    try:
        while len(rejected) < _MAX_DRAWS and (proposal := draw()) is not None:
            if not (violation := known_violation(problem, proposal.candidate)):
                return proposal
            rejected.append((violation, proposal))
            if proposal.candidate not in seen:
                seen.add(proposal.candidate)
                added.append(proposal.candidate)
    finally:
        seen.difference_update(added)
    return min(rejected, key=lambda pair: pair[0])[1] if rejected else None


def known_violation(problem: Problem, candidate: Candidate) -> float:
    """Return the total violation of limits on metrics that are known before evaluation."""
    if not problem.limits:
        return 0.0
    metrics = problem.knowledge.metrics(candidate)
    return constraint_violation(
        metrics, [limit for limit in problem.limits if limit.metric in metrics]
    )
