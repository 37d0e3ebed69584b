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
        known = set(self.known)
        proposals: list[Proposal] = []
        while len(proposals) < n and (proposal := one(known, len(proposals))) is not None:
            known.add(proposal.candidate)
            proposals.append(proposal)
        return proposals
