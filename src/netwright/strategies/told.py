"""What nearly every strategy does alike: remembering what it was told, and filling a batch."""

from __future__ import annotations

from collections.abc import Callable, Set

from netwright.space.candidate import Candidate
from netwright.trials.trial import Proposal, Status, Trial

One = Callable[[Set[Candidate], int], Proposal | None]
"""What is known by now, how many are proposed already in this batch -> the next, or None."""


class Told:
    """The candidates that were started, and the trials that run."""

    def __init__(self) -> None:
        self.known: set[Candidate] = set()
        self.running: set[int] = set()

    def hear(self, trial: Trial) -> bool:
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
            while len(proposals) < n and (proposal := one(self.known, len(proposals))) is not None:
                if proposal.candidate not in self.known:
                    self.known.add(proposal.candidate)
                    added.append(proposal.candidate)
                proposals.append(proposal)
        finally:
            self.known.difference_update(added)
        return proposals
