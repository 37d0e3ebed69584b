"""The study: a search with its settings, its log and its run folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np

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
    prior_weights,
    searches,
)
from netwright.space.candidate import Candidate
from netwright.space.space import Space
from netwright.strategies.bayesian.search import Bayesian
from netwright.strategies.no_search import NoSearchStrategy
from netwright.strategies.warm_start import WarmStart
from netwright.study.budget import Budget
from netwright.study.checks import check_study_arguments
from netwright.study.earlier_trials import WarmStartSource, earlier_trials
from netwright.study.journal import Journal, ReplayableStrategy, n_budgeted_trials, replay
from netwright.study.loop import SearchLoop, SearchSettings, shortest_trial_seconds
from netwright.study.progress.callbacks import Verbose, open_callbacks
from netwright.study.progress.events import Callback
from netwright.study.run_record import RunRecord
from netwright.study.storage.deletion_watch import deleted_error
from netwright.study.storage.lock import FolderLock
from netwright.study.storage.rows import check_objective_values
from netwright.study.storage.run_folder import (
    fresh_folder,
    temporary_folder,
    trial_folder,
    trial_path,
)
from netwright.study.storage.run_manifest import RunManifest, new_run_hint
from netwright.study.storage.store import Store
from netwright.study.workers.executors import Executor, Supervised
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.objective import Limit, Objective, searched_metrics
from netwright.trials.objective import limits as as_limits
from netwright.trials.objective import objectives as as_objectives
from netwright.trials.pareto import pareto_front
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import BASELINE, ENSEMBLE, MADE, Metrics, Proposal, Status, Trial

D = TypeVar("D")


class Study(Generic[D]):
    """A resumable search of a space: asks a strategy, evaluates its candidates, keeps the log.

    With a budget of trials, the same seed and number of workers give the same study.

    Args:
        space: the search space.
        evaluator: measures candidates; give it or a `task`.
        task: trains candidates on this task and scores them on its validation rows; the objectives
            and limits decide what is measured.
        strategy: an algorithm with its settings, such as ``RegularizedEvolution(population=50)``,
            or a new object with `ask` and `tell`; None for `Bayesian`.
        warm_start: an earlier search of the same space, perhaps on other data: a study, its run folder,
            a CSV file or DataFrame, or an Optuna study or storage. At most three of its best
            candidates are tried first, and the default strategy takes the order of its trials for one
            more source of prior belief; see `WarmStart`.
        knowledge: what strategies may know of a candidate before it is evaluated; None for the
            evaluator's own.
        objectives: one or several metrics to optimise: ``"accuracy"``, ``"loss:min"`` or
            `Objective`; a metric that netwright does not know must be the evaluator's.
        limits: bounds on metrics: ``"latency<=2"`` or `Limit`.
        baselines: candidates that are evaluated first; they need not be in the space.
        run: the run folder, which is resumed if it has a log; None for a temporary folder.
        seed: of the strategy and of the trials' own seeds.
        executor: where trials run; None for `Supervised` with `workers`.
        workers: worker processes, if no executor is given; 0 is one.
        time: the maximum wall time of a trial and of a supernet; unlimited by default.
        record: metadata kept with the run.

    Raises:
        InputError: an argument is wrong, or an objective is not measured.
        RunError: the folder belongs to another study (another space, strategy, seed, objectives,
            limits or data), or is damaged.

    Example:
        >>> study = Study(space, task=task, objectives=["accuracy", "latency"], run="runs/a")
        >>> study.run(trials=100)
        >>> study.best.candidate, study.best.metrics
    """

    def __init__(
        self,
        space: Space[D],
        evaluator: Evaluator | None = None,
        *,
        task: Task | None = None,
        strategy: Strategy | Algorithm | None = None,
        warm_start: WarmStartSource | None = None,
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
        check_study_arguments(space, evaluator, task, baselines)
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
            space,
            self.objectives,
            self.limits,
            knowledge or self._capabilities.knowledge or DefaultKnowledge(),
            self._capabilities.fidelities,
            self._make_shortlist(),
        )
        strategy = strategy or Bayesian()
        if warm_start is not None:
            strategy = self._warm_started(strategy, warm_start)
        self._given_strategy: Strategy | None = strategy if is_strategy(strategy) else None
        self._algorithm: Algorithm | None = None if self._given_strategy else as_algorithm(strategy)
        self._replayable = self._untold_strategy()
        task_fingerprint = {"data": task.fingerprint} if task else {}
        self._manifest = RunManifest(
            space.fingerprint,
            seed,
            name_of(self._given_strategy or self._algorithm),
            self.objectives,
            self.limits,
            {**task_fingerprint, **self._capabilities.fingerprint, **record.fingerprint},
            dict(record.notes),
        )
        self._trials: list[Trial] = []
        self._front: list[Trial] = []
        self.seconds = 0.0
        self._load()

    @property
    def strategy(self) -> Strategy:
        """The strategy, with all that it has been told."""
        return self._replayable.strategy

    @property
    def trials(self) -> list[Trial]:
        """All trials of all runs, by id; those still RUNNING are run again by the next `run`."""
        return list(self._trials)

    @property
    def front(self) -> list[Trial]:
        """The Pareto front within the limits, sorted by the first objective, best first."""
        return list(self._front)

    @property
    def best(self) -> Trial | None:
        """The trial within the limits that is best in the first objective, or None."""
        return self._front[0] if self._front else None

    def explain_prior(self) -> dict[str, dict[str, float]]:
        """Return how far the strategy trusts what was believed before any trial, by the trials so far.

        Returns:
            Objective -> source of belief, such as "parameters", or "none" -> its weight; the weights
            of an objective sum to 1. Empty before the first model, and for strategies that use no
            prior belief.

        Raises:
            RunError: the folder cannot be read.
        """
        replayable = self._replayable
        if self._algorithm and not replayable.n_events and Store.has_study(self.folder):
            replayable = self._untold_strategy()
            with Store.open_read_only(self.folder) as store:
                events = store.events()
            for event in events:
                replay(replayable, event, self.folder)
        weights = prior_weights(replayable.strategy)
        return {objective: dict(by_source) for objective, by_source in weights.items()}

    def trial_folder(self, trial_id: int) -> Path:
        """Return the path of a trial's folder, with the files that its evaluator left.

        Files are kept for the Pareto front (with one objective also for that of the objective and
        the evaluator's cost), the best trial, members of ensembles and parents.

        Args:
            trial_id: the trial's id.
        """
        return trial_path(self.folder, trial_id)

    def trial_files(self, trial_id: int) -> Folder:
        """Open a trial's folder for reading; safe for run folders that may not be trusted.

        Args:
            trial_id: the trial's id.

        Returns:
            The folder, below which no link is followed; it need not exist.
        """
        return trial_folder(self.folder, trial_id)

    def is_budget_used(
        self,
        *,
        trials: int | None = None,
        seconds: float | None = None,
        until: str | Limit | Sequence[str | Limit] = (),
    ) -> bool:
        """Return whether `run` would do nothing: the budget is used up, or nothing is left to do.

        Args:
            trials: see `run`.
            seconds: see `run`.
            until: see `run`.
        """
        return self._is_used(self._budget(trials, seconds, until))

    @property
    def is_exhausted(self) -> bool:
        """Whether all is evaluated that there is, so that no budget would be large enough.

        Known only without a search (`NoSearch`), as the proposals of others may take long.
        """
        if self._algorithm is None or searches(self._algorithm):
            return False
        all_ended = all(trial.status is not Status.RUNNING for trial in self._trials)
        n_baselines = sum(trial.proposal.origin == BASELINE for trial in self._trials)
        return (
            all_ended
            and n_baselines >= len(self.baselines)
            and not self._replayable.ask(1, np.random.default_rng(self.seed))
        )

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
        """Search until the budget is used, counted over all runs of the folder.

        Ctrl-C kills the trials that run, sets `interrupted` and returns; they are run again by the
        next call.

        Args:
            trials: number of trials; ensembles and constant predictions do not count.
            seconds: wall time; None for that of the study's `time`, if it is finite.
            until: limits; the first finished trial of full fidelity within them ends the search.
            verbose: print each new best, the time left and the running trials on stderr; "auto": in
                terminals and notebooks only.
            callbacks: functions of one event (see `netwright.study.progress.events`); one that
                raises is switched off with a warning.
            started_at: when the run began, in seconds of `time.monotonic()`; None for now.

        Returns:
            The study itself.

        Raises:
            InputError: no budget is given.
            RunError: the folder cannot be used, or too many trials failed.
        """
        budget = self._budget(trials, seconds, until)
        self.interrupted = False
        with open_callbacks(callbacks, verbose) as notify:
            if not self._is_used(budget):
                self._run(budget, time.monotonic() if started_at is None else started_at, notify)
        return self

    def _run(self, budget: Budget, started_at: float, notify: Callback) -> None:
        with FolderLock(self.folder), Store.open_writable(self.folder, self._manifest) as store:
            seconds_before = store.seconds
            journal = self._open_journal(store)
            if self._is_used(budget):  # by another process, since this study was made
                return
            loop = SearchLoop(
                self._search_settings(),
                self._executor,
                journal,
                budget,
                seconds_before - started_at,
                notify,
            )
            try:
                loop.run()
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                self._executor.close()
                loop.record_all()
                self._trials, self._front = journal.trials_by_id(), journal.front
                self.seconds = loop.used_seconds
            store.record_seconds(self.seconds)

    def _search_settings(self) -> SearchSettings:
        return SearchSettings(
            self.folder,
            self.seed,
            self.evaluator,
            preparation(self.strategy),
            self.baselines,
            self.objectives,
            self.limits,
            self.time,
            self.describe,
            not self.evaluates_baselines_only,
        )

    def add_trial(
        self,
        proposal: Proposal,
        evaluate: Callable[[Path], Metrics],
        ensemble: EnsembleSpec | None = None,
        *,
        seconds: float | None = None,
    ) -> Trial:
        """Record a trial that was made of finished trials, such as an ensemble.

        The strategy is not told, and budgets do not count it. If `evaluate` raises, nothing is
        recorded.

        Args:
            proposal: with its origin, and the members as parents.
            evaluate: fills the trial's folder, whose path it is given, and returns the metrics.
            ensemble: how the parents are combined; given exactly if the origin is ``"ensemble"``.
            seconds: wall time of the trial, if most of it was before this call; None to measure
                `evaluate`.

        Returns:
            The recorded trial.

        Raises:
            InputError: an `ensemble` without that origin, or the reverse.
            RunError: the log was deleted, or is in use.
        """
        started_at = time.monotonic()
        if (proposal.origin == ENSEMBLE) != (ensemble is not None):
            rule = f"given for the origin {ENSEMBLE}, and for no other"
            raise InputError(expected("ensemble", rule, proposal.origin))
        self.check_log_exists()
        with FolderLock(self.folder), Store.open_writable(self.folder, self._manifest) as store:
            untold = ReplayableStrategy(self.strategy, self.space, lambda trial: False)
            journal = Journal(store, untold, self.seed, self.objectives, self.limits)
            folder = fresh_folder(self.trial_folder(max(journal.trials, default=0) + 1))
            metrics = evaluate(folder)
            trial_folder(self.folder, int(folder.name)).sync()
            trial = journal.record_start(proposal, store.seconds, ensemble)
            if seconds is None:
                seconds = time.monotonic() - started_at
            ended = replace(trial, status=Status.DONE, metrics=metrics, seconds=seconds)
            journal.record_end(ended, store.seconds)
            self._trials, self._front = journal.trials_by_id(), journal.front
        return self._trials[-1]

    def check_log_exists(self) -> None:
        """Check that the log has not been deleted since this study read or wrote it.

        Raises:
            RunError: it was deleted.
        """
        if self._trials and not Store.has_study(self.folder):
            raise deleted_error(self.folder / DATABASE)

    @property
    def evaluates_baselines_only(self) -> bool:
        """Whether the strategy proposes nothing at all, so that the baselines are the only trials."""
        return isinstance(self.strategy, NoSearchStrategy)

    @property
    def executor(self) -> Executor:
        """The executor of this study's trials."""
        return self._executor

    def close(self) -> None:
        """End the workers, if any; `run` ends its own."""
        self._executor.close()

    def _budget(
        self, trials: int | None, seconds: float | None, until: str | Limit | Sequence[str | Limit]
    ) -> Budget:
        targets = as_limits(until, "until", self.evaluator.metrics)
        self._check_metrics(targets)
        if seconds is None and math.isfinite(self.time.search):
            seconds = self.time.search
        return Budget(trials, seconds, targets)

    def _is_used(self, budget: Budget) -> bool:
        all_ended = all(trial.status is not Status.RUNNING for trial in self._trials)
        no_trials_left = all_ended and budget.trials_left(n_budgeted_trials(self._trials)) == 0
        too_late = budget.is_too_late(self.seconds, shortest_trial_seconds(self._trials))
        is_used = no_trials_left or too_late or budget.is_target_reached(self._trials)
        return is_used or self.is_exhausted

    def _warm_started(self, strategy: object, source: WarmStartSource) -> WarmStart:
        if is_strategy(strategy):
            fix = "Give its settings, such as Bayesian()."
            got = Phrase("a strategy that is made already")
            raise InputError(expected("strategy with warm_start", "an algorithm", got, fix))
        trials = earlier_trials(source, self.space, self.objectives)
        return WarmStart(as_algorithm(strategy), trials)

    def _check_metrics(self, goals: Sequence[Objective | Limit]) -> None:
        measured = self.evaluator.metrics
        for name in (goal.metric for goal in goals):
            if name not in measured:
                rule = "one that the evaluator measures"
                fix = closest(name, measured) or f"It measures: {', '.join(measured)}."
                raise InputError(expected("metric", rule, name, fix))

    def _make_shortlist(self) -> MakeShortlist | None:
        """Return the maker of one-shot shortlists, or None if the evaluator trains no supernets.

        Decisions that a supernet cannot search are as in the first baseline of the space.
        """
        make_supernet = self._capabilities.make_supernet_search
        if make_supernet is None:
            return None
        folder = (self.folder / SUPERNET).absolute()

        def shortlist(method: object, make_strategy: MakeStrategy) -> Shortlist:
            start = next(filter(self.space.contains, self.baselines), None)
            return make_supernet(
                method, folder, self.seed, make_strategy, self.objectives, self.limits, start
            )

        return shortlist

    def _untold_strategy(self) -> ReplayableStrategy:
        """Return a strategy that has been told nothing, or the one given."""
        strategy = self._given_strategy
        if self._algorithm:
            strategy = self._algorithm(self._problem)
        searched = searched_metrics(self.objectives, self.limits)
        return ReplayableStrategy(cast("Strategy", strategy), self.space, self._is_told, searched)

    def _is_told(self, trial: Trial) -> bool:
        """Return whether the strategy is told; baselines need not be candidates of the space."""
        origin = trial.proposal.origin
        if origin in MADE:
            return False
        return origin != BASELINE or self.space.contains(trial.candidate)

    def _open_journal(self, store: Store) -> Journal:
        """Replay the log: for an algorithm a new strategy, else what the object was not yet told."""
        if self._algorithm and self._replayable.n_events:
            self._replayable = self._untold_strategy()
        journal = Journal(
            store,
            self._replayable,
            self.seed,
            self.objectives,
            self.limits,
            self._capabilities.keeps,
            self._capabilities.cost_metric,
        )
        self._trials, self._front = journal.trials_by_id(), journal.front
        self.seconds = store.seconds
        return journal

    def _check_log(self, trials: Sequence[Trial]) -> None:
        """Raise RunError for trials that this study cannot have written."""
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
        """Read the trials of earlier runs, and refuse another study's folder before work starts."""
        if not Store.has_study(self.folder):
            return
        with Store.open_read_only(self.folder) as store:
            self._manifest.check_same_study(store.manifest, self.folder)
            self._trials, self.seconds = store.trials(), store.seconds
            events = store.events() if self._algorithm and not searches(self._algorithm) else []
        self._check_log(self._trials)
        for event in events:  # `is_exhausted` asks before `run` replays the log
            replay(self._replayable, event, self.folder)
        self._front = pareto_front(self._trials, self.objectives, self.limits)


def _evaluator(study: Study[Any], evaluator: Evaluator | None, task: Task | None) -> Evaluator:
    """Return the given evaluator, or the default one for the task."""
    if (evaluator is None) == (task is None):
        got = "neither" if task is None else "both"
        raise InputError(expected("a study", "given an evaluator or a task", Phrase(got)))
    if evaluator is not None:
        return evaluator
    from netwright.evaluators.default_evaluators import default_evaluator  # imports torch

    return default_evaluator(study.space, cast("Task", task), study.objectives, study.limits)
