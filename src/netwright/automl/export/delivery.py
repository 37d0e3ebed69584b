"""From a finished search to files: the front exported, checked, measured, and the best of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from netwright.automl.ensembling.out_of_fold import predictions_of
from netwright.automl.export.ensembles import ensembles_of
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
from netwright.automl.score_warnings import interval, score_warnings
from netwright.automl.supernet_warnings import supernet_doubts
from netwright.data.task import Task
from netwright.deploy.export import Parity
from netwright.deploy.model import Model
from netwright.errors import RunError, wording
from netwright.report.tables import Row, leaderboard
from netwright.study.progress.events import Callback, StageStarted, ignore_event
from netwright.study.study import Study
from netwright.trials.losses import predicted
from netwright.trials.metrics import score
from netwright.trials.trial import Metrics, Status, Trial


@dataclass(frozen=True)
class FitResult:
    """What a search came to; everything in it is on disk in the run folder.

    Args:
        search: the search with all that was made of its trials.
        front: one row for each delivered point, measured when the run ended.
        test: metrics of the file on the test part; empty without one.
        already: whether earlier runs of the same line had used up the budget.
        judged: how many rows the validation metrics are of.
        left_out: sentences on members of the front that could not be exported.
        doubts: sentences that speak against the scores, and on a supernet of which not all came.
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
        """What was searched for."""
        return self.opened.task

    @property
    def study(self) -> Study[Any]:
        """The study that has searched."""
        return self.opened.study

    def leaderboard(self) -> list[Row]:
        """All trials, best first, with the delivered one and the exported front marked."""
        search, front = self.search, {row.trial for row in self.front}
        return leaderboard(
            search.trials, search.objectives, search.limits, search.space.fill,
            delivered=self.best.id, front=front,
        )  # fmt: skip

    def confidence_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the best's first objective, where that judges predictions.

        Counted when it is asked for: 200 scores of all rows.
        """
        predictions = predictions_of(self.search, self.best)
        if predictions is None:
            return None
        ensemble = self.best.ensemble
        threshold = 0.5 if ensemble is None else ensemble.threshold
        name = self.search.objectives[0].metric
        return interval(self.task, self.search.validation_rows, predictions, name, threshold)


def deliver(
    opened: OpenedSearch, already_finished: bool = False, deadline: float = math.inf, n_threads: int = 1,
    notify: Callback = ignore_event,
) -> FitResult:  # fmt: skip
    """Exports and measures the front, and writes its best as `model.onnx` in the run folder.

    Of a search over folds also averages of trials are made and recorded. A member that cannot be
    exported exactly is left out, with its reason; so are those for which no time is left at `end`,
    but never the best, which is there before the others are begun: Ctrl-C ends these alone. Trees
    of what is delivered are fitted again on all rows, `threads` at a time, where there is time.
    Raises RunError when there is nothing to deliver, KeyboardInterrupt when that is because the
    study was stopped.
    """
    search = opened.finished()
    progress = ExportProgress(resumed=_delivered(search) if already_finished else None)
    exporter = FrontExporter(opened.study, search, progress, notify)
    _export_all(exporter, deadline, n_threads, notify)
    best = exporter.best()
    hopeless = math.isfinite(deadline) and not exporter.search.has_finished_trial
    if best is None and hopeless and not search.interrupted:
        exporter.constant()
        best = exporter.best()
    if best is None:
        if search.interrupted:
            raise KeyboardInterrupt
        raise RunError(_nothing(exporter.search, exporter.left_out))
    trial, agreed = best
    rows_of_front = [replace(row, delivered=row.trial == trial.id) for row in exporter.front()]
    model = exporter.as_final(trial, rows_of_front, exporter.unexported)
    opened.study.check_log_exists()
    rows, held_out = search.validation_rows, predictions_of(exporter.search, trial)
    if held_out is not None:  # those of some folds only, where it was fitted on no others
        rows = rows[predicted(held_out)]
    doubts = [*score_warnings(exporter.search, trial, rows), *supernet_doubts(opened.study, trial)]
    return FitResult(
        opened, exporter.search, trial, rows_of_front, model, agreed,
        score_part(model, opened.task),
        already_finished, len(rows), tuple(exporter.left_out), tuple(doubts),
    )  # fmt: skip


def _export_all(exporter: FrontExporter, end: float, threads: int, notify: Callback) -> None:
    """Until the plan has nothing more, or no time for it."""
    if exporter.search.folds:
        notify(StageStarted("averaging", "the best trials"))
    ensembles = ensembles_of(exporter.search, exporter.note)
    n_broken = 0
    while True:
        left = end - time.monotonic()
        step = next_step(exporter.search, ensembles, exporter.progress, left)
        if step is None:
            return
        if isinstance(step, NoTimeLeft):
            if not exporter.progress.stopped:
                exporter.leave_unexported("the time was up")
            return
        try:
            if isinstance(step, RefitStep):
                exporter.refit(step, end, threads)
            else:
                exporter.export(step.item, step.phase)
        except KeyboardInterrupt:
            if isinstance(step, ExportStep) and exporter.progress.chosen is None:
                raise
            exporter.stop()
        if exporter.progress.chosen is None and len(exporter.broken) > n_broken:
            n_broken = len(exporter.broken)  # chosen anew, without them
            ensembles = ensembles_of(exporter.search, exporter.note, exporter.broken)


def _delivered(search: FinishedSearch) -> Trial | None:
    """What the folder's `model.onnx` is of, where that is known and nothing was found since."""
    noted = read_delivery_record(search.folder)
    if noted is None or noted.searched != n_searched(search.trials):
        return None
    return search.by_id.get(noted.trial)


def has_unexported(study: Study[Any]) -> bool:
    """Whether a finished run still has to export what there was no time for."""
    noted = read_delivery_record(study.folder)
    return noted is None or noted.unexported or noted.searched != n_searched(study.trials)


def load_libraries() -> None:
    """What exporting and measuring need and a search does not."""
    for name in ("sklearn.metrics", "onnx", "onnxruntime", "safetensors.torch"):
        import_module(name)


def score_part(model: Model, task: Task) -> Metrics:
    """The delivered file on the task's test part; empty when there is none."""
    if task.test is None:
        return {}
    scores, threshold = model.predict_scores(task.test.features), model.card.get("threshold", 0.5)
    return score(task.kind, task.test.target, scores, threshold)


def _nothing(search: FinishedSearch, left_out: list[str]) -> str:
    """Why there is no model, from what the trials say."""
    if left_out:
        return left_out[0]
    done = [trial for trial in search.trials if trial.status is Status.DONE]
    if done and search.limits:
        limits = ", ".join(str(limit) for limit in search.limits)
        return f"no trial kept the limits {limits}. Loosen them, or give the search more time."
    reasons = [trial.error.rstrip(".") for trial in search.trials if trial.error]
    if reasons and "is broken" in reasons[-1]:
        limits = ", ".join(str(limit) for limit in search.limits)
        return (
            f"no candidate kept the limits {limits}; the last one says: {reasons[-1]}. Loosen them."
        )
    if reasons:
        return f"no trial finished; the last one says: {reasons[-1]}. Give the search more time."
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return f"no trial finished in time. {longer}"
