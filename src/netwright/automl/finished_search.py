"""A search of a task, while it is open and when it has finished."""

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
from netwright.interfaces.evaluator import capabilities_of
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
from netwright.trials.trial import FINAL, Status, Trial

ROUND = "round"
"""Key of a final training's note: how many rounds of final trainings were before."""


@dataclass(frozen=True)
class FinishedSearch:
    """Snapshot of a search that has ended.

    Args:
        folder: the run folder.
        task: the task that was searched.
        space: the search space.
        objectives: what was optimised; the first one decides which model is delivered.
        limits: bounds on metrics.
        trials: all trials by id, including ensembles and refits.
        cross_validation: the evaluator over folds; None if trials are scored on a single split.
        seed: seed of the search.
        interrupted: whether the user stopped the search.
        trial_ids_with_model: ids of the trials whose folders hold their fitted models.
        time_budget: how the time of the search was allocated.
        cost_metric: the cost of candidates by which smaller models were kept, see `Capabilities`.
    """

    folder: Path
    task: Task
    space: Space[Any]
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    trials: tuple[Trial, ...]
    cross_validation: CrossValidate | None = None
    seed: int = 0
    interrupted: bool = False
    trial_ids_with_model: frozenset[int] = frozenset()
    time_budget: TimeBudget = TimeBudget()
    cost_metric: str = ""

    @classmethod
    def from_study(
        cls, study: Study[Any], task: Task, cross_validation: CrossValidate | None
    ) -> FinishedSearch:
        """Take a snapshot of a study."""
        trials = tuple(study.trials)
        with_model = {trial.id for trial in trials if has_fitted_model(study.trial_files(trial.id))}
        return cls(
            study.folder,
            task,
            study.space,
            tuple(study.objectives),
            tuple(study.limits),
            trials,
            cross_validation,
            study.seed,
            study.interrupted,
            frozenset(with_model),
            study.time,
            capabilities_of(study.evaluator).cost_metric,
        )

    def with_trial(self, trial: Trial) -> FinishedSearch:
        """Return the search with one more trial."""
        with_model = self.trial_ids_with_model
        if has_fitted_model(self.trial_folder(trial.id)):
            with_model |= {trial.id}
        return replace(self, trials=(*self.trials, trial), trial_ids_with_model=with_model)

    @cached_property
    def by_id(self) -> dict[int, Trial]:
        """Trials keyed by their id."""
        return {trial.id: trial for trial in self.trials}

    @property
    def finals(self) -> list[Trial]:
        """The final trainings of all rounds."""
        return [
            trial
            for trial in self.trials
            if trial.proposal.origin == FINAL and trial.status is Status.DONE
        ]

    @property
    def last_finals(self) -> list[Trial]:
        """The final trainings of the last round, which were trained side by side."""
        rounds = [trial.proposal.note.get(ROUND) for trial in self.finals]
        return [t for t, round_ in zip(self.finals, rounds, strict=True) if round_ == rounds[-1]]

    @cached_property
    def front(self) -> list[Trial]:
        """The Pareto front within the limits, sorted by the first objective, best first."""
        return pareto_front(self.trials, self.objectives, self.limits)

    @property
    def has_finished_trial(self) -> bool:
        """Whether any trial has finished with metrics."""
        return any(trial.status is Status.DONE for trial in self.trials)

    @property
    def metric(self) -> str:
        """The metric that selects ensembles: the first objective, if it is one of predictions."""
        name = self.objectives[0].metric
        is_of_predictions = name in METRICS and METRICS[name].kinds
        return name if is_of_predictions else default_metric(self.task.kind)

    @property
    def validation_rows(self) -> NDArray[np.int64]:
        """Indices of the rows that trials are scored on: held out of any fold, or of the split."""
        return self.cross_validation.rows if self.cross_validation else self.task.validation

    @property
    def n_folds(self) -> int:
        """Number of folds; 1 for a single split."""
        return len(self.cross_validation.fold_tasks) if self.cross_validation else 1

    def trial_folder(self, trial_id: int) -> Folder:
        """Return the folder of the trial with this id."""
        return trial_folder(self.folder, trial_id)

    def pipeline(self, trial_id: int) -> Pipeline:
        """Return the description that the trial with this id has fitted."""
        return as_pipeline(self.space.fill(self.by_id[trial_id].candidate), self.task)

    def find_ensemble_trial(self, ensemble: EnsembleSpec) -> Trial | None:
        """Return the trial that the ensemble was recorded as, if any.

        A refit counts only while its fitted model exists.
        """
        for trial in self.trials:
            model_is_gone = ensemble.refit and trial.id not in self.trial_ids_with_model
            if trial.ensemble == ensemble and trial.status is Status.DONE and not model_is_gone:
                return trial
        return None


@dataclass(frozen=True)
class OpenedSearch:
    """The study of a task, before or after it has run.

    Args:
        study: the study.
        task: its task.
        cross_validation: the evaluator over folds, if candidates are evaluated on folds.
    """

    study: Study[Any]
    task: Task
    cross_validation: CrossValidate | None = None

    def finished(self) -> FinishedSearch:
        """Take a snapshot of the search."""
        return FinishedSearch.from_study(self.study, self.task, self.cross_validation)
