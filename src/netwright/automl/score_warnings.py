"""What speaks against a score: nothing learnt, a column that gives the answer away, copied rows.

Each check gives sentences, none when there is nothing to say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.automl.finished_search import FinishedSearch
from netwright.data.columns import Column
from netwright.data.task import Images, Table, Task
from netwright.errors import wording
from netwright.pipelines.preprocessing.encoders import TargetEncoder
from netwright.trials.losses import loss_of, predicted
from netwright.trials.metrics import METRICS, score
from netwright.trials.scores import area_of
from netwright.trials.trial import CONSTANT, Metrics, Trial

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
    known, weights = task.target[task.train], task.weights_of(task.train)
    if task.kind == "regression":
        said = np.full(len(truth), np.average(known, weights=weights))
    else:
        shares = np.bincount(known, weights, minlength=len(task.classes))
        said = np.tile(shares / shares.sum(), (len(truth), 1))
    return score(task.kind, truth, said, weights=task.weights_of(rows))


def score_warnings(search: FinishedSearch, trial: Trial, rows: NDArray[np.int64]) -> list[str]:
    """What speaks against the score of the delivered trial, judged by these rows."""
    if trial.proposal.origin != CONSTANT:
        return no_better(search.objectives[0].metric, trial.metrics, search.task, rows)
    reasons = [one.error for one in search.trials if one.error]
    last = f" (the last one says: {reasons[-1]})" if reasons else ""
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return [
        f"No trial finished in time{last}: the model is a constant prediction, the same for every "
        f"row. {longer}"
    ]


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
    loss = loss_of(task.kind, name, threshold)
    drawn = [rng.choice(seen, len(seen)) for _ in range(_RESAMPLES)]
    losses = np.array(
        [loss(held_out[one], task.target[rows[one]], task.weights_of(rows[one])) for one in drawn]
    )
    if METRICS[name].direction == "max":
        losses = 1 - losses
    low, high = np.quantile(losses, _SURE)
    return (float(low), float(high)) if low < high else None  # no error at all says nothing of it


def leaks(task: Task) -> list[str]:
    """Columns that alone say the target, and held-out rows that stand among those learnt from."""
    sentences = _test_copies(task)
    if isinstance(task.features, Images) or len(task.target) < _FEW_ROWS:
        return sentences
    return [*sentences, *_columns(task, task.features), *_copies(task, task.features)]


def share_trained_on(task: Task) -> float:
    """Share of the test rows that stand, with their target, among those trained or validated on.

    0 where it is no more than what is repeated among the rows of the search themselves explains.
    """
    if task.test is None or not len(task.test):
        return 0.0
    rows = np.concatenate([task.train, task.validation])
    searched = _keys(task.features.take(rows), task.target[rows])
    share = float(np.isin(_keys(task.test.features, task.test.target), searched).mean())
    _, places, counts = np.unique(searched, return_inverse=True, return_counts=True)
    repeated = float((counts[places] > 1).mean())
    deviation = math.sqrt(repeated * (1 - repeated) / len(task.test))
    return share if share > repeated + 3 * deviation + _COPIED else 0.0


def _test_copies(task: Task) -> list[str]:
    share = share_trained_on(task)
    if not share:
        return []
    rows = "images" if isinstance(task.features, Images) else "rows"
    fix = wording(
        python=f"Use test {rows} that are not among those.", shell=f"Give --test other {rows}."
    )
    return [
        f"{share:.0%} of the test {rows} stand among the {rows} trained on: the test scores are "
        f"too good. {fix}"
    ]


def _columns(task: Task, table: Table) -> list[str]:
    rows = np.arange(len(task.target))
    most = min(_MOST_ROWS, max(_LEAST_ROWS, _MOST_CELLS // len(table.columns)))
    if len(rows) > most:
        rows = np.random.default_rng(0).choice(rows, most, replace=False)
    target, groups = task.target[rows], None if task.groups is None else task.groups[rows]
    found = []
    for column in table.columns:
        values, classes = table.arrays[column.name][rows], len(task.classes)
        if column.kind in ("numeric", "date"):
            orders = values.astype(np.float64)[:, None]
        elif column.kind in ("category", "boolean"):
            orders = _means(column, values, target, classes, groups)
        else:
            continue
        if _tells(orders, target, classes):
            found.append(
                f"Column {column.name!r} alone tells the target nearly always: drop it if it is "
                "not known when predicting."
            )
    return found


def _means(
    column: Column, values: NDArray[Any], target: NDArray[Any], classes: int,
    groups: NDArray[Any] | None,
) -> NDArray[np.float64]:  # fmt: skip
    """(rows, k): of each value the share of each class, or the mean target, in other rows."""
    aims = np.eye(classes)[target] if classes else target[:, None].astype(np.float64)
    one, known = Table((column,), {column.name: values}, 1), tuple(sorted(set(values.tolist())))
    means = TargetEncoder.fit(one, [column.name], [known], aims, alpha=1.0, folds=5)
    return means.out_of_fold(one, aims, 0, groups).astype(np.float64)


def _tells(orders: NDArray[np.float64], target: NDArray[Any], classes: int) -> bool:
    """Whether an order of the rows tells each class from the rest, or that of numbers.

    `orders`: (rows, 1), or one for each class; NaN: not known.
    """
    known = np.isfinite(orders).all(1)
    if known.mean() < 0.5 or (orders[known] == orders[known][:1]).all():
        return False
    orders, target = orders[known], target[known]
    if not classes:
        import pandas as pd

        # Spearman's correlation; scipy.stats would take a second to load before a search begins
        ranks = pd.Series(orders[:, 0]).rank(), pd.Series(target).rank()
        return abs(float(ranks[0].corr(ranks[1]))) > _GIVES_AWAY
    for number in range(classes):
        area = area_of(orders[:, min(number, orders.shape[1] - 1)], target == number)
        if max(area, 1 - area) <= _GIVES_AWAY:
            return False  # one class that it does not tell is enough
    return True


def _copies(task: Task, table: Table) -> list[str]:
    if len(table.columns) < 3:  # few values meet by chance
        return []
    keys = _keys(table)
    learnt = set(keys[task.train].tolist())
    share = float(np.mean([key in learnt for key in keys[task.validation].tolist()]))
    if share < _COPIED:
        return []
    fix = wording(python="Drop the copies, or give groups.", shell="Drop the copies.")
    return [
        f"{share:.0%} of the rows held out stand among the rows learnt from: scores are too good "
        f"where new rows are no copies. {fix}"
    ]


def _keys(features: Table | Images, target: NDArray[Any] | None = None) -> NDArray[np.uint64]:
    """(rows,) numbers that are equal where all columns or pixels are, and the target if given."""
    import pandas as pd

    if isinstance(features, Images):
        columns: list[Any] = [[hash(image.tobytes()) for image in features.pixels]]
    else:
        columns = [features.arrays[column.name] for column in features.columns]
    columns += [] if target is None else [target]
    frame = pd.DataFrame(dict(enumerate(columns)))
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), np.uint64)
