"""The search loop: joins strategy, evaluator, executor and store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netwright.errors import plural
from netwright.interfaces.evaluator import Evaluator
from netwright.interfaces.preparation import Preparation
from netwright.space.candidate import Candidate
from netwright.study.budget import Budget, FailureCounter
from netwright.study.journal import Journal
from netwright.study.preparation_job import PREPARATION_ID, PreparationJob
from netwright.study.progress.events import (
    Callback,
    PreparationEnded,
    RunningTrial,
    SearchStarted,
    StageStarted,
    Tick,
    TrialEnded,
    TrialStarted,
)
from netwright.study.progress.tally import Tally
from netwright.study.storage.run_folder import (
    empty_trial_folder,
    fresh_folder,
    trial_folder,
    trial_path,
    trials_with_folders,
)
from netwright.study.workers.executors import Executor
from netwright.study.workers.supervisor import JobResult
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import BASELINE, MADE, Job, Proposal, Status, Trial

_MAX_GRACE_SECONDS, _GRACE_SHARE_OF_BUDGET = 2.0, 0.05
"""After its time a study waits for trials that end by themselves: this share of its time, and at
most so many seconds, so that a search of a minute overruns by 2 s."""
_MIN_HANG_SECONDS, _HANG_TO_SLOWEST_RATIO, _DEFAULT_HANG_SECONDS = 600.0, 20.0, 3600.0
"""Without a clock a trial counts as hung after the ratio times the slowest finished trial of its
family, but not before the minimum; after the default while no trial of the family has finished."""
_POLL_SECONDS = 0.25
"""Interval between checks of the clock while trials run, and thus between `Tick` events."""


@dataclass(frozen=True)
class SearchSettings:
    """The settings that a study hands to its search loop.

    Args:
        folder: the run folder, which holds the trials' folders.
        seed: of the study; trial seeds and the preparation's seed follow from it.
        evaluator: measures the candidates.
        preparation: work that the strategy needs done before it proposes, or None.
        baselines: candidates evaluated before the strategy is asked.
        objectives: metrics to optimise, the first of them for the best trial.
        limits: bounds on metrics.
        time: the maximum seconds of a trial and of the preparation.
        describe: names a trial in a few words for progress lines and callbacks.
        searches: whether the strategy may propose candidates.
    """

    folder: Path
    seed: int
    evaluator: Evaluator
    preparation: Preparation | None
    baselines: Sequence[Candidate]
    objectives: Sequence[Objective]
    limits: Sequence[Limit]
    time: TimeBudget
    describe: Callable[[Trial], str]
    searches: bool = True


class SearchLoop:
    """One run of a study: submits trials to free workers and records how they end.

    Args:
        settings: of the study.
        executor: runs the trials; opened here, closed by the caller.
        journal: the log, already replayed.
        budget: ends the run.
        clock_offset: seconds to add to `time.monotonic()` for the seconds used by all runs.
        notify: receives each event.
    """

    def __init__(
        self,
        settings: SearchSettings,
        executor: Executor,
        journal: Journal,
        budget: Budget,
        clock_offset: float,
        notify: Callback,
    ) -> None:
        self._settings, self._executor, self._journal = settings, executor, journal
        self._budget, self._clock_offset = budget, clock_offset
        self._notify = notify
        self._tally = Tally(journal.trials_by_id(), settings.objectives, settings.limits, budget)
        self._preparation = PreparationJob(settings.preparation, settings.folder, settings.seed)
        self._has_announced_search = False
        self._to_rerun = list(journal.unfinished)
        self._running: dict[int, Trial] = {}
        self._submitted: dict[int, tuple[float, str]] = {}
        """Trial id -> when it was submitted (`time.monotonic()`), and its name."""
        self._returned: dict[int, JobResult] = {}
        """Trial id -> its result, until it is recorded."""
        self._queue: list[tuple[Trial, bool]] = []
        """Trials to submit, and whether each is run again."""
        self._in_order = budget.seconds is None
        self._failures = FailureCounter()
        self._shortest_seconds = shortest_trial_seconds(journal.trials_by_id())
        self._slowest_seconds: dict[str, float] = {}
        """Family -> seconds at full fidelity of its slowest finished trial."""
        for trial in journal.trials_by_id():
            self._update_slowest(trial)
        self._target_reached = False
        self._cut_short: set[int] = set()
        """Trials whose deadline is the end of the study's time, not the limit of one trial."""
        self._with_folders = trials_with_folders(settings.folder)

    @property
    def used_seconds(self) -> float:
        """Seconds used by all runs of this folder."""
        return self._clock_offset + time.monotonic()

    def run(self) -> None:
        """Search until the budget is used, or until nothing runs and nothing is proposed."""
        max_jobs = self._budget.trials_left(self._journal.n_budgeted_trials)
        if not self._settings.searches:
            n_baselines = len(self._settings.baselines) - self._journal.n_baselines_started
            max_jobs = min(max_jobs, max(0, n_baselines))
        max_jobs += len(self._to_rerun)
        evaluator = self._preparation.wrap_evaluator(self._settings.evaluator)
        self._announce()
        self._executor.open(evaluator, None if math.isinf(max_jobs) else int(max_jobs))
        self._empty_unneeded_folders()  # a killed run may have stopped before it did
        while not self._target_reached and not self._out_of_time():
            may_start = self._may_start()
            is_idle = may_start and self._propose()
            while self._queue and self._executor.free_slots:
                trial, is_rerun = self._queue.pop(0)
                self._submit(trial, is_rerun=is_rerun)
            if (
                not self._running
                and not self._preparation.is_running
                and (is_idle or not may_start)
            ):
                break
            for job_result in self._executor.poll(_POLL_SECONDS):
                if job_result.trial_id == PREPARATION_ID:
                    self._notify(PreparationEnded(self._preparation.end(job_result)))
                    self._notify(StageStarted("searching"))
                else:
                    self._returned[job_result.trial_id] = job_result
            self._record_returned()
            self._notify(self._tick())

    def _announce(self) -> None:
        """Send the first events, before the workers start."""
        budget, tally = self._budget, self._tally
        objectives = tuple(self._settings.objectives)
        self._notify(
            SearchStarted(objectives, budget.seconds, budget.trials, tally.n_ended, tally.best)
        )
        self._notify(StageStarted("starting", plural(self._executor.capacity, "worker")))

    def _tick(self) -> Tick:
        not_executing = {trial.id for trial, _ in self._queue} | self._returned.keys()
        now = time.monotonic()
        running = []
        for trial_id in sorted(self._running.keys() - not_executing):
            submitted_at, trial_label = self._submitted[trial_id]
            running.append(RunningTrial(self._running[trial_id], trial_label, now - submitted_at))
        progress = self._preparation.progress()
        return Tick(
            self.used_seconds, tuple(running), progress, self._tally.n_ended, self._seconds_left
        )

    @property
    def _seconds_left(self) -> float | None:
        return self._tally.seconds_left(
            self.used_seconds, self._journal.n_budgeted_trials, len(self._running)
        )

    def _out_of_time(self) -> bool:
        """Return whether running trials are cut off; they stay unfinished and can be run again."""
        grace = min(_MAX_GRACE_SECONDS, _GRACE_SHARE_OF_BUDGET * (self._budget.seconds or 0.0))
        return self._budget.seconds_left(self.used_seconds) < -grace

    def _may_start(self) -> bool:
        has_trials = self._budget.trials_left(self._journal.n_budgeted_trials) > 0
        has_trials = has_trials or bool(self._to_rerun)
        return has_trials and not self._budget.is_too_late(
            self.used_seconds, self._shortest_seconds
        )

    def _propose(self) -> bool:
        """Queue a trial for each free slot; return whether slots stay free for want of proposals."""
        while (free_slots := self._free_slots) > 0:
            trials = self._next_trials(free_slots) if self._may_start() else []
            self._queue += trials
            self._running |= {trial.id: trial for trial, _ in trials}
            if trials:
                continue
            if not (self._may_start() and self._preparation.is_due):
                return True
            if not self._executor.free_slots:
                return False
            self._notify(StageStarted("preparing", "the strategy"))
            seconds_left = self._budget.seconds_left(self.used_seconds)
            self._preparation.start(
                self._executor, self._settings.time.supernet_within(seconds_left)
            )
        return False

    @property
    def _free_slots(self) -> int:
        """Trials that may be proposed now; in order, a trial holds its slot until it is recorded."""
        if self._in_order:
            return self._executor.capacity - len(self._running)
        return self._executor.free_slots - len(self._queue)

    def _record_returned(self) -> None:
        """Record the trials that have returned.

        With a budget of trials they are recorded by id, and the next is proposed before another is
        recorded: which trial happens to end first must not change what is searched.
        """
        for trial_id in sorted(self._returned):
            if self._in_order and trial_id != min(self._running):
                break
            trial = self._record(self._returned.pop(trial_id))
            if trial is not None:
                self._failures.count(trial)
            if self._target_reached:
                break
            if self._in_order:
                self._propose()

    def record_all(self) -> None:
        """Record every trial that has returned, however the run ends."""
        for trial_id in sorted(self._returned):
            self._record(self._returned.pop(trial_id))

    def _next_trials(self, free_slots: int) -> list[tuple[Trial, bool]]:
        """Return trials left unfinished by an earlier run, else baselines, else proposals."""
        journal = self._journal
        if self._to_rerun:
            return [(self._to_rerun.pop(0), True)]
        # in order one by one: proposals then depend on the log alone, wherever a kill cut it
        free_slots = min(free_slots, 1) if self._in_order else free_slots
        n = int(min(free_slots, self._budget.trials_left(journal.n_budgeted_trials)))
        baselines = self._settings.baselines[journal.n_baselines_started :][:n]
        journal.n_baselines_started += len(baselines)
        proposals = [Proposal(candidate, origin=BASELINE) for candidate in baselines]
        proposals = proposals or (journal.ask(n) if n else [])
        return [
            (journal.record_start(proposal, self.used_seconds), False) for proposal in proposals
        ]

    def _submit(self, trial: Trial, *, is_rerun: bool) -> None:
        limits = self._settings.time
        time_limit = limits.trial  # a baseline should end earlier, but is not killed before
        is_baseline = trial.proposal.origin == BASELINE
        intended = min(limits.baseline, time_limit) if is_baseline else time_limit
        seconds_left = self._budget.seconds_left(self.used_seconds)
        if seconds_left < time_limit:
            self._cut_short.add(trial.id)
        # with a budget of trials evaluators must not look at the clock: only the kill limit does
        is_timed = self._budget.seconds is not None
        deadline = time.monotonic() + min(seconds_left, intended) if is_timed else math.inf
        folder = fresh_folder(trial_path(self._settings.folder, trial.id).absolute())
        job = Job(trial.proposal, trial.seed, folder, deadline)
        self._executor.submit(
            trial.id, job, time_limit, math.inf if is_timed else self._hang_timeout(trial)
        )
        self._with_folders.add(trial.id)
        if not self._has_announced_search:
            self._has_announced_search = True
            self._notify(StageStarted("searching"))
        trial_label = self._settings.describe(trial)
        self._submitted[trial.id] = time.monotonic(), trial_label
        self._notify(TrialStarted(trial, trial_label, is_rerun=is_rerun))

    def _hang_timeout(self, trial: Trial) -> float:
        """Return the seconds after which a trial without a deadline counts as hung."""
        if trial.family not in self._slowest_seconds:
            return _DEFAULT_HANG_SECONDS
        slowest = self._slowest_seconds[trial.family] * trial.proposal.fidelity
        return max(_MIN_HANG_SECONDS, _HANG_TO_SLOWEST_RATIO * slowest)

    def _update_slowest(self, trial: Trial) -> None:
        if trial.status is Status.DONE:
            full_seconds = trial.seconds / trial.proposal.fidelity
            self._slowest_seconds[trial.family] = max(
                full_seconds, self._slowest_seconds.get(trial.family, 0.0)
            )

    def _record(self, job_result: JobResult) -> Trial | None:
        """Record how a trial ended; return None if the end of the study's time cut it off."""
        trial, status = self._running.pop(job_result.trial_id), job_result.status
        if status is Status.RUNNING:  # the evaluator gave up for want of time
            if trial.id in self._cut_short:
                return None
            status = Status.INFEASIBLE
        ended = replace(
            trial,
            status=status,
            metrics=job_result.metrics,
            seconds=job_result.seconds,
            error=job_result.error,
        )
        if status is Status.DONE:
            trial_folder(self._settings.folder, trial.id).sync()  # files first, then the record
        on_front = self._journal.record_end(ended, self.used_seconds)
        ended = self._journal.trials[ended.id]
        self._update_slowest(ended)
        self._empty_unneeded_folders()
        is_best, (_, trial_label) = self._tally.add(ended), self._submitted.pop(ended.id)
        self._notify(TrialEnded(ended, trial_label, on_front, is_best, self._seconds_left))
        if seconds := shortest_trial_seconds([ended]):
            self._shortest_seconds = min(self._shortest_seconds or seconds, seconds)
        self._target_reached = self._target_reached or self._budget.is_target_reached([ended])
        return ended

    def _empty_unneeded_folders(self) -> None:
        needed = self._journal.trials_to_keep()
        for trial_id in self._with_folders - needed:
            empty_trial_folder(trial_path(self._settings.folder, trial_id))
        self._with_folders &= needed


def shortest_trial_seconds(trials: Sequence[Trial]) -> float:
    """Return the seconds of the shortest finished trial of the search; 0 if there is none."""
    return min(
        (
            trial.seconds
            for trial in trials
            if trial.status is Status.DONE and trial.proposal.origin not in (BASELINE, *MADE)
        ),
        default=0.0,
    )
