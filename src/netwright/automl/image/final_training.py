"""The final training of an image search: the chosen candidate, afresh, for the rest of the time.

It runs in supervised workers with all cores, on nearly all rows. In a long run several networks are
trained, some of them side by side, and the delivered model is their mean. Every minute their state is
saved, so that a run that was killed goes on from there. The strategy does not hear of it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from netwright.automl.finished_search import ROUND, FinishedSearch, OpenedSearch
from netwright.automl.image.final_candidate import (
    choose_trial,
    final_candidate,
    final_candidates,
    slowdown,
)
from netwright.automl.image.final_record import FinalRecord, is_unfinished
from netwright.automl.image.final_split import final_task, held_out_by_final
from netwright.automl.image.validation_scores import validation_scores, z_score
from netwright.automl.time_allocation import FINAL_JUDGING_SHARE, MIN_FINAL_SECONDS
from netwright.errors import BrokenFile
from netwright.evaluators.default_evaluators import default_evaluator
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.files.run_layout import (
    CANDIDATE,
    FINAL_TRAINING,
    METRICS,
    SECONDS,
    TRAINING_CHECKPOINT,
)
from netwright.interfaces.evaluator import Evaluator
from netwright.report.describe import summary
from netwright.space.candidate import Candidate
from netwright.study.journal import trial_seed
from netwright.study.progress.events import Callback, RunningTrial, StageStarted, Tick
from netwright.study.workers.executors import Executor
from netwright.study.workers.supervisor import JobResult
from netwright.trials.trial import FINAL, MADE, Job, Metrics, Proposal, Status, Trial

_MIN_Z_TO_KEEP = -2.0
"""The final model is discarded if it is worse than the search's by two standard errors."""
_POLL_SECONDS = 0.25
_MAX_WAITING_SHARE = 0.1
"""Share of the final training's time to wait for its workers before widths are timed."""
_MORE_TIME_RATIO = 0.5
"""A finished run is trained again if this share of its last final training's time is left."""


class Reserve(NamedTuple):
    """Time to keep back for the delivery of the final model, by that of an exported one.

    Args:
        export_seconds: of exporting a model.
        exported: the trial whose model has been exported; None if none could be.
        measure_prediction_seconds: returns how long that model takes for the rows that are predicted
            in the delivery: those of the test data, of the check and of the measurements.
    """

    export_seconds: float
    exported: Trial | None = None
    measure_prediction_seconds: Callable[[], float] = lambda: 0.0


def is_due(search: FinishedSearch, seconds_left: float) -> bool:
    """Return whether a final training would add something to a search of images that has ended.

    Args:
        search: the search.
        seconds_left: for the final training; infinite without a time limit.
    """
    if search.interrupted or seconds_left < MIN_FINAL_SECONDS:
        return False
    last, record = _last_searched(search), FinalRecord.read(search.folder)
    last_final = max((trial.id for trial in search.finals), default=0)
    is_done = last_final > last or record.left_out_after == last > 0
    if is_unfinished(search.folder) or not is_done:
        return True
    return math.isfinite(seconds_left) and seconds_left > _MORE_TIME_RATIO * record.round_seconds


def _last_searched(search: FinishedSearch) -> int:
    """Return the id of the last trial of the search."""
    return max((t.id for t in search.trials if t.proposal.origin not in MADE), default=0)


def train_final(
    opened: OpenedSearch,
    executor: Executor,
    deadline: float,
    n_threads: int,
    n_members: int,
    notify: Callback,
    export_first: Callable[[], Reserve],
) -> str:
    """Train the chosen candidate until the deadline, and record it as a trial of the study.

    Args:
        opened: a search whose study has run.
        executor: of `FinalWorkers`; the caller closes it.
        deadline: `time.monotonic()` by which the model is delivered; infinite to train the recipe's
            epochs.
        n_threads: cores that all may use.
        n_members: how many networks to train, as many side by side as the executor has slots.
        notify: called with an event at the start, and several times a second.
        export_first: exports the best model of the search while the workers start, and returns what
            tells how much time to reserve for the final model.

    Returns:
        A sentence about why a final model is left out; empty if none is, or if there was no time.

    Raises:
        KeyboardInterrupt: The user has stopped it; the same run folder goes on from its checkpoint.
    """
    started_at, search = time.monotonic(), opened.finished()
    n_side_by_side = min(n_members, executor.capacity)
    chosen = choose_trial(search)
    if chosen is None and not opened.study.baselines:
        return ""
    executor.open(_evaluator(search), n_side_by_side)
    reserve = export_first()
    deadline -= reserve.export_seconds * n_members
    seconds = deadline - time.monotonic()
    if seconds < MIN_FINAL_SECONDS:
        return ""
    if math.isfinite(seconds):  # widths are timed next, and starting workers would slow that down
        _wait_until_ready(executor, n_side_by_side, time.monotonic() + _MAX_WAITING_SHARE * seconds)
    prediction_seconds = reserve.measure_prediction_seconds() * n_members
    if chosen is None:  # no trial has finished: the default as it is
        candidate = opened.study.baselines[0]
    else:
        seconds = deadline - prediction_seconds - time.monotonic()
        candidate = _unfinished_candidate(search, chosen) or final_candidate(
            search,
            chosen,
            seconds / math.ceil(n_members / n_side_by_side),
            max(1, n_threads // n_side_by_side),
            n_side_by_side,
        )
        deadline -= prediction_seconds * slowdown(candidate, chosen, reserve.exported)
    if deadline - time.monotonic() < MIN_FINAL_SECONDS:  # on a busy machine all this takes longer
        return ""
    n_rounds = len({trial.proposal.note.get(ROUND) for trial in search.finals})
    parents = () if chosen is None else (chosen.id,)
    proposal = Proposal(candidate, origin=FINAL, parents=parents, note={ROUND: n_rounds})
    training = _FinalTraining(search, proposal, executor, deadline, started_at, notify)
    return _record_members(opened, training, training.run(n_members), chosen)


def _unfinished_candidate(search: FinishedSearch, chosen: Trial) -> Candidate | None:
    """Return the candidate whose training was stopped, if it is the chosen one in some width.

    With less time left a narrower one would be chosen now, and what was trained would be lost.
    """
    if not is_unfinished(search.folder):
        return None
    text = (Folder(search.folder) / FINAL_TRAINING).read(CANDIDATE).decode()
    return next((each for each in final_candidates(chosen.candidate) if each.json() == text), None)


def _wait_until_ready(executor: Executor, n_workers: int, ends_at: float) -> None:
    """Wait until so many workers are ready, but not longer than until `ends_at` (monotonic time)."""
    while executor.free_slots < n_workers and time.monotonic() < ends_at:
        executor.poll(_POLL_SECONDS)


def _evaluator(search: FinishedSearch) -> Evaluator:
    """Return the evaluator that trains a network on nearly all rows, until its deadline."""
    return default_evaluator(
        search.space,
        final_task(search.task),
        search.objectives,
        search.limits,
        phase_shares=replace(search.time_budget.phase_shares, judging=FINAL_JUDGING_SHARE),
        until_deadline=True,
    )


def _record_members(
    opened: OpenedSearch,
    training: _FinalTraining,
    results: Sequence[JobResult],
    chosen: Trial | None,
) -> str:
    """Record each member as a trial, unless it failed or is worse than the model of the search.

    Returns:
        A sentence about why a member is left out; empty if none is.
    """
    search, errors = training.search, list[str]()
    for member, job_result in enumerate(results):
        folder = training.folder / str(member)
        if job_result.status is Status.DONE:
            reason = _reason_to_discard(search, chosen, folder)
        else:
            reason = job_result.error
        if reason:
            errors.append(reason)
            continue
        seconds = FinalRecord.read(search.folder).round_seconds
        take_over = _TakeOver(folder, job_result.metrics)
        opened.study.add_trial(training.proposal, take_over, seconds=seconds)
    if len(errors) == len(results):
        record = FinalRecord.read(search.folder)
        replace(record, left_out_after=_last_searched(search)).write(search.folder)
    training.folder.clear(keep=(SECONDS,))
    return f"A final training is left out: {errors[0]}" if errors else ""


@dataclass(frozen=True)
class _FinalTraining:
    """Trains members of the final model, as many side by side as the executor has slots.

    Args:
        search: the search.
        proposal: the candidate to train.
        executor: opened already; each of its slots trains a member.
        deadline: `time.monotonic()` by which all have ended.
        started_at: `time.monotonic()` from which on its seconds count.
        notify: called with events.
    """

    search: FinishedSearch
    proposal: Proposal
    executor: Executor
    deadline: float
    started_at: float
    notify: Callback

    @property
    def folder(self) -> Folder:
        """The folder of the members' files and checkpoints, one subfolder each."""
        return Folder(self.search.folder) / FINAL_TRAINING

    def run(self, n_members: int) -> list[JobResult]:
        """Train the members, from their checkpoints if there are some, and return the results."""
        self._remove_other_checkpoints()
        trials = [self._trial(member) for member in range(n_members)]
        label = summary(self.search.space.fill(self.proposal.candidate))
        models = f"{n_members} final models" if n_members > 1 else "the final model"
        self.notify(StageStarted("training", f"{models}: {label}"))
        started_at, record = self.started_at, FinalRecord.read(self.search.folder)
        results = self._finished(trials)
        waiting = [trial for trial in trials if trial.id not in results]
        try:
            while len(results) < n_members:
                while waiting and self.executor.free_slots:
                    self._submit(waiting.pop(0), n_members)
                for job_result in self.executor.poll(_POLL_SECONDS):
                    results[job_result.trial_id] = job_result
                    self._save_metrics(job_result)
                now = time.monotonic()
                self._record_seconds(record, now - started_at)
                seconds_left = self.deadline - now if math.isfinite(self.deadline) else None
                running = tuple(
                    RunningTrial(trial, label, now - started_at)
                    for trial in trials
                    if trial.id not in results and trial not in waiting
                )
                n_ended = len(self.search.trials)
                self.notify(Tick(now - started_at, running, "", n_ended, seconds_left))
        finally:
            self._record_seconds(record, time.monotonic() - started_at)
        return [results[trial.id] for trial in trials]

    def _trial(self, member: int) -> Trial:
        """Return a member as a trial; its id is the one that it will have if all are recorded."""
        trial_id = max((trial.id for trial in self.search.trials), default=0) + 1 + member
        return Trial(trial_id, self.proposal, trial_seed(self.search.seed, trial_id))

    def _member_folder(self, trial_id: int) -> Folder:
        return self.folder / str(trial_id - self._trial(0).id)

    def _submit(self, trial: Trial, n_members: int) -> None:
        folder = self._member_folder(trial.id)
        folder.make()
        member, n_slots = trial.id - self._trial(0).id, self.executor.capacity
        turns_left = math.ceil(n_members / n_slots) - member // n_slots
        seconds = (self.deadline - time.monotonic()) / turns_left
        job = Job(self.proposal, trial.seed, folder.path.absolute(), time.monotonic() + seconds)
        self.executor.submit(trial.id, job, seconds)

    def _save_metrics(self, job_result: JobResult) -> None:
        """Record that a member has ended, so that a run that is killed later does not lose it."""
        if job_result.status is Status.DONE:
            folder = self._member_folder(job_result.trial_id)
            folder.write(METRICS, json.dumps(dict(job_result.metrics)))

    def _finished(self, trials: Sequence[Trial]) -> dict[int, JobResult]:
        """Return the results of members that a killed run has trained to their end."""
        results = dict[int, JobResult]()
        for trial in trials:
            folder = self._member_folder(trial.id)
            if folder.has_file(METRICS):
                with suppress(BrokenFile):
                    metrics = from_plain(read_json(folder, METRICS), dict[str, float], METRICS)
                    results[trial.id] = JobResult(trial.id, Status.DONE, metrics, 0.0, "")
        return results

    def _remove_other_checkpoints(self) -> None:
        """Remove checkpoints of another candidate."""
        text = self.proposal.candidate.json()
        self.folder.make()
        has_one = self.folder.has_file(CANDIDATE)
        if not has_one or self.folder.read(CANDIDATE).decode() != text:
            self.folder.clear(keep=(SECONDS,))
            self.folder.write(CANDIDATE, text)
            record = FinalRecord.read(self.search.folder)
            replace(record, round_seconds=0.0).write(self.search.folder)

    def _record_seconds(self, before: FinalRecord, seconds: float) -> None:
        record = replace(
            before,
            seconds=before.seconds + seconds,
            round_seconds=before.round_seconds + seconds,
        )
        record.write(self.search.folder)


@dataclass(frozen=True)
class _TakeOver:
    """Calling it with a trial's folder copies a member's files there, and returns its metrics."""

    source: Folder
    metrics: Metrics

    def __call__(self, trial_folder: Path) -> Metrics:
        target = Folder(trial_folder)
        for name in self.source.names():
            if name not in (TRAINING_CHECKPOINT, METRICS):
                self.source.copy(name, target, name)
        return self.metrics


def _reason_to_discard(search: FinishedSearch, chosen: Trial | None, folder: Folder) -> str:
    """Return why a final model is worse than the search's on its rows; empty if it is not."""
    if chosen is None:
        return ""
    task, mask = search.task, held_out_by_final(search.task)
    of_chosen = validation_scores(search.trial_folder(chosen.id), task, task.validation)
    of_final = validation_scores(folder, task, task.validation[mask])
    if of_chosen is None or of_final is None:
        return ""
    z = z_score(of_chosen.losses[mask] - of_final.losses)
    if z >= _MIN_Z_TO_KEEP:
        return ""
    return f"on the same rows it is worse than trial {chosen.id} (z {z:.1f})."
