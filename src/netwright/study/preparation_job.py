"""Run the work that a strategy needs done before it proposes, as a job of an executor."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from netwright.files.folder import Folder
from netwright.files.run_layout import SUPERNET
from netwright.interfaces.evaluator import Capabilities, Evaluator, capabilities_of
from netwright.interfaces.preparation import Preparation
from netwright.space.candidate import Candidate
from netwright.study.workers.executors import Executor
from netwright.study.workers.supervisor import JobResult
from netwright.trials.trial import Job, Metrics, Proposal, Status

PREPARATION_ID = 0
"""The preparation's job has this id; trial ids begin at 1."""
_ORIGIN = "preparation"


@dataclass(frozen=True)
class EvaluatorWithPreparation:
    """An evaluator that also does the preparation, if it is handed the preparation's job."""

    evaluator: Evaluator
    preparation: Preparation

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.evaluator.metrics

    @property
    def capabilities(self) -> Capabilities:
        return capabilities_of(self.evaluator)

    def __call__(self, job: Job) -> Metrics:
        if job.proposal.origin == _ORIGIN:
            return self.preparation(job)
        return self.evaluator(job)


class PreparationJob:
    """State of a strategy's preparation: due, running or over; over if there is none."""

    def __init__(self, preparation: Preparation | None, folder: Path, seed: int) -> None:
        self._preparation, self._folder, self._seed = preparation, folder / SUPERNET, seed
        self.is_running = False

    def wrap_evaluator(self, evaluator: Evaluator) -> Evaluator:
        """Return the evaluator for the workers, which can do the preparation if there is one."""
        if self._preparation is None:
            return evaluator
        return EvaluatorWithPreparation(evaluator, self._preparation)

    @property
    def is_due(self) -> bool:
        """Whether it is to be started now."""
        return (
            self._preparation is not None and not self.is_running and not self._preparation.is_over
        )

    def start(self, executor: Executor, time_limit: float) -> None:
        """Submit the job, with `time_limit` in seconds."""
        (Folder(self._folder.parent) / self._folder.name).make()
        deadline = time.monotonic() + time_limit if math.isfinite(time_limit) else math.inf
        job = Job(Proposal(Candidate({}), origin=_ORIGIN), self._seed, self._folder, deadline)
        executor.submit(PREPARATION_ID, job, time_limit)
        self.is_running = True

    def end(self, job_result: JobResult) -> tuple[str, ...]:
        """Return the preparation's report, in sentences; if it failed, it is given up first."""
        assert self._preparation is not None  # it was started
        self.is_running = False
        if job_result.status is not Status.DONE:
            self._preparation.give_up(job_result.error)
        return tuple(self._preparation.report())

    def progress(self) -> str:
        """Return its progress in a few words; empty while it does not run."""
        return self._preparation.progress() if self._preparation and self.is_running else ""
