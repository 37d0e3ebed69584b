"""What speaks against a score: nothing learnt, a column that gives the answer away, copied rows.

Each check gives sentences, none when there is nothing to say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Table, Task
from netwright.trials.losses import auc, loss_of, predicted
from netwright.trials.metrics import METRICS, score
from netwright.trials.trial import Metrics

_GIVES_AWAY = 0.995
"""A column that tells classes apart, or orders numbers, so well is suspicious."""
_FEW_ROWS = 50
_MOST_ROWS, _LEAST_ROWS, _MOST_CELLS = 20_000, 200, 5_000_000
_COPIED = 0.01
_RESAMPLES = 200
_SURE = 0.025, 0.975


def trivial(task: Task, rows: NDArray[np.int64]) -> Metrics:
    """The metrics, on these rows, of one answer for all: the classes' shares, or the mean."""
    truth = task.target[rows]
    known = task.target[task.train]
    if task.kind == "regression":
        return score(task.kind, truth, np.full(len(truth), known.mean()))
    shares = np.bincount(known, minlength=len(task.classes)) / len(known)
    return score(task.kind, truth, np.tile(shares, (len(truth), 1)))


def no_better(name: str, found: Metrics, task: Task, rows: NDArray[np.int64]) -> list[str]:
    """Whether the score is not better than that of one answer for all."""
    plain = trivial(task, rows)
    if name not in plain or name not in found:
        return []
    sign = 1 if METRICS[name].direction == "max" else -1
    if sign * (found[name] - plain[name]) > 0:
        return []
    answer = "the mean" if task.kind == "regression" else "the classes' shares"
    return [
        f"The model is no better than {answer} for every row ({name} {plain[name]:.4g}): the "
        "columns may say nothing of the target."
    ]


def interval(
    task: Task,
    rows: NDArray[np.int64],
    held_out: NDArray[np.floating],
    name: str,
    threshold: float = 0.5,
) -> tuple[float, float] | None:
    """The middle 95 % of the metric over rows drawn again and again (Efron's percentiles).

    Of rows that have a prediction; None where the metric is not one of predictions, and where
    nothing varies.
    """
    if name not in METRICS or not METRICS[name].kinds:
        return None
    seen = np.flatnonzero(predicted(held_out))
    if len(seen) < _FEW_ROWS:
        return None
    rng = np.random.default_rng(0)
    seen = seen if len(seen) <= _MOST_ROWS else rng.choice(seen, _MOST_ROWS, replace=False)
    loss, target = loss_of(task.kind, name, threshold), task.target[rows]
    drawn = [rng.choice(seen, len(seen)) for _ in range(_RESAMPLES)]
    losses = np.array([loss(held_out[one], target[one]) for one in drawn])
    if METRICS[name].direction == "max":
        losses = 1 - losses
    low, high = np.quantile(losses, _SURE)
    return (float(low), float(high)) if low < high else None  # no error at all says nothing of it


def leaks(task: Task) -> list[str]:
    """Columns that alone say the target, and held-out rows that stand among those learnt from."""
    if isinstance(task.features, Images) or len(task.target) < _FEW_ROWS:
        return []
    return [*_columns(task, task.features), *_copies(task, task.features)]


def _columns(task: Task, table: Table) -> list[str]:
    rows = np.arange(len(task.target))
    most = min(_MOST_ROWS, max(_LEAST_ROWS, _MOST_CELLS // len(table.columns)))
    if len(rows) > most:
        rows = np.random.default_rng(0).choice(rows, most, replace=False)
    found = []
    for column in table.columns:
        if column.kind not in ("numeric", "date"):
            continue
        values = table.arrays[column.name][rows].astype(np.float64)
        told = _told(values, task.target[rows], len(task.classes))
        if told > _GIVES_AWAY:
            found.append(
                f"Column {column.name!r} alone tells the target nearly always: drop it if it is "
                "not known when predicting."
            )
    return found


def _told(values: NDArray[np.float64], target: NDArray[np.floating], classes: int) -> float:
    """How well the order of the values tells the target: the area of the worst of the classes, or
    the size of Spearman's rank correlation."""
    known = np.isfinite(values)
    if known.mean() < 0.5 or len(np.unique(values[known])) < 2:
        return 0.0
    values, target = values[known], target[known]
    if not classes:
        from scipy.stats import spearmanr

        return abs(float(spearmanr(values, target).statistic))
    told = []
    for number in range(classes):
        area = auc(values, (target == number).astype(np.int64))
        told.append(max(area, 1 - area))
        if told[-1] <= _GIVES_AWAY:
            break  # one class that it does not tell is enough
    return min(told)


def _copies(task: Task, table: Table) -> list[str]:
    if len(table.columns) < 3:  # few values meet by chance
        return []
    keys = _keys(table)
    learnt = set(keys[task.train].tolist())
    share = float(np.mean([key in learnt for key in keys[task.validation].tolist()]))
    if share < _COPIED:
        return []
    return [
        f"{share:.0%} of the rows held out stand among the rows learnt from: scores are too good "
        "where new rows are no copies. Drop the copies, or give groups."
    ]


def _keys(table: Table) -> NDArray[np.uint64]:
    """(rows,) numbers that are equal where all columns are."""
    import pandas as pd

    frame = pd.DataFrame({column.name: table.arrays[column.name] for column in table.columns})
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), np.uint64)
