"""The contract of preparations: long work before a strategy proposes, such as training a supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from netwright.space.candidate import Candidate
from netwright.trials.trial import Job, Metrics


class Preparation(Protocol):
    """Long work that has to finish before a strategy proposes.

    A strategy declares it as its `preparation`. The study runs it in a worker, as a job like an
    evaluation; its results are on disk, so that a killed study resumes it.
    """

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics that a call returns."""
        ...

    def __call__(self, job: Job, /) -> Metrics:
        """Run the preparation, or resume an unfinished one, until the job's deadline."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the preparation has finished, or has been given up."""
        ...

    def give_up(self, reason: str) -> None:
        """End it without a result, for a reason that is reported."""
        ...

    def progress(self) -> str:
        """Return a short description of its progress; may be empty."""
        ...

    def report(self) -> Sequence[str]:
        """Return a summary of the finished preparation, as sentences."""
        ...


@runtime_checkable
class Shortlist(Preparation, Protocol):
    """Candidates that a search over shared weights found, best first."""

    @property
    def held(self) -> Mapping[str, str]:
        """Decisions that could not be searched, as a mapping from path to reason."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether the measured quality of the shared weights lets them rank candidates."""
        ...

    @property
    def shortfall(self) -> str:
        """Why the work did not finish, in a sentence; empty if it did."""
        ...

    def candidates(self, n: int) -> Sequence[Candidate]:
        """Return at most the `n` best; none if the work was given up without a result."""
        ...
