"""The final training of an image search: the chosen candidate, afresh, for the rest of the time.

It runs in a supervised worker with all cores, on nearly all rows. Every minute its state is saved,
so that a run that was killed goes on from there. The strategy does not hear of it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from netwright.automl.final_split import final_task, held_out_by_final
from netwright.automl.finished_search import FinishedSearch, OpenedSearch
from netwright.automl.image.final_candidate import (
    choose_trial,
    final_candidate,
    slowdown,
    z_score,
)
from netwright.automl.time_allocation import MIN_FINAL_SECONDS
from netwright.data.task import Images
from netwright.errors import BrokenFile, InfeasibleCandidate
from netwright.evaluators.default_evaluators import default_evaluator
from netwright.evaluators.training.train_and_validate import FullTime
from netwright.files.folder import Folder
from netwright.files.json_files import read_json
from netwright.files.run_layout import CANDIDATE, FINAL_TRAINING, SECONDS, VALIDATION
from netwright.report.tables import describe_trial
from netwright.space.candidate import Candidate
from netwright.study.journal import trial_seed
from netwright.study.progress.events import Callback, RunningTrial, StageStarted, Tick
from netwright.study.workers.executors import Executor, Supervised
from netwright.study.workers.supervisor import JobResult
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import row_losses
from netwright.trials.trial import FINAL, MADE, Job, Metrics, Proposal, Status, Trial

_MIN_Z_TO_KEEP = -2.0
"""The final model is discarded if it is worse than the search's by two standard errors."""
_POLL_SECONDS = 0.25
_WARM_UP = "netwright.evaluators.training.train_and_validate:warm_up"
_MORE_TIME_RATIO = 0.5
"""A finished run is trained again if this share of its last final training's time is left."""


class Reserve(NamedTuple):
    """Seconds to keep back for delivery: of exporting a model, and of predicting the test rows."""

    export_seconds: float
    test_seconds: float


def used_seconds(run: Path) -> float:
    """Return the seconds of all final trainings of a run folder, killed ones included."""
    with suppress(BrokenFile, KeyError, TypeError, ValueError):
        return float(read_json(Folder(run) / FINAL_TRAINING, SECONDS)["seconds"])
    return 0.0


def is_due(search: FinishedSearch, seconds_left: float) -> bool:
    """Return whether a final training would add something to a search that has ended.

    Args:
        search: the search.
        seconds_left: for the final training; infinite without a time limit.
    """
    if not isinstance(search.task.features, Images) or not search.has_finished_trial:
        return False
    if search.interrupted or seconds_left < MIN_FINAL_SECONDS:
        return False
    last = max((t.id for t in search.trials if t.proposal.origin not in MADE), default=0)
    finals = [trial for trial in search.trials if trial.proposal.origin == FINAL]
    if not finals or finals[-1].id < last:
        return True
    return math.isfinite(seconds_left) and seconds_left > _MORE_TIME_RATIO * finals[-1].seconds


def executor_of_final(opened: OpenedSearch) -> Executor:
    """Return the executor of the final training: one supervised worker with all cores."""
    executor = opened.study.executor
    return executor.merged() if isinstance(executor, Supervised) else executor


def start_early(executor: Executor, opened: OpenedSearch) -> None:
    """Start the worker of the final training while the search runs, if there will be one."""
    if isinstance(executor, Supervised) and isinstance(opened.task.features, Images):
        executor.start(_WARM_UP)


def train_final(
    opened: OpenedSearch,
    executor: Executor,
    deadline: float,
    n_threads: int,
    notify: Callback,
    export_first: Callable[[], Reserve],
) -> str:
    """Train the chosen candidate until the deadline, and record it as a trial of the study.

    Args:
        opened: a search whose study has run.
        executor: see `executor_of_final`; the caller closes it.
        deadline: `time.monotonic()` by which its model is delivered; infinite to train the recipe's
            epochs.
        n_threads: cores that it may use.
        notify: called with an event at the start, and several times a second.
        export_first: exports the best model of the search while the worker starts, and returns what
            time to reserve for the final model.

    Returns:
        A sentence about why there is no final model; empty if there is one.

    Raises:
        KeyboardInterrupt: The user has stopped it; the same run folder goes on from its checkpoint.
    """
    search = opened.finished()
    chosen = choose_trial(search)
    if chosen is None:
        return ""
    folder = Folder(search.folder) / FINAL_TRAINING
    folder.make()
    evaluator = default_evaluator(
        search.space,
        final_task(search.task),
        search.objectives,
        search.limits,
        phase_shares=search.time_budget.phase_shares,
        full_time=FullTime(folder.path.absolute()),
    )
    try:
        executor.open(evaluator, 1)
        reserve = export_first()
        deadline -= reserve.export_seconds
        if deadline - time.monotonic() < MIN_FINAL_SECONDS:
            return ""
        candidate = final_candidate(search, chosen, deadline - time.monotonic(), n_threads)
        deadline -= reserve.test_seconds * slowdown(candidate, chosen)
        _remove_other_checkpoints(folder, candidate)
        proposal = Proposal(candidate, origin=FINAL, parents=(chosen.id,))
        run = _FinalRun(search, chosen, proposal, folder, executor, deadline, notify)
        opened.study.add_trial(proposal, run)
    except InfeasibleCandidate as error:
        return f"The final training is left out: {error}"
    folder.clear(keep=(SECONDS,))
    return ""


def _remove_other_checkpoints(folder: Folder, candidate: Candidate) -> None:
    """Remove checkpoints of another candidate from the folder."""
    text = candidate.json()
    is_same = folder.has_file(CANDIDATE) and folder.read(CANDIDATE).decode() == text
    if not is_same:
        folder.clear(keep=(SECONDS,))
        folder.write(CANDIDATE, text)


@dataclass(frozen=True)
class _FinalRun:
    """Calling it with a trial's folder runs the final training, and returns the metrics.

    Args:
        search: the search.
        chosen: the trial whose candidate is trained.
        proposal: the candidate to train.
        folder: of the checkpoints.
        executor: runs it; opened already.
        deadline: `time.monotonic()` by which it has ended.
        notify: called with events.
    """

    search: FinishedSearch
    chosen: Trial
    proposal: Proposal
    folder: Folder
    executor: Executor
    deadline: float
    notify: Callback

    def __call__(self, trial_folder: Path) -> Metrics:
        search, trial_id = self.search, int(trial_folder.name)
        trial = Trial(trial_id, self.proposal, trial_seed(search.seed, trial_id))
        job = Job(self.proposal, trial.seed, trial_folder.absolute(), self.deadline)
        result = self._run(trial, job)
        if result.status is not Status.DONE:
            raise InfeasibleCandidate(result.error or "it was stopped.")
        z = self._z_against_chosen(Folder(trial_folder))
        if z < _MIN_Z_TO_KEEP:
            raise InfeasibleCandidate(
                f"on the same rows it is worse than trial {self.chosen.id} (z {z:.1f})."
            )
        return result.metrics

    def _run(self, trial: Trial, job: Job) -> JobResult:
        search = self.search
        label = describe_trial(trial, search.space.fill)
        self.notify(StageStarted("training", f"the final model: {label}"))
        started_at, seconds_before = time.monotonic(), used_seconds(search.folder)
        time_limit = self.deadline - started_at
        try:
            while not self.executor.free_slots:
                self.executor.poll(_POLL_SECONDS)
            self.executor.submit(trial.id, job, time_limit)
            while not (results := self.executor.poll(_POLL_SECONDS)):
                seconds = time.monotonic() - started_at
                self._record_seconds(seconds_before + seconds)
                running = (RunningTrial(trial, label, seconds),)
                left = self.deadline - time.monotonic()
                seconds_left = left if math.isfinite(left) else None
                n_ended = len(search.trials)
                self.notify(Tick(seconds, running, "", n_ended, seconds_left))
        finally:
            self._record_seconds(seconds_before + time.monotonic() - started_at)
        return results[0]

    def _record_seconds(self, seconds: float) -> None:
        self.folder.write(SECONDS, json.dumps({"seconds": seconds}))

    def _z_against_chosen(self, trial_folder: Folder) -> float:
        """Return how many standard errors the final model gains over the search's, on its rows."""
        task, mask = self.search.task, held_out_by_final(self.search.task)
        losses = []
        for folder, rows in (
            (self.search.trial_folder(self.chosen.id), mask),
            (trial_folder, mask[mask]),
        ):
            try:
                expected_rows = np.ones(len(rows), np.bool_)
                p = read_predictions(folder, VALIDATION, expected_rows, len(task.classes))
            except BrokenFile:
                return 0.0
            losses.append(row_losses(task.kind, p[rows], task.target[task.validation[mask]]))
        return z_score(losses[0] - losses[1])
