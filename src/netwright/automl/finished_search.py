"""A search of a task, opened and finished: all that is asked of it when its models are delivered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Task
from netwright.evaluators.training.cross_validation import CrossValidate
from netwright.files.folder import Folder
from netwright.pipelines.pipeline import Pipeline, as_pipeline
from netwright.pipelines.weighted_ensemble import has_fitted_model
from netwright.space.space import Space
from netwright.study.storage.run_folder import trial_folder
from netwright.study.study import Study
from netwright.trials.ensemble import EnsembleSpec
from netwright.trials.metrics import METRICS, default_metric
from netwright.trials.objective import Limit, Objective
from netwright.trials.pareto import pareto_front
from netwright.trials.time_budget import TimeBudget
from netwright.trials.trial import Status, Trial


@dataclass(frozen=True)
class FinishedSearch:
    """A search that has ended; adding a trial gives a new one.

    Args:
        folder: the run folder.
        trials: all trials, those made of others included, by id.
        folds: what has fitted the candidates on folds; None where one split judges them.
        interrupted: whether the user has stopped the search.
        with_model: ids of the trials whose folders hold what they have fitted.
        time: how its time was shared out.
    """

    folder: Path
    task: Task
    space: Space[Any]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    trials: tuple[Trial, ...]
    folds: CrossValidate | None = None
    seed: int = 0
    interrupted: bool = False
    with_model: frozenset[int] = frozenset()
    time: TimeBudget = TimeBudget()

    @classmethod
    def of(cls, study: Study[Any], task: Task, folds: CrossValidate | None) -> FinishedSearch:
        """The study as it stands."""
        trials = tuple(study.trials)
        with_model = {one.id for one in trials if has_fitted_model(study.trial_files(one.id))}
        return cls(
            study.folder, task, study.space, tuple(study.objectives), tuple(study.limits), trials,
            folds, study.seed, study.interrupted, frozenset(with_model), study.time,
        )  # fmt: skip

    def with_trial(self, trial: Trial) -> FinishedSearch:
        """The same search with one trial more."""
        found = {trial.id} if has_fitted_model(self.trial_folder(trial.id)) else set()
        return replace(self, trials=(*self.trials, trial), with_model=self.with_model | found)

    @cached_property
    def by_id(self) -> dict[int, Trial]:
        """Trial id -> trial."""
        return {trial.id: trial for trial in self.trials}

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front within the limits, best first objective first."""
        return pareto_front(self.trials, self.objectives, self.limits)

    @property
    def has_finished_trial(self) -> bool:
        """Whether any trial has ended with metrics."""
        return any(trial.status is Status.DONE for trial in self.trials)

    @property
    def metric(self) -> str:
        """The metric by which models are chosen: the first objective, where it judges predictions."""
        name = self.objectives[0].metric
        judges = name in METRICS and METRICS[name].kinds
        return name if judges else default_metric(self.task.kind)

    @property
    def validation_rows(self) -> NDArray[np.int64]:
        """The rows of the task that judge trials: of all folds, or those held out."""
        return self.folds.rows if self.folds else self.task.validation

    @property
    def n_folds(self) -> int:
        """How many folds there are; 1 for a single split."""
        return len(self.folds.fold_tasks) if self.folds else 1

    def trial_folder(self, trial: int) -> Folder:
        """Where a trial has left its files."""
        return trial_folder(self.folder, trial)

    def pipeline(self, trial: int) -> Pipeline:
        """The description of what a trial has fitted."""
        return as_pipeline(self.space.fill(self.by_id[trial].candidate), self.task)

    def find_ensemble_trial(self, ensemble: EnsembleSpec) -> Trial | None:
        """The trial that the ensemble has become already; of a refit one that has its model still."""
        for trial in self.trials:
            gone = ensemble.refit and trial.id not in self.with_model
            if trial.ensemble == ensemble and trial.status is Status.DONE and not gone:
                return trial
        return None


@dataclass(frozen=True)
class OpenedSearch:
    """A study of a task; `folds`: what fits its candidates on folds, if anything does."""

    study: Study[Any]
    task: Task
    folds: CrossValidate | None = None

    def finished(self) -> FinishedSearch:
        """The search as it stands."""
        return FinishedSearch.of(self.study, self.task, self.folds)
