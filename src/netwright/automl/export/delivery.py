"""Delivery of a finished search: export its front, and write the best as the model of the run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from netwright.automl.ensembling.out_of_fold import out_of_fold_predictions
from netwright.automl.export.ensembles import ensembles_to_export
from netwright.automl.export.exporter import FrontExporter
from netwright.automl.export.plan import (
    ExportProgress,
    ExportStep,
    NoTimeLeft,
    RefitStep,
    next_step,
)
from netwright.automl.finished_search import FinishedSearch, OpenedSearch
from netwright.automl.saved_run import n_searched, read_delivery_record
from netwright.automl.score_warnings import score_interval, score_warnings
from netwright.automl.supernet_warnings import supernet_warnings
from netwright.data.task import Task
from netwright.deploy.export import Parity
from netwright.deploy.model import Model
from netwright.errors import RunError, wording
from netwright.evaluators.latency import time_calls
from netwright.files.folder import Folder
from netwright.files.run_layout import MODEL
from netwright.report.tables import Row, leaderboard
from netwright.study.progress.events import Callback, StageStarted, ignore_event
from netwright.study.study import Study
from netwright.trials.losses import predicted
from netwright.trials.metrics import score
from netwright.trials.trial import Metrics, Status, Trial

_N_TIMED_ROWS = 64
"""Rows that are predicted to estimate the time of a delivery; large images take tens of ms each."""
_N_EXPORT_ROWS = 1200
"""Rows that are predicted while a model is checked and measured, about."""


@dataclass(frozen=True)
class FitResult:
    """Outcome of `fit`; all of it is on disk in the run folder.

    Args:
        opened: the study and its task.
        search: the finished search, including the ensembles and refits of its trials.
        best: the delivered trial.
        front: a row for each exported model, measured at the end of this run.
        model: the delivered file, loaded.
        parity: how far the file's predictions differ from the trained model's.
        test: metrics of the file on the test data; empty without test data.
        already_finished: whether earlier runs had used up the budget.
        n_validation_rows: number of rows that the validation metrics are computed on.
        left_out: sentences about models of the front that were not exported.
        warnings: sentences about scores that are too good or useless, and about a supernet that
            was not trained to the end or not delivered.
    """

    opened: OpenedSearch
    search: FinishedSearch
    best: Trial
    front: list[Row]
    model: Model
    parity: Parity
    test: Metrics
    already_finished: bool
    n_validation_rows: int
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.search.folder

    @property
    def task(self) -> Task:
        """The task of the search."""
        return self.opened.task

    @property
    def study(self) -> Study[Any]:
        """The study that ran the search."""
        return self.opened.study

    def leaderboard(self) -> list[Row]:
        """Return all trials, best first, with the delivered one and the exported front marked."""
        search, front = self.search, {row.trial for row in self.front}
        return leaderboard(
            search.trials,
            search.objectives,
            search.limits,
            search.space.fill,
            delivered=self.best.id,
            front=front,
        )

    def confidence_interval(self) -> tuple[float, float] | None:
        """Return the 95 % bootstrap interval of the best trial's first objective.

        It is computed on demand, since that takes 200 scores of all rows. None if the objective is
        not a metric of predictions, or if the predictions have been deleted.
        """
        predictions = out_of_fold_predictions(self.search, self.best)
        if predictions is None:
            return None
        ensemble = self.best.ensemble
        threshold = 0.5 if ensemble is None else ensemble.threshold
        metric = self.search.objectives[0].metric
        return score_interval(
            self.task, self.search.validation_rows, predictions, metric, threshold
        )


def deliver(
    opened: OpenedSearch,
    *,
    already_finished: bool = False,
    deadline: float = math.inf,
    n_threads: int = 1,
    notify: Callback = ignore_event,
) -> FitResult:
    """Export and measure the front, and write its best as ``model.onnx`` in the run folder.

    A search over folds also gets ensembles of its trials, and refits on all rows of their tree
    models. The best is written before anything else, so that neither the deadline nor Ctrl-C costs
    more than further points of the front.

    Args:
        opened: a search whose study has run.
        already_finished: whether earlier runs had used up the budget.
        deadline: `time.monotonic()` by which the export has to end.
        n_threads: refits at a time.
        notify: called with an event at the start of each stage.

    Raises:
        RunError: There is nothing to deliver.
        KeyboardInterrupt: There is nothing to deliver, because the study was stopped.
    """
    search = opened.finished()
    progress = ExportProgress(resumed=_previously_delivered(search) if already_finished else None)
    exporter = FrontExporter(opened.study, search, progress, notify)
    _export_all(exporter, deadline, n_threads, notify)
    best = exporter.best()
    no_trial_in_time = math.isfinite(deadline) and not exporter.search.has_finished_trial
    if best is None and no_trial_in_time and not search.interrupted:
        exporter.export_constant()
        best = exporter.best()
    if best is None:
        if search.interrupted:
            raise KeyboardInterrupt
        raise RunError(_why_nothing(exporter.search, exporter.left_out))
    trial, parity = best
    front = [replace(row, delivered=row.trial == trial.id) for row in exporter.front()]
    model = exporter.write_model(trial, front, unexported=exporter.unexported)
    opened.study.check_log_exists()
    rows, predictions = search.validation_rows, out_of_fold_predictions(exporter.search, trial)
    if predictions is not None:  # only those of some folds, if the trial was fitted on no others
        rows = rows[predicted(predictions)]
    warnings = [
        *score_warnings(exporter.search, trial, rows),
        *supernet_warnings(opened.study, trial),
    ]
    return FitResult(
        opened,
        exporter.search,
        trial,
        front,
        model,
        parity,
        _test_metrics(model, opened.task),
        already_finished,
        len(rows),
        tuple(exporter.left_out),
        tuple(warnings),
    )


def export_best(
    opened: OpenedSearch, notify: Callback = ignore_event
) -> tuple[Trial, Model] | None:
    """Export the best trial as the model of the run, so that there is one if the run ends early.

    Args:
        opened: a search whose study has run.
        notify: called with an event at the start of each stage.

    Returns:
        The trial and its loaded file; None if none could be exported.
    """
    search = opened.finished()
    exporter = FrontExporter(opened.study, search, ExportProgress(stopped=True), notify)
    _export_all(exporter, math.inf, 1, notify)
    best = exporter.best()
    if best is None:
        return None
    return best[0], Model(Folder(search.folder).path / MODEL)


def delivery_prediction_seconds(model: Model, task: Task) -> float:
    """Measure how long a model takes for all predictions of its delivery, by some validation rows.

    These are of the test data, if there are any, and of its check and measurements.

    Args:
        model: of the task.
        task: with or without test data.
    """
    features = task.features.take(np.resize(task.validation, _N_TIMED_ROWS))
    timing = time_calls(lambda: model.predict_scores(features))
    n_rows = _N_EXPORT_ROWS + (0 if task.test is None else len(task.test))
    return timing.median * n_rows / _N_TIMED_ROWS


def _export_all(exporter: FrontExporter, deadline: float, n_threads: int, notify: Callback) -> None:
    """Carry out the export plan until it ends, or until the deadline."""
    if exporter.search.cross_validation:
        notify(StageStarted("averaging", "the best trials"))
    ensembles = ensembles_to_export(exporter.search, exporter.note)
    n_broken = 0
    while True:
        seconds_left = deadline - time.monotonic()
        step = next_step(exporter.search, ensembles, exporter.progress, seconds_left)
        if step is None:
            return
        if isinstance(step, NoTimeLeft):
            if not exporter.progress.stopped:
                exporter.leave_unexported("the time was up")
            return
        try:
            if isinstance(step, RefitStep):
                exporter.refit(step, deadline, n_threads)
            else:
                exporter.export(step.export_item, step.phase)
        except KeyboardInterrupt:
            if isinstance(step, ExportStep) and exporter.progress.chosen is None:
                raise
            exporter.stop()
        if exporter.progress.chosen is None and len(exporter.broken_trials) > n_broken:
            n_broken = len(exporter.broken_trials)  # select again, without the broken trials
            ensembles = ensembles_to_export(exporter.search, exporter.note, exporter.broken_trials)


def _previously_delivered(search: FinishedSearch) -> Trial | None:
    """Return the trial that was delivered before, if the search has not continued since."""
    record = read_delivery_record(search.folder)
    if record is None or record.searched != n_searched(search.trials):
        return None
    return search.by_id.get(record.trial)


def has_unexported(study: Study[Any]) -> bool:
    """Return whether a finished run still has models to export, for which there was no time."""
    record = read_delivery_record(study.folder)
    return record is None or record.unexported or record.searched != n_searched(study.trials)


def import_export_libraries() -> None:
    """Import the libraries that exporting and measuring need, but a search does not."""
    for name in ("sklearn.metrics", "onnx", "onnxruntime", "safetensors.torch"):
        import_module(name)


def _test_metrics(model: Model, task: Task) -> Metrics:
    """Score the delivered file on the test data; empty without test data."""
    if task.test is None:
        return {}
    predictions = model.predict_scores(task.test.features)
    return score(task.kind, task.test.target, predictions, model.card.get("threshold", 0.5))


def _why_nothing(search: FinishedSearch, left_out: list[str]) -> str:
    """Explain why there is no model, by what failed last."""
    if left_out:
        return left_out[0]
    has_done = any(trial.status is Status.DONE for trial in search.trials)
    limits = ", ".join(str(limit) for limit in search.limits)
    if has_done and search.limits:
        return f"no trial is within the limits {limits}. Loosen them, or give the search more time."
    errors = [trial.error.rstrip(".") for trial in search.trials if trial.error]
    if errors and any(str(limit) in errors[-1] for limit in search.limits):
        return (
            f"no candidate is within the limits {limits} (last error: {errors[-1]}). Loosen them."
        )
    if errors:
        return f"no trial finished (last error: {errors[-1]}). Give the search more time."
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return f"no trial finished in time. {longer}"
