"""From a finished search to files: the front exported, checked, measured, and the best of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.automl.ensembling.average_trials import (
    cross_validation,
    held_out_of,
    judging_rows,
    threshold_of,
)
from netwright.automl.export.exporter import Points, as_final
from netwright.automl.export.plan import (
    Offer,
    Wanted,
    behind_front,
    faster,
    first,
    front,
    wanted_of,
)
from netwright.automl.saved_run import delivered, searched
from netwright.automl.score_warnings import interval, no_better
from netwright.automl.supernet_warnings import supernet_doubts
from netwright.data.task import Table, Task
from netwright.deploy.model import Model
from netwright.deploy.onnx import Parity
from netwright.errors import RunError, wording
from netwright.report.tables import Row, leaderboard
from netwright.study.progress.events import Callback, StageStarted, ignore
from netwright.study.study import Study
from netwright.trials.losses import predicted
from netwright.trials.metrics import score
from netwright.trials.trial import CONSTANT, Metrics, Status, Trial

_TO_WRITE, _A_BYTE, _A_COLUMN = 1.0, 2.5e-7, 1e-3
"""Seconds to write, check and measure a file; for each byte of what an average has fitted; and for
each column of the table (measured: 2 s for 2,000 columns and one model)."""
_LESS = 0.25
"""The part of that for one model in place of one for each fold."""


@dataclass(frozen=True)
class Outcome:
    """What a search came to; everything in it is on disk in the run folder.

    `front` has one row for each delivered point, measured when the run ended; `test` is
    empty without a test part. `judged`: the rows that validation metrics are of. `already`: earlier
    runs of the same line had used up the budget.
    """

    run: Path
    task: Task
    study: Study[Any]
    best: Trial
    front: list[Row]
    model: Model
    parity: Parity
    test: Metrics
    already: bool
    judged: int
    left_out: tuple[str, ...] = ()
    """Sentences on members of the front that could not be exported."""
    doubts: tuple[str, ...] = ()
    """Sentences that speak against the scores, and on a supernet of which not all came."""

    def leaderboard(self) -> list[Row]:
        """All trials, best first, with the delivered one and the exported front marked."""
        study, front = self.study, {row.trial for row in self.front}
        return leaderboard(
            study.trials, study.objectives, study.limits, study.space.fill,
            delivered=self.best.id, front=front,
        )  # fmt: skip

    def sure(self) -> tuple[float, float] | None:
        """The 95 % interval of the best's first objective, where that judges predictions.

        Counted when it is asked for: 200 scores of all rows.
        """
        held_out = held_out_of(self.study, self.task, self.best)
        if held_out is None:
            return None
        rows = judging_rows(self.study, self.task)
        name = self.study.objectives[0].metric
        return interval(self.task, rows, held_out, name, threshold_of(self.best))


def deliver(
    study: Study[Any], task: Task, already: bool = False, end: float = math.inf, threads: int = 1,
    notify: Callback = ignore,
) -> Outcome:  # fmt: skip
    """Exports and measures the front, and writes its best as `model.onnx` in the run folder.

    Of a search over folds also averages of trials are made and recorded. A member that cannot be
    exported exactly is left out, with its reason; so are those for which no time is left at `end`,
    but never the best, which is there before the others are begun: Ctrl-C ends these alone. Trees
    of what is delivered are fitted again on all rows, `threads` at a time, where there is time.
    Raises RunError when there is nothing to deliver, KeyboardInterrupt when that is because the
    study was stopped.
    """
    before = _delivered(study) if already else None
    points = Points(study, task, before is not None, end, threads, notify)
    if cross_validation(study):
        notify(StageStarted("averaging", "the best trials"))
    wanted = wanted_of(study, task, points.left_out)
    if wanted is None:
        points.rest_of(points.first_of(front(study)))
        if not points.rows:
            points.first_of(behind_front(study))
    else:
        _averages(points, study, task, wanted, before)
    best = points.best()
    if best is None and math.isfinite(end) and not study.interrupted and not _finished(study):
        points.constant()
        best = points.best()
    if best is None:
        if study.interrupted:
            raise KeyboardInterrupt
        raise RunError(_nothing(study, points.left_out))
    trial, agreed = best
    rows_of_front = [replace(row, delivered=row.trial == trial.id) for row in points.front()]
    model = as_final(study, trial, rows_of_front, points.unexported)
    study.check_kept()
    test = score_part(model, task)
    rows, held_out = judging_rows(study, task), held_out_of(study, task, trial)
    if held_out is not None:  # those of some folds only, where it was fitted on no others
        rows = rows[predicted(held_out)]
    doubts = [
        *_doubts(study, task, trial, rows),
        *supernet_doubts(study, trial),
    ]
    return Outcome(
        study.folder, task, study, trial, rows_of_front, model, agreed, test, already, len(rows),
        tuple(points.left_out), tuple(doubts),
    )  # fmt: skip


def _finished(study: Study[Any]) -> bool:
    return any(trial.status is Status.DONE for trial in study.trials)


def _doubts(study: Study[Any], task: Task, trial: Trial, rows: NDArray[np.int64]) -> list[str]:
    """What speaks against the delivered trial, judged by these rows."""
    if trial.proposal.origin != CONSTANT:
        return no_better(study.objectives[0].metric, trial.metrics, task, rows)
    reasons = [trial.error for trial in study.trials if trial.error]
    last = f" (the last one says: {reasons[-1]})" if reasons else ""
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return [
        f"No trial finished in time{last}: the model is a constant prediction, the same for every "
        f"row. {longer}"
    ]


def _averages(
    points: Points, study: Study[Any], task: Task, wanted: Wanted, before: Trial | None
) -> None:
    """Of a search over folds the best, then what is faster, then the rest, while there is time.

    `before`: nothing was searched for since this was delivered, and so it is again.
    """
    seconds = _TO_WRITE + export_seconds(task) + _A_BYTE * wanted.bytes
    if before is None:
        points.fit_again(wanted.averages[0].shares, seconds)
    offers = chain([before] if before else [], _first(points, study, task, wanted))
    if not points.has_time(seconds):
        offers = chain(_in_time(points, task, wanted), offers)
    others = points.first_of(offers)
    points.fit_again(wanted.singles, _TO_WRITE + export_seconds(task))
    points.rest_of(faster(study, task, wanted), _LESS)
    points.rest_of(others)


def export_seconds(task: Task) -> float:
    """What writing, checking and measuring one model takes beyond the usual: each column is an input
    of the file, with nodes of its own."""
    return _A_COLUMN * len(task.features.columns) if isinstance(task.features, Table) else 0.0


def _in_time(points: Points, task: Task, wanted: Wanted) -> list[Trial]:
    """Single models, which are written sooner: the best of those for which there is time first,
    then the smallest."""

    def order(item: tuple[Trial, int]) -> int:
        fits = points.has_time(_TO_WRITE + export_seconds(task) + _A_BYTE * item[1])
        return 0 if fits else item[1]

    singles = zip(wanted.best, wanted.single_bytes, strict=True)
    return [trial for trial, _ in sorted(singles, key=order)]


def _first(points: Points, study: Study[Any], task: Task, wanted: Wanted | None) -> Iterator[Offer]:
    """As `first`; chosen anew, without them, where files of trials turn out to be broken."""
    while wanted is not None:
        known = len(points.broken)
        for offer in first(study, wanted):
            yield offer
            if len(points.broken) > known:
                wanted = wanted_of(study, task, points.left_out, points.broken)
                break
        else:
            return


def _delivered(study: Study[Any]) -> Trial | None:
    """What the folder's `model.onnx` is of, where that is known and nothing was found since."""
    found = delivered(study.folder)
    if found is None or found.searched != searched(study.trials):
        return None
    return next((one for one in study.trials if one.id == found.trial), None)


def has_unexported(study: Study[Any]) -> bool:
    """Whether a finished run still has to export what there was no time for."""
    found = delivered(study.folder)
    return found is None or found.unexported or found.searched != searched(study.trials)


def load_libraries() -> None:
    """What exporting and measuring need and a search does not."""
    for name in ("sklearn.metrics", "onnx", "onnxruntime", "safetensors.torch"):
        import_module(name)


def score_part(model: Model, task: Task) -> Metrics:
    """The delivered file on the task's test part; empty when there is none."""
    if task.test is None:
        return {}
    scores, threshold = model.scores(task.test.features), model.card.get("threshold", 0.5)
    return score(task.kind, task.test.target, scores, threshold)


def _nothing(study: Study[Any], left_out: list[str]) -> str:
    """Why there is no model, from what the trials say."""
    if left_out:
        return left_out[0]
    done = [trial for trial in study.trials if trial.status is Status.DONE]
    if done and study.limits:
        limits = ", ".join(str(limit) for limit in study.limits)
        return f"no trial kept the limits {limits}. Loosen them, or give the search more time."
    reasons = [trial.error for trial in study.trials if trial.error]
    if reasons and "is broken" in reasons[-1]:
        limits = ", ".join(str(limit) for limit in study.limits)
        return (
            f"no candidate kept the limits {limits}; the last one says: {reasons[-1]}. Loosen them."
        )
    if reasons:
        return f"no trial finished; the last one says: {reasons[-1]}. Give the search more time."
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return f"no trial finished in time. {longer}"
