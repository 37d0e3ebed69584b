"""Cross-validation as an evaluator: the fidelity is the share of folds, none is fitted twice."""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.splits import k_fold_splits
from netwright.data.task import Task
from netwright.errors import (
    BrokenFile,
    InputError,
    InvalidCandidate,
    OutOfTime,
    check_whole,
    expected,
)
from netwright.evaluators.training.train_and_validate import (
    import_metrics,
    training_deadline,
    warm_up,
)
from netwright.evaluators.training.weight_inheritance import read_candidate, sibling_folder
from netwright.files.folder import Folder
from netwright.files.run_layout import ABOUT, CANDIDATE, HELD_OUT
from netwright.interfaces.evaluator import Capabilities
from netwright.pipelines.pipeline import Pipeline, as_pipeline, fit, load
from netwright.pipelines.weighted_ensemble import (
    fold_folder,
    fold_path,
    read_fit_seconds,
    write_fit_seconds,
)
from netwright.space.space import Space
from netwright.trials.held_out import read_predictions
from netwright.trials.losses import predicted
from netwright.trials.metrics import default_metric, score, scored
from netwright.trials.time_budget import PhaseShares
from netwright.trials.trial import Job, Metrics

_N_KEPT_TRIALS = 40
"""So many best trials keep their folds: for promotions, and for ensembles."""


@dataclass(frozen=True)
class CrossValidate:
    """Evaluator that fits a candidate's pipeline on several folds and scores the held-out rows.

    The fidelity is the share of the folds: a candidate that is bad on the first is not fitted on
    the others, and a promoted one takes over the folds of its earlier trial. Folds are the same for
    all candidates; preprocessing that uses no target is fitted once, on the rows of all folds.
    Under a deadline, the first fold gets its share of the time, and further folds are fitted while
    there is time for one more. Leaves ``fold-0``, ``fold-1``... (each a saved pipeline with its
    predictions) and ``held-out.npy`` in the job's folder.

    Args:
        space: of the candidates.
        task: its training and validation rows are split into folds.
        folds: number of folds; with 1, the task's own split, and the fidelity is that of the fit.
        monitor: the metric by which a fit keeps its best epoch or iteration; empty for the task's
            default metric.
        fold_seconds: maximum seconds of the fit of one fold.
        phase_shares: how a fit divides its time.

    Raises:
        InputError: `folds` or `fold_seconds` is out of range.

    Example:
        >>> evaluator = CrossValidate(space, task, folds=5)
        >>> study = Study(space, evaluator, objectives="auc", strategy=SuccessiveHalving())
    """

    space: Space[Any]
    task: Task
    folds: int = 5
    monitor: str = ""
    fold_seconds: float = math.inf
    phase_shares: PhaseShares = PhaseShares()

    def __post_init__(self) -> None:
        check_whole("folds", self.folds, 1)
        if not self.fold_seconds > 0:
            raise InputError(expected("fold_seconds", "above 0", self.fold_seconds))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's scores, ``train_seconds``, and ``folds``, how many were fitted."""
        return (*scored(self.task.kind), "train_seconds", "folds")

    @property
    def capabilities(self) -> Capabilities:
        """One fidelity a fold, if there are several; the best trials keep their folds."""
        n_folds = len(self.fold_tasks)
        return Capabilities(
            fidelities=tuple((i + 1) / n_folds for i in range(n_folds)) if n_folds > 1 else (),
            leaves_files=True,
            keeps=_N_KEPT_TRIALS,
            fingerprint={"folds": str(self.folds)},
            warm_up=warm_up,
        )

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are scored: training and validation rows; with 1 fold the validation rows."""
        if self.folds == 1:
            return self.task.validation
        return np.sort(np.concatenate([self.task.train, self.task.validation]))

    @cached_property
    def fold_tasks(self) -> tuple[Task, ...]:
        """The task with each fold's split; fewer than `folds` if a class has fewer rows."""
        task = replace(self.task, test=None)
        if self.folds == 1:
            return (task,)
        rows = self.rows
        groups = None if task.groups is None else task.groups[rows]
        splits = k_fold_splits(task.target[rows], self.folds, seed=0, groups=groups)
        return tuple(
            replace(task, train=rows[train], validation=rows[validation])
            for train, validation in splits
        )

    def held_out_mask(self, n_folds: int) -> NDArray[np.bool_]:
        """Return which rows are held out of one of the first folds.

        Args:
            n_folds: the number of folds, from 0 to all.

        Returns:
            (rows,) bool, for `rows`.
        """
        mask = np.zeros(len(self.rows), np.bool_)
        for task in self.fold_tasks[:n_folds]:
            mask[np.searchsorted(self.rows, task.validation)] = True
        return mask

    @cached_property
    def _all_rows_task(self) -> Task | None:
        """The rows of all folds, for preprocessing without targets; None with 1 fold."""
        if self.folds == 1:
            return None
        return replace(self.task, test=None, train=self.rows, validation=self.rows[:0])

    def __call__(self, job: Job) -> Metrics:
        import_metrics()
        started_at = time.monotonic()
        candidate = job.proposal.candidate
        pipeline = as_pipeline(self.space.fill(candidate), self.task)
        (job.folder / CANDIDATE).write_text(candidate.json())
        n_folds = max(1, round(job.proposal.fidelity * len(self.fold_tasks)))
        predictions: list[NDArray[np.floating]] = []
        slowest_seconds, n_fitted = 0.0, 0
        for i in range(n_folds):
            if i and time.monotonic() + slowest_seconds > job.deadline:
                break  # the folds so far make a model, too
            fold_predictions = self._take_over_fold(job, pipeline, i)
            if fold_predictions is None:
                n_fitted += 1
                fold_predictions = self._fit_fold(pipeline, job, i, n_folds)
            predictions.append(fold_predictions)
            fold = fold_folder(Folder(job.folder), i)
            slowest_seconds = max(slowest_seconds, read_fit_seconds(fold))
        if len(predictions) < n_folds and not n_fitted:
            raise OutOfTime("no time was left for another fold")
        held_out = self._assemble(predictions)
        np.save(job.folder / HELD_OUT, held_out)
        has_prediction = predicted(held_out)
        rows = self.rows[has_prediction]
        metrics = score(
            self.task.kind,
            self.task.target[rows],
            held_out[has_prediction],
            weights=self.task.weights_of(rows),
        )
        seconds = time.monotonic() - started_at
        return metrics | {"train_seconds": seconds, "folds": float(len(predictions))}

    def _fit_fold(self, pipeline: Pipeline, job: Job, i: int, n_folds: int) -> NDArray[np.floating]:
        """Fit and save a pipeline on fold `i`; return its predictions for the held-out rows."""
        started_at = time.monotonic()
        # the first fold leaves time for the others; later ones start only if they fit
        deadline = training_deadline(job.deadline, self.phase_shares.judging, 1 if i else n_folds)
        fitted = fit(
            pipeline,
            self.fold_tasks[i],
            seed=(job.seed + i) % 2**31,
            unsupervised_task=self._all_rows_task,
            deadline=self._with_fold_limit(deadline, started_at),
            fidelity=job.proposal.fidelity if len(self.fold_tasks) == 1 else 1.0,
            metric_name=self.monitor or default_metric(self.task.kind),
        )
        folder = fold_path(job.folder, i)
        folder.mkdir()
        fitted.save(folder)
        inputs = fitted.preprocessor.input_spec(fitted.target.n_outputs)
        (job.folder / ABOUT).write_text(inputs.json())
        predictions = fitted.validation_predictions(self.fold_tasks[i])
        np.save(folder / HELD_OUT, predictions)
        write_fit_seconds(folder, time.monotonic() - started_at)
        return predictions

    def _with_fold_limit(self, deadline: float, started_at: float) -> float:
        """Return the deadline of a fold; without a deadline of the trial there is none."""
        return deadline if math.isinf(deadline) else min(deadline, started_at + self.fold_seconds)

    def _take_over_fold(self, job: Job, pipeline: Pipeline, i: int) -> NDArray[np.floating] | None:
        """Copy fold `i` from a parent with the same candidate; return its predictions.

        None if no parent has it, or its files are damaged: then it has to be fitted.
        """
        for parent in job.proposal.parents:
            parent_folder = sibling_folder(job, parent)
            fold = fold_folder(parent_folder, i)
            if not fold.has(HELD_OUT):
                continue
            with contextlib.suppress(BrokenFile, InvalidCandidate):
                if read_candidate(parent_folder) != job.proposal.candidate:
                    continue
                load(pipeline, fold)
                predictions = self._read_predictions(fold, i)
                self._copy_fold(parent_folder, job, i)
                return predictions
        return None

    def _read_predictions(self, fold: Folder, i: int) -> NDArray[np.floating]:
        has_prediction = np.ones(len(self.fold_tasks[i].validation), np.bool_)
        return read_predictions(fold, HELD_OUT, has_prediction, len(self.task.classes))

    @staticmethod
    def _copy_fold(parent_folder: Folder, job: Job, i: int) -> None:
        """Copy a fold and the description of the model's inputs from a parent's folder."""
        folder = Folder(job.folder)
        if parent_folder.has_file(ABOUT):
            parent_folder.copy(ABOUT, folder, ABOUT)
        fold = fold_folder(parent_folder, i)
        fold_folder(folder, i).make()
        for name in filter(fold.has_file, fold.names()):
            fold.copy(name, fold_folder(folder, i), name)

    def _assemble(self, predictions: list[NDArray[np.floating]]) -> NDArray[np.floating]:
        """Return the folds' predictions in the order of `rows`, NaN for rows without: (rows, ...)."""
        shape = (len(self.rows), *predictions[0].shape[1:])
        held_out = np.full(shape, np.nan, predictions[0].dtype)
        for task, fold_predictions in zip(self.fold_tasks, predictions, strict=False):
            held_out[np.searchsorted(self.rows, task.validation)] = fold_predictions
        return held_out
