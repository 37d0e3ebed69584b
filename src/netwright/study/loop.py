"""The one loop that joins strategy, evaluator, executor and store."""

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
from netwright.study.budget import Budget, Failures
from netwright.study.journal import Journal
from netwright.study.preparation_job import NUMBER as PREPARATION
from netwright.study.preparation_job import Preparing
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
    empty,
    fresh_folder,
    path_of_trial,
    trial_folder,
    used_folders,
)
from netwright.study.workers.executors import Executor
from netwright.study.workers.supervisor import JobResult
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import BASELINE, MADE, Job, Proposal, Status, Trial

_GRACE, _GRACE_SHARE = 2.0, 0.05
"""At the end of its time a study waits for so many seconds at most, and for this part of the time,
until trials which have looked at the clock themselves have ended."""
_HANGS_LEAST, _HANGS_TIMES, _HANGS_UNKNOWN = 600.0, 20.0, 3600.0
"""A trial hangs where it takes more than so many seconds and so many times the slowest finished
trial of its family; or so many seconds, while none has finished."""
_TICK = 0.25
"""Seconds between two looks at the clock while trials run."""


@dataclass(frozen=True)
class SearchSetup:
    """What a study tells its loop of itself.

    Args:
        folder: the run folder, which holds the folders of the trials.
        preparation: what the strategy needs done before it proposes; None for nothing.
        baselines: candidates that are evaluated before the strategy is asked.
        time: the longest that a trial, and a preparation, may take.
        describe: a few words on a trial, for those who watch.
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


class Loop:
    """One run of a study: fills free places, waits, records."""

    def __init__(
        self, setup: SearchSetup, executor: Executor, journal: Journal, budget: Budget,
        zero: float, notify: Callback,
    ) -> None:  # fmt: skip
        self._setup, self._executor, self._journal = setup, executor, journal
        self._budget, self._zero = budget, zero
        self._notify = notify
        self._tally = Tally(journal.ordered(), setup.objectives, setup.limits, budget)
        self._preparing = Preparing(setup.preparation, setup.folder, setup.seed)
        self._searching = False
        self._again = list(journal.unfinished)
        self._running: dict[int, Trial] = {}
        self._submitted: dict[int, tuple[float, str]] = {}
        """When, on the clock of `time.monotonic()`, and a few words on the candidate."""
        self._back: dict[int, JobResult] = {}
        self._queue: list[tuple[Trial, bool]] = []
        self._in_order = budget.seconds is None
        self._failures = Failures()
        self._quickest = quickest(journal.ordered())
        self._slowest: dict[str, float] = {}
        """Seconds at full fidelity of the slowest finished trial of each family."""
        for trial in journal.ordered():
            self._time(trial)
        self._reached = False
        self._cut: set[int] = set()
        """Trials that have to end because the study's time ends, not because theirs does."""
        self._full = used_folders(setup.folder)

    @property
    def used(self) -> float:
        """Seconds of all runs of this folder."""
        return self._zero + time.monotonic()

    def run(self) -> None:
        """Until the budget is used, or nothing runs and the strategy has nothing to propose."""
        most = self._budget.trials_left(self._journal.n_budgeted_trials) + len(self._again)
        evaluator = self._preparing.evaluator(self._setup.evaluator)
        self._announce()
        self._executor.open(evaluator, None if math.isinf(most) else int(most))
        self._tidy()  # a run that was killed may have left what its last trial made needless
        while not self._reached and not self._out_of_time():
            may_start = self._may_start()
            idle = may_start and self._fill()
            while self._queue and self._executor.free_slots:
                self._submit(*self._queue.pop(0))
            if not self._running and not self._preparing.running and (idle or not may_start):
                break
            for outcome in self._executor.poll(_TICK):
                if outcome.trial_id == PREPARATION:
                    self._notify(PreparationEnded(self._preparing.end(outcome)))
                    self._notify(StageStarted("searching"))
                else:
                    self._back[outcome.trial_id] = outcome
            self._record()
            self._notify(self._tick())

    def _announce(self) -> None:
        """Say what begins, before the workers that it needs are started."""
        budget, tally = self._budget, self._tally
        objectives = tuple(self._setup.objectives)
        self._notify(
            SearchStarted(objectives, budget.seconds, budget.trials, tally.n_ended, tally.best)
        )
        self._notify(StageStarted("starting", plural(self._executor.capacity, "worker")))

    def _tick(self) -> Tick:
        waiting = {trial.id for trial, _ in self._queue} | self._back.keys()
        now = time.monotonic()
        running = []
        for number in sorted(self._running.keys() - waiting):
            begun, what = self._submitted[number]
            running.append(RunningTrial(self._running[number], what, now - begun))
        progress = self._preparing.progress()
        return Tick(self.used, tuple(running), progress, self._tally.n_ended, self._seconds_left)

    @property
    def _seconds_left(self) -> float | None:
        return self._tally.seconds_left(
            self.used, self._journal.n_budgeted_trials, len(self._running)
        )

    def _out_of_time(self) -> bool:
        """Whether what still runs is cut off: it stays unfinished, and more time runs it again."""
        grace = min(_GRACE, _GRACE_SHARE * (self._budget.seconds or 0.0))
        return self._budget.seconds_left(self.used) < -grace

    def _may_start(self) -> bool:
        left = self._budget.trials_left(self._journal.n_budgeted_trials) > 0 or bool(self._again)
        return left and not self._budget.too_late(self.used, self._quickest)

    def _fill(self) -> bool:
        """Proposes as many trials as there are places; whether places stay free."""
        while (free := self._free) > 0:
            trials = self._next(free) if self._may_start() else []
            self._queue += trials
            self._running |= {trial.id: trial for trial, _ in trials}
            if trials:
                continue
            if not (self._may_start() and self._preparing.due):
                return True
            if not self._executor.free_slots:
                return False
            self._notify(StageStarted("preparing", "the strategy"))
            limit = self._setup.time.supernet_within(self._budget.seconds_left(self.used))
            self._preparing.start(self._executor, limit)
        return False

    @property
    def _free(self) -> int:
        """Places for a trial; in order, a trial keeps its own until it is recorded."""
        if self._in_order:
            return self._executor.capacity - len(self._running)
        return self._executor.free_slots - len(self._queue)

    def _record(self) -> None:
        """Ends the trials that have come back.

        Where trials are counted it is in the order of their numbers, and the next is proposed
        before another is heard of: who was quicker by chance must not decide what is searched.
        """
        for number in sorted(self._back):
            if self._in_order and number != min(self._running):
                break
            self._end(self._back.pop(number))
            if self._reached:
                break
            if self._in_order:
                self._fill()

    def record_all(self) -> None:
        """What has come back and waits for its turn is kept, however the run ends."""
        for number in sorted(self._back):
            self._keep(self._back.pop(number))

    def _next(self, free: int) -> list[tuple[Trial, bool]]:
        """What an earlier run left unfinished, then the baselines, then proposals."""
        journal = self._journal
        if self._again:
            return [(self._again.pop(0), True)]
        # in order one by one: what is proposed then depends on the log alone, wherever it was cut
        free = min(free, 1) if self._in_order else free
        room = int(min(free, self._budget.trials_left(journal.n_budgeted_trials)))
        baselines = self._setup.baselines[journal.baselines :][:room]
        journal.baselines += len(baselines)
        proposals = [Proposal(one, origin=BASELINE) for one in baselines]
        proposals = proposals or (journal.ask(room) if room else [])
        return [(journal.record_start(proposal, self.used), False) for proposal in proposals]

    def _submit(self, trial: Trial, again: bool) -> None:
        limit, left = self._setup.time.trial, self._budget.seconds_left(self.used)
        if left < limit:
            self._cut.add(trial.id)
        # where trials are counted no decision may look at a clock: the kill limit is outside
        timed = self._budget.seconds is not None
        deadline = time.monotonic() + min(left, limit) if timed else math.inf
        folder = fresh_folder(path_of_trial(self._setup.folder, trial.id).absolute())
        job = Job(trial.proposal, trial.seed, folder, deadline)
        self._executor.submit(trial.id, job, limit, math.inf if timed else self._hangs_after(trial))
        self._full.add(trial.id)
        if not self._searching:
            self._searching = True
            self._notify(StageStarted("searching"))
        what = self._setup.describe(trial)
        self._submitted[trial.id] = time.monotonic(), what
        self._notify(TrialStarted(trial, what, again))

    def _hangs_after(self, trial: Trial) -> float:
        """Seconds after which a trial that no clock ends is taken for a hang."""
        if trial.family not in self._slowest:
            return _HANGS_UNKNOWN
        slowest = self._slowest[trial.family] * trial.proposal.fidelity
        return max(_HANGS_LEAST, _HANGS_TIMES * slowest)

    def _time(self, trial: Trial) -> None:
        """Note how long a trial took that has finished."""
        if trial.status is Status.DONE:
            full = trial.seconds / trial.proposal.fidelity
            self._slowest[trial.family] = max(full, self._slowest.get(trial.family, 0.0))

    def _end(self, outcome: JobResult) -> None:
        trial = self._keep(outcome)
        if trial is not None:
            self._failures.count(trial)

    def _keep(self, outcome: JobResult) -> Trial | None:
        """Records how a trial has ended; None where the end of the study's time has cut it off."""
        trial, status = self._running.pop(outcome.trial_id), outcome.status
        if status is Status.RUNNING:  # it saw that its time would not do
            if trial.id in self._cut:
                return None
            status = Status.INFEASIBLE
        ended = replace(
            trial, status=status, metrics=outcome.metrics, seconds=outcome.seconds,
            error=outcome.error,
        )  # fmt: skip
        if status is Status.DONE:
            trial_folder(self._setup.folder, trial.id).sync()  # before there is a record of it
        on_front = self._journal.record_end(ended, self.used)
        ended = self._journal.trials[ended.id]
        self._time(ended)
        self._tidy()
        is_best, (_, what) = self._tally.add(ended), self._submitted.pop(ended.id)
        self._notify(TrialEnded(ended, what, on_front, is_best, self._seconds_left))
        if took := quickest([ended]):
            self._quickest = min(self._quickest or took, took)
        self._reached = self._reached or self._budget.reached([ended])
        return ended

    def _tidy(self) -> None:
        """Empties the folders that nothing needs any more."""
        needed = self._journal.needed()
        for number in self._full - needed:
            empty(path_of_trial(self._setup.folder, number))
        self._full &= needed


def quickest(trials: Sequence[Trial]) -> float:
    """Seconds of the shortest finished trial of the search; 0 before there is one."""
    return min(
        (
            trial.seconds
            for trial in trials
            if trial.status is Status.DONE and trial.proposal.origin not in (BASELINE, *MADE)
        ),
        default=0.0,
    )
