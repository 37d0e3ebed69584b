"""Cross-validation as an evaluator: a fold for each share of the fidelity, none fitted twice."""

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
from netwright.evaluators.training.train_and_validate import before, load_scores, warm_up
from netwright.evaluators.training.weight_inheritance import beside, candidate_in
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

_KEEPS = 40
"""Best trials whose folds stay: for promotions, and for ensembles."""


@dataclass(frozen=True)
class CrossValidate:
    """Fits the candidate's pipeline on `folds` folds; each row is judged by the fold without it.

    The fidelity is the share of the folds: a candidate that looks bad on the first need not be
    fitted on the others, and a promotion takes over the folds that its parents have fitted.
    With 1 fold it is the task's own split, and the fidelity that of the fit. Folds are the same for
    all candidates; steps of the preparation that know no target are fitted once, on the rows of all
    folds.

    A fold may take `fold_seconds`. Under a deadline the first fold takes its share of the time, and
    further ones are fitted for as long as there is time for one more: `folds` among the metrics
    says how many there are. Leaves in the job's folder `fold-0`, `fold-1`... (as
    `FittedPipeline.save` does), and `held-out.npy`.
    """

    space: Space[Any]
    task: Task
    folds: int = 5
    monitor: str = ""
    fold_seconds: float = math.inf
    phases: PhaseShares = PhaseShares()

    def __post_init__(self) -> None:
        check_whole("folds", self.folds, 1)
        if not self.fold_seconds > 0:
            raise InputError(expected("fold_seconds", "above 0", self.fold_seconds))

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*scored(self.task.kind), "train_seconds", "folds")

    @property
    def capabilities(self) -> Capabilities:
        """A fidelity for each fold, where there are several; the best trials keep what they fitted."""
        many = len(self.fold_tasks)
        return Capabilities(
            fidelities=tuple((i + 1) / many for i in range(many)) if many > 1 else (),
            leaves_files=True,
            keeps=_KEEPS,
            fingerprint={"folds": str(self.folds)},
            warm_up=warm_up,
        )

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are judged: all but the test part; with 1 fold those held out."""
        if self.folds == 1:
            return self.task.validation
        return np.sort(np.concatenate([self.task.train, self.task.validation]))

    @cached_property
    def fold_tasks(self) -> tuple[Task, ...]:
        """The task as each fold sees it; fewer where a class has fewer rows."""
        task = replace(self.task, test=None)
        if self.folds == 1:
            return (task,)
        rows = self.rows
        groups = None if task.groups is None else task.groups[rows]
        found = k_fold_splits(task.target[rows], self.folds, seed=0, groups=groups)
        return tuple(
            replace(task, train=rows[learn], validation=rows[judge]) for learn, judge in found
        )

    def held_out_mask(self, n_folds: int) -> NDArray[np.bool_]:
        """Of `rows`, those that are held out of one of the first `folds` folds."""
        known = np.zeros(len(self.rows), np.bool_)
        for task in self.fold_tasks[:n_folds]:
            known[np.searchsorted(self.rows, task.validation)] = True
        return known

    @cached_property
    def _whole(self) -> Task | None:
        """The rows of all folds, for steps that know no target."""
        if self.folds == 1:
            return None
        return replace(self.task, test=None, train=self.rows, validation=self.rows[:0])

    def __call__(self, job: Job) -> Metrics:
        load_scores()
        begun = time.monotonic()
        candidate = job.proposal.candidate
        pipeline = as_pipeline(self.space.fill(candidate), self.task)
        (job.folder / CANDIDATE).write_text(candidate.json())
        wanted = max(1, round(job.proposal.fidelity * len(self.fold_tasks)))
        predictions: list[NDArray[np.floating]] = []
        slowest, fitted = 0.0, 0
        for i in range(wanted):
            if i and time.monotonic() + slowest > job.deadline:
                break  # what there is is a model, too
            known = self._known(job, pipeline, i)
            fitted += known is None
            predictions.append(self._fit(pipeline, job, i, wanted) if known is None else known)
            slowest = max(slowest, read_fit_seconds(fold_folder(Folder(job.folder), i)))
        if len(predictions) < wanted and not fitted:
            raise OutOfTime("no time was left for another fold")
        held_out = self._assembled(predictions)
        np.save(job.folder / HELD_OUT, held_out)
        seen = predicted(held_out)
        rows = self.rows[seen]
        found = score(
            self.task.kind, self.task.target[rows], held_out[seen],
            weights=self.task.weights_of(rows),
        )  # fmt: skip
        seconds = time.monotonic() - begun
        return found | {"train_seconds": seconds, "folds": float(len(predictions))}

    def _fit(self, pipeline: Pipeline, job: Job, i: int, wanted: int) -> NDArray[np.floating]:
        """Predictions of the fold's held-out rows, by a pipeline that is kept in the folder."""
        start = time.monotonic()
        # the first fold leaves time for the others; later ones have been seen to fit
        deadline = before(job.deadline, self.phases.judging, 1 if i else wanted)
        fitted = fit(
            pipeline, self.fold_tasks[i], seed=(job.seed + i) % 2**31, unsupervised_task=self._whole,
            deadline=self._limited(deadline, start),
            fidelity=job.proposal.fidelity if len(self.fold_tasks) == 1 else 1.0,
            metric_name=self.monitor or default_metric(self.task.kind),
        )  # fmt: skip
        folder = fold_path(job.folder, i)
        folder.mkdir()
        fitted.save(folder)
        inputs = fitted.preprocessor.input_spec(fitted.target.n_outputs)
        (job.folder / ABOUT).write_text(inputs.json())
        predictions = fitted.predict(self.task.features.take(self.fold_tasks[i].validation))
        np.save(folder / HELD_OUT, predictions)
        write_fit_seconds(folder, time.monotonic() - start)
        return predictions

    def _limited(self, deadline: float, start: float) -> float:
        """No clock is looked at where trials are counted."""
        return deadline if math.isinf(deadline) else min(deadline, start + self.fold_seconds)

    def _known(self, job: Job, pipeline: Pipeline, i: int) -> NDArray[np.floating] | None:
        """The fold as a parent of the same candidate has fitted it, copied into the folder.

        None where no parent has, or what it left is damaged: then the fold is fitted anew.
        """
        for number in job.proposal.parents:
            parent = beside(job, number)
            fold = fold_folder(parent, i)
            if not fold.has(HELD_OUT):
                continue
            with contextlib.suppress(BrokenFile, InvalidCandidate):
                if candidate_in(parent) != job.proposal.candidate:
                    continue
                load(pipeline, fold)
                predictions = self._predictions(fold, i)
                self._take_over(parent, job, i)
                return predictions
        return None

    def _predictions(self, fold: Folder, i: int) -> NDArray[np.floating]:
        every = np.ones(len(self.fold_tasks[i].validation), np.bool_)
        return read_predictions(fold, HELD_OUT, every, len(self.task.classes))

    @staticmethod
    def _take_over(parent: Folder, job: Job, i: int) -> None:
        """Copies the fold, and what is known of the inputs."""
        mine = Folder(job.folder)
        if parent.has_file(ABOUT):
            parent.copy(ABOUT, mine, ABOUT)
        fold = fold_folder(parent, i)
        fold_folder(mine, i).make()
        for name in filter(fold.has_file, fold.names()):
            fold.copy(name, fold_folder(mine, i), name)

    def _assembled(self, predictions: list[NDArray[np.floating]]) -> NDArray[np.floating]:
        """(rows, ...) from the folds' own, in the order of `rows`."""
        shape = (len(self.rows), *predictions[0].shape[1:])
        held_out = np.full(shape, np.nan, predictions[0].dtype)
        for task, one in zip(self.fold_tasks, predictions, strict=False):
            held_out[np.searchsorted(self.rows, task.validation)] = one
        return held_out
