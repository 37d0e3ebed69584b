"""Long work that has to be over before a strategy proposes, such as the training of a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from netwright.space.candidate import Candidate
from netwright.trials.trial import Job, Metrics


class Preparation(Protocol):
    """Long work that has to be over before a strategy proposes.

    A strategy that needs some has it as its `preparation`. The study runs it in a worker, with a
    job like any evaluation's; what it leaves behind lies on disk, so that a study that was killed
    goes on with it.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what a call returns."""
        ...

    def __call__(self, job: Job, /) -> Metrics:
        """Does the work, or what is left of it; over before the job's deadline."""
        ...

    @property
    def over(self) -> bool:
        """Whether it is done, or was given up."""
        ...

    def give_up(self, reason: str) -> None:
        """Ends it without a result, for a reason that is told."""
        ...

    def progress(self) -> str:
        """How far it is, in a few words; may be empty."""
        ...

    def report(self) -> Sequence[str]:
        """What it came to, in sentences; asked for when it is over."""
        ...


@runtime_checkable
class Shortlist(Preparation, Protocol):
    """Candidates that a search over shared weights found, best first."""

    @property
    def held(self) -> Mapping[str, str]:
        """Paths of decisions that it could not search -> why."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether what was measured on the way lets shared weights decide."""
        ...

    @property
    def shortfall(self) -> str:
        """Why the work did not come to its end, in a sentence; empty where it did."""
        ...

    def candidates(self, n: int) -> Sequence[Candidate]:
        """At most `number` of them; none where the work was given up and nothing is known."""
        ...
