"""A study: what it is made of, what is kept of it, and how it is opened again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from netwright.data.task import Task
from netwright.errors import (
    InputError,
    InvalidCandidate,
    Phrase,
    RunError,
    check_whole,
    closest,
    expected,
)
from netwright.files.folder import Folder
from netwright.files.run_layout import DATABASE, SUPERNET
from netwright.interfaces.checks import as_algorithm, is_strategy, name_of
from netwright.interfaces.evaluator import Evaluator, capabilities_of
from netwright.interfaces.knowledge import DefaultKnowledge, Knowledge
from netwright.interfaces.preparation import Shortlist
from netwright.interfaces.strategy import (
    Algorithm,
    MakeShortlist,
    MakeStrategy,
    Problem,
    Strategy,
    preparation,
)
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.study.budget import Budget
from netwright.study.checks import check_given
from netwright.study.journal import Journal, ReplayableStrategy, n_budgeted_trials
from netwright.study.loop import Loop, SearchSetup, quickest
from netwright.study.progress.callbacks import Verbose, open_callbacks
from netwright.study.progress.events import Callback
from netwright.study.run_record import RunRecord
from netwright.study.storage.deletion_watch import deleted
from netwright.study.storage.lock import FolderLock
from netwright.study.storage.rows import check_objective_values
from netwright.study.storage.run_folder import (
    fresh_folder,
    path_of_trial,
    temporary_folder,
    trial_folder,
)
from netwright.study.storage.run_manifest import RunManifest, new_run_hint
from netwright.study.storage.store import Store
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective
from netwright.trials.objective import limits as as_limits
from netwright.trials.objective import objectives as as_objectives
from netwright.trials.pareto import pareto_front
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import BASELINE, ENSEMBLE, MADE, Metrics, Proposal, Status, Trial

D = TypeVar("D")


class Study(Generic[D]):
    """Searches a space: asks the strategy, has candidates evaluated, keeps the log.

    What measures candidates is `evaluator`; or a `task`, on which they are trained and judged as
    the objectives ask. Objectives and limits are texts ("accuracy", "loss:min", "latency<=2") or
    objects; metrics that netwright does not know are those of an evaluator. `run`: the folder of
    the log, which is gone on with; None: a temporary one.
    `strategy`: an algorithm with its settings, such as ``RegularizedEvolution(population=50)``, or
    a new object with `ask` and `tell`; Bayesian optimisation when None.
    `knowledge`: what strategies may know of a candidate beforehand; the evaluator's own when None.
    `baselines` are evaluated first. A folder of another space, strategy, seed, other objectives,
    limits or data is refused (RunError). `time`: the most that one trial, and a supernet, may take.
    `record`: what is kept with the run. With a budget of trials, the same seed and number of workers
    give the same study.
    """

    def __init__(
        self,
        space: Space[D],
        evaluator: Evaluator | None = None,
        *,
        task: Task | None = None,
        strategy: Strategy | Algorithm | None = None,
        knowledge: Knowledge | None = None,
        objectives: str | Objective | Sequence[str | Objective],
        limits: str | Limit | Sequence[str | Limit] = (),
        baselines: Sequence[Candidate] = (),
        run: str | Path | None = None,
        seed: int = 0,
        executor: Executor | None = None,
        workers: int = 1,
        time: TimeBudget = TimeBudget(),
        record: RunRecord = RunRecord(),
    ) -> None:
        check_given(space, evaluator, task, baselines)
        check_whole("seed", seed, 0)
        self.space = space
        measured = () if evaluator is None else evaluator.metrics
        self.objectives = as_objectives(objectives, measured)
        self.limits = as_limits(limits, measured=measured)
        self.evaluator = _evaluator(self, evaluator, task)
        self.baselines = tuple(baselines)
        self.seed = seed
        self.describe = record.describe
        self.time = time
        self.interrupted = False
        self.folder = Path(run) if run is not None else temporary_folder(self)
        self._executor: Executor = executor or Supervised(workers)
        self._check_metrics([*self.objectives, *self.limits])
        self._capabilities = capabilities_of(self.evaluator)
        self._problem = Problem(
            space, self.objectives, self.limits,
            knowledge or self._capabilities.knowledge or DefaultKnowledge(),
            self._capabilities.fidelities, self._supernets(),
        )  # fmt: skip
        strategy = strategy or Bayesian()
        self._strategy: Strategy | None = strategy if is_strategy(strategy) else None
        self._algorithm: Algorithm | None = None if self._strategy else as_algorithm(strategy)
        self._listener = self._listen()
        of_task = {"data": task.fingerprint} if task else {}
        self._identity = RunManifest(
            space.fingerprint, seed, name_of(self._strategy or self._algorithm), self.objectives,
            self.limits, {**of_task, **self._capabilities.fingerprint, **record.fingerprint},
            dict(record.notes),
        )  # fmt: skip
        self._trials: list[Trial] = []
        self._front: list[Trial] = []
        self.seconds = 0.0
        self._load()

    @property
    def strategy(self) -> Strategy:
        """The strategy as it stands, told of the log."""
        return self._listener.strategy

    @property
    def trials(self) -> list[Trial]:
        """All trials of all runs, by id; those still RUNNING are run again by the next `run`."""
        return list(self._trials)

    @property
    def front(self) -> list[Trial]:
        """The Pareto front within the limits, best first objective first."""
        return list(self._front)

    @property
    def best(self) -> Trial | None:
        """The best in the first objective within the limits; None before there is one."""
        return self._front[0] if self._front else None

    def trial_folder(self, trial: int) -> Path:
        """Where the trial's evaluator left its files; kept for the front, the best and parents."""
        return path_of_trial(self.folder, trial)

    def trial_files(self, trial: int) -> Folder:
        """The same, for reading back: a run folder may come from a stranger."""
        return trial_folder(self.folder, trial)

    def is_budget_used(
        self,
        *,
        trials: int | None = None,
        seconds: float | None = None,
        until: str | Limit | Sequence[str | Limit] = (),
    ) -> bool:
        """Whether earlier runs have used up this budget, so that `run` would do nothing."""
        return self._used_up(self._budget(trials, seconds, until))

    def run(
        self,
        *,
        trials: int | None = None,
        seconds: float | None = None,
        until: str | Limit | Sequence[str | Limit] = (),
        verbose: Verbose = "auto",
        callbacks: Callback | Sequence[Callback] | None = (),
        started_at: float | None = None,
    ) -> Study[D]:
        """Goes on until the budget, counted over all runs of the folder, is used; returns itself.

        `seconds`: those of the study's `time` when None, if these are bounded.

        `since`: from when this run counts, in seconds of `time.monotonic()`; now when None. Ctrl-C
        kills what runs and returns as well, with `interrupted` set; what ran is run again next
        time. Raises RunError when the folder cannot be used, or when too many trials fail.

        `verbose`: whether each new best, the time left and what is being done now are printed on
        stderr; "auto": in terminals and notebooks. `callbacks`: functions that take an event (see
        `netwright.study.progress.events`); one that raises is switched off with a warning.
        """
        budget = self._budget(trials, seconds, until)
        self.interrupted = False
        with open_callbacks(callbacks, verbose) as notify:
            if not self._used_up(budget):
                self._run(budget, time.monotonic() if started_at is None else started_at, notify)
        return self

    def _run(self, budget: Budget, begun: float, notify: Callback) -> None:
        with FolderLock(self.folder), Store.open_writable(self.folder, self._identity) as store:
            before = store.seconds
            journal = self._open_journal(store)
            if self._used_up(budget):  # by another process, since this study was made
                return
            loop = Loop(self._setup(), self._executor, journal, budget, before - begun, notify)
            try:
                loop.run()
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._executor.close()
                loop.record_all()
                self._trials, self._front = journal.ordered(), journal.front
                self.seconds = loop.used
            store.record_seconds(self.seconds)

    def _setup(self) -> SearchSetup:
        return SearchSetup(
            self.folder, self.seed, self.evaluator, preparation(self.strategy), self.baselines,
            self.objectives, self.limits, self.time, self.describe,
        )  # fmt: skip

    def add_trial(
        self, proposal: Proposal, evaluate: Callable[[Path], Metrics],
        ensemble: EnsembleSpec | None = None,
    ) -> Trial:  # fmt: skip
        """Records what was made of finished trials, such as an `ensemble`, as a trial of its own.

        `make` fills the trial's folder and measures. The strategy does not hear of it, and budgets
        do not count it. Where `make` raises, nothing is recorded.
        """
        begun = time.monotonic()
        if (proposal.origin == ENSEMBLE) != (ensemble is not None):
            rule = f"given for the origin {ENSEMBLE}, and for no other"
            raise InputError(expected("ensemble", rule, proposal.origin))
        self.check_log_exists()
        with FolderLock(self.folder), Store.open_writable(self.folder, self._identity) as store:
            silent = ReplayableStrategy(
                self.strategy, self.space, lambda trial: False
            )  # no replay for it
            journal = Journal(store, silent, self.seed, self.objectives, self.limits)
            folder = fresh_folder(self.trial_folder(max(journal.trials, default=0) + 1))
            metrics = evaluate(folder)
            trial_folder(self.folder, int(folder.name)).sync()
            trial = journal.record_start(proposal, store.seconds, ensemble)
            seconds = time.monotonic() - begun
            ended = replace(trial, status=Status.DONE, metrics=metrics, seconds=seconds)
            journal.record_end(ended, store.seconds)
            self._trials, self._front = journal.ordered(), journal.front
        return self._trials[-1]

    def check_log_exists(self) -> None:
        """RunError where the log that this study has read or written is gone."""
        if self._trials and not Store.has_study(self.folder):
            raise deleted(self.folder / DATABASE)

    def close(self) -> None:
        """Ends the workers, if any; a study whose `run` has returned has none."""
        self._executor.close()

    def _budget(
        self, trials: int | None, seconds: float | None,
        until: str | Limit | Sequence[str | Limit],
    ) -> Budget:  # fmt: skip
        wanted = as_limits(until, "until", self.evaluator.metrics)
        self._check_metrics(wanted)
        if seconds is None and math.isfinite(self.time.search):
            seconds = self.time.search
        return Budget(trials, seconds, wanted)

    def _used_up(self, budget: Budget) -> bool:
        ended = all(trial.status is not Status.RUNNING for trial in self._trials)
        started = ended and budget.trials_left(n_budgeted_trials(self._trials)) == 0
        late = budget.too_late(self.seconds, quickest(self._trials))
        return started or late or budget.reached(self._trials)

    def _check_metrics(self, wanted: Sequence[Objective | Limit]) -> None:
        measured = self.evaluator.metrics
        for name in (one.metric for one in wanted):
            if name not in measured:
                rule = "one that the evaluator measures"
                fix = closest(name, measured) or f"It measures: {', '.join(measured)}."
                raise InputError(expected("metric", rule, name, fix))

    def _supernets(self) -> MakeShortlist | None:
        """Makes shortlists by methods of shared weights, where the evaluator can.

        What these cannot search is as in the first baseline: it was chosen to be good.
        """
        make = self._capabilities.supernet
        if make is None:
            return None
        folder = (self.folder / SUPERNET).absolute()

        def shortlist(method: Any, searcher: MakeStrategy) -> Shortlist:
            start = next(filter(self.space.contains, self.baselines), None)
            return make(method, folder, self.seed, searcher, self.objectives, self.limits, start)

        return shortlist

    def _listen(self) -> ReplayableStrategy:
        """A strategy that has heard nothing yet, if the study can make one."""
        strategy = self._strategy
        if self._algorithm:
            strategy = self._algorithm(self._problem)
        return ReplayableStrategy(cast("Strategy", strategy), self.space, self._is_of_space)

    def _is_of_space(self, trial: Trial) -> bool:
        """A baseline need not be a candidate of the space; the strategy hears of it if it is."""
        origin = trial.proposal.origin
        if origin in MADE:
            return False
        return origin != BASELINE or self.space.contains(trial.candidate)

    def _open_journal(self, store: Store) -> Journal:
        """Replays the log; an object that knows a part of it already is told the rest."""
        if self._algorithm and self._listener.n_events:
            self._listener = self._listen()
        journal = Journal(
            store, self._listener, self.seed, self.objectives, self.limits, self._capabilities.keeps
        )
        self._trials, self._front, self.seconds = journal.ordered(), journal.front, store.seconds
        return journal

    def _refuse_foreign(self, trials: Sequence[Trial]) -> None:
        """RunError where a log that was changed by others holds what this study cannot have."""
        check_objective_values(trials, self.objectives, self.folder)
        for trial in trials:
            if trial.proposal.origin in (BASELINE, *MADE):
                continue
            try:
                self.space.check(trial.candidate)
            except (InvalidCandidate, TypeError) as error:
                raise RunError(
                    f"trial {trial.id} of {self.folder} is not of its space: {error} {new_run_hint()}"
                ) from error

    def _load(self) -> None:
        """What earlier runs have found; refuses another study's folder before anything starts."""
        if not Store.has_study(self.folder):
            return
        with Store.open_read_only(self.folder) as store:
            self._identity.check_same_study(store.manifest, self.folder)
            self._trials, self.seconds = store.trials(), store.seconds
        self._refuse_foreign(self._trials)
        self._front = pareto_front(self._trials, self.objectives, self.limits)


def _evaluator(study: Study[Any], evaluator: Evaluator | None, task: Task | None) -> Evaluator:
    """The one given, or what the task and the objectives ask for."""
    if (evaluator is None) == (task is None):
        got = "neither" if task is None else "both"
        raise InputError(expected("a study", "given an evaluator or a task", Phrase(got)))
    if evaluator is not None:
        return evaluator
    from netwright.evaluators.default_evaluators import default_evaluator  # torch loads with it

    return default_evaluator(study.space, cast("Task", task), study.objectives, study.limits)
