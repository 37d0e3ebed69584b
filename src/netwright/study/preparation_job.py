"""Long work that a strategy needs done before it proposes: it runs where trials run."""

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

NUMBER = 0
"""In place of a trial's id, which begin at 1."""
_ORIGIN = "preparation"


@dataclass(frozen=True)
class EvaluatorWithPreparation:
    """An evaluator that does the preparation as well, in the worker that is handed its job."""

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


class Preparing:
    """Whether a strategy's preparation, if it has one, is to be done, runs, or is over."""

    def __init__(self, preparation: Preparation | None, folder: Path, seed: int) -> None:
        self._preparation, self._folder, self._seed = preparation, folder / SUPERNET, seed
        self.running = False

    def evaluator(self, evaluator: Evaluator) -> Evaluator:
        """What the workers are given."""
        if self._preparation is None:
            return evaluator
        return EvaluatorWithPreparation(evaluator, self._preparation)

    @property
    def due(self) -> bool:
        """Whether it should be started now."""
        return self._preparation is not None and not self.running and not self._preparation.over

    def start(self, executor: Executor, limit: float) -> None:
        """Submits it, for `limit` seconds."""
        (Folder(self._folder.parent) / self._folder.name).make()
        deadline = time.monotonic() + limit if math.isfinite(limit) else math.inf
        job = Job(Proposal(Candidate({}), origin=_ORIGIN), self._seed, self._folder, deadline)
        executor.submit(NUMBER, job, limit)
        self.running = True

    def end(self, outcome: JobResult) -> tuple[str, ...]:
        """What it came to, in sentences. Where it failed, the strategy does without."""
        assert self._preparation is not None  # it was started
        self.running = False
        if outcome.status is not Status.DONE:
            self._preparation.give_up(outcome.error)
        return tuple(self._preparation.report())

    def progress(self) -> str:
        """How far it is, in a few words; empty while it does not run."""
        return self._preparation.progress() if self._preparation and self.running else ""
