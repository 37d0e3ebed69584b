"""Warnings about a score: no better than a constant, target leakage, copied rows.

Each check returns sentences, none if nothing is wrong.
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

_LEAKING_AUC = 0.995
"""AUC (or absolute Spearman correlation) from which a single column is suspected of leakage."""
_MIN_ROWS = 50
"""Rows below which neither leakage is checked nor a score interval is computed."""
_MAX_ROWS, _MIN_SAMPLED_ROWS, _MAX_CELLS = 20_000, 200, 5_000_000
"""Rows, and cells of a wide table, that the checks look at, to take no more than about a second."""
_MIN_COPIED_FRACTION = 0.01
_N_RESAMPLES = 200
_INTERVAL_QUANTILES = 0.025, 0.975


def constant_prediction_metrics(task: Task, rows: NDArray[np.int64]) -> Metrics:
    """Score a constant prediction, the class frequencies or the mean, on these rows."""
    target = task.target[rows]
    train_target, weights = task.target[task.train], task.weights_of(task.train)
    if task.kind == "regression":
        predictions = np.full(len(target), np.average(train_target, weights=weights))
    else:
        frequencies = np.bincount(train_target, weights, minlength=len(task.classes))
        predictions = np.tile(frequencies / frequencies.sum(), (len(target), 1))
    return score(task.kind, target, predictions, weights=task.weights_of(rows))


def score_warnings(search: FinishedSearch, trial: Trial, rows: NDArray[np.int64]) -> list[str]:
    """Return warnings about the score of the delivered trial on these validation rows."""
    if trial.proposal.origin != CONSTANT:
        metric = search.objectives[0].metric
        return no_better_than_constant(metric, trial.metrics, search.task, rows)
    errors = [trial.error for trial in search.trials if trial.error]
    last_error = f" (last error: {errors[-1]})" if errors else ""
    longer = wording(python="Use a larger time.", shell="Use a larger --time.")
    return [
        f"No trial finished in time{last_error}: the model predicts the same for every row. {longer}"
    ]


def no_better_than_constant(
    metric: str, metrics: Metrics, task: Task, rows: NDArray[np.int64]
) -> list[str]:
    """Warn if a score is no better than that of a constant prediction."""
    constant = constant_prediction_metrics(task, rows)
    if metric not in constant or metric not in metrics:
        return []
    sign = 1 if METRICS[metric].direction == "max" else -1
    if sign * (metrics[metric] - constant[metric]) > 0:
        return []
    prediction = "the mean" if task.kind == "regression" else "the class frequencies"
    return [
        f"The model is no better than predicting {prediction} for every row ({metric} "
        f"{constant[metric]:.4g}): the columns may hold no information about the target."
    ]


def score_interval(
    task: Task,
    rows: NDArray[np.int64],
    predictions: NDArray[np.floating],
    metric: str,
    threshold: float = 0.5,
) -> tuple[float, float] | None:
    """Return the 95 % bootstrap percentile interval of a metric over rows (Efron, 1979).

    Args:
        task: for targets and sample weights.
        rows: indices of the validation rows.
        predictions: of these rows; NaN for rows without a prediction, which are ignored.
        metric: name of the metric.
        threshold: probability from which on the second of two classes is predicted.

    Returns:
        None for a metric that is not one of predictions, for few rows, and for an interval of
        width 0: it says nothing of the error of a perfect score.
    """
    if metric not in METRICS or not METRICS[metric].kinds:
        return None
    available = np.flatnonzero(predicted(predictions))
    if len(available) < _MIN_ROWS:
        return None
    rng = np.random.default_rng(0)
    if len(available) > _MAX_ROWS:
        available = rng.choice(available, _MAX_ROWS, replace=False)
    loss = loss_of(task.kind, metric, threshold)
    resamples = [rng.choice(available, len(available)) for _ in range(_N_RESAMPLES)]
    scores = np.array(
        [
            loss(predictions[sample], task.target[rows[sample]], task.weights_of(rows[sample]))
            for sample in resamples
        ]
    )
    if METRICS[metric].direction == "max":
        scores = 1 - scores
    low, high = np.quantile(scores, _INTERVAL_QUANTILES)
    return (float(low), float(high)) if low < high else None


def leakage_warnings(task: Task) -> list[str]:
    """Warn of columns that give the target away, and of validation or test rows in the training data."""
    sentences = _copied_test_warnings(task)
    if isinstance(task.features, Images) or len(task.target) < _MIN_ROWS:
        return sentences
    return [
        *sentences,
        *_column_warnings(task, task.features),
        *_copied_row_warnings(task, task.features),
    ]


def seen_test_fraction(task: Task) -> float:
    """Return the fraction of the test rows that are, with their target, in the training data.

    0 if it is no larger than the repeated rows within the training data explain.
    """
    if task.test is None or not len(task.test):
        return 0.0
    rows = np.concatenate([task.train, task.validation])
    searched = _row_hashes(task.features.take(rows), task.target[rows])
    test = _row_hashes(task.test.features, task.test.target)
    fraction = float(np.isin(test, searched).mean())
    _, index, counts = np.unique(searched, return_inverse=True, return_counts=True)
    repeated = float((counts[index] > 1).mean())
    standard_error = math.sqrt(repeated * (1 - repeated) / len(task.test))
    expected_at_most = repeated + 3 * standard_error + _MIN_COPIED_FRACTION
    return fraction if fraction > expected_at_most else 0.0


def _copied_test_warnings(task: Task) -> list[str]:
    fraction = seen_test_fraction(task)
    if not fraction:
        return []
    rows = "images" if isinstance(task.features, Images) else "rows"
    fix = wording(python=f"Use other test {rows}.", shell=f"Use other {rows} for --test.")
    return [
        f"{fraction:.0%} of the test {rows} are also in the training data: the test scores are too "
        f"good. {fix}"
    ]


def _column_warnings(task: Task, table: Table) -> list[str]:
    """Warn of each column that alone predicts the target almost perfectly."""
    rows = np.arange(len(task.target))
    max_rows = min(_MAX_ROWS, max(_MIN_SAMPLED_ROWS, _MAX_CELLS // len(table.columns)))
    if len(rows) > max_rows:
        rows = np.random.default_rng(0).choice(rows, max_rows, replace=False)
    target, groups = task.target[rows], None if task.groups is None else task.groups[rows]
    sentences = []
    for column in table.columns:
        values, n_classes = table.arrays[column.name][rows], len(task.classes)
        if column.kind in ("numeric", "date"):
            scores = values.astype(np.float64)[:, None]
        elif column.kind in ("category", "boolean"):
            scores = _out_of_fold_means(column, values, target, n_classes, groups)
        else:
            continue
        if _predicts_target(scores, target, n_classes):
            sentences.append(
                f"Column {column.name!r} alone predicts the target almost perfectly. Drop it if its "
                "value is not known at prediction time."
            )
    return sentences


def _out_of_fold_means(
    column: Column,
    values: NDArray[Any],
    target: NDArray[Any],
    n_classes: int,
    groups: NDArray[Any] | None,
) -> NDArray[np.float64]:
    """(rows, k) class frequencies, or mean targets, of each row's category in other folds."""
    targets = np.eye(n_classes)[target] if n_classes else target[:, None].astype(np.float64)
    table = Table((column,), {column.name: values}, 1)
    categories = tuple(sorted(set(values.tolist())))
    encoder = TargetEncoder.fit(table, [column.name], [categories], targets, alpha=1.0, folds=5)
    return encoder.out_of_fold(table, targets, 0, groups).astype(np.float64)


def _predicts_target(scores: NDArray[np.float64], target: NDArray[Any], n_classes: int) -> bool:
    """Return whether scores of a column separate each class from the rest, or rank the numbers.

    Args:
        scores: (rows, 1), or (rows, classes) for one score per class; NaN if missing.
        target: (rows,) classes or numbers.
        n_classes: 0 for regression.
    """
    present = np.isfinite(scores).all(1)
    if present.mean() < 0.5 or (scores[present] == scores[present][:1]).all():
        return False
    scores, target = scores[present], target[present]
    if not n_classes:
        import pandas as pd

        # Spearman correlation; importing scipy.stats would take a second before the search begins
        ranks = pd.Series(scores[:, 0]).rank(), pd.Series(target).rank()
        return abs(float(ranks[0].corr(ranks[1]))) > _LEAKING_AUC
    for k in range(n_classes):
        auc = area_of(scores[:, min(k, scores.shape[1] - 1)], target == k)
        if max(auc, 1 - auc) <= _LEAKING_AUC:
            return False  # a single class that is not separated is enough
    return True


def _copied_row_warnings(task: Task, table: Table) -> list[str]:
    """Warn of validation rows that are copies of training rows."""
    if len(table.columns) < 3:  # rows of few values are equal by chance
        return []
    hashes = _row_hashes(table)
    train_hashes = set(hashes[task.train].tolist())
    is_copy = [row_hash in train_hashes for row_hash in hashes[task.validation].tolist()]
    fraction = float(np.mean(is_copy))
    if fraction < _MIN_COPIED_FRACTION:
        return []
    fix = wording(python="Drop the copies, or pass groups.", shell="Drop the copies.")
    return [
        f"{fraction:.0%} of the validation rows are copies of training rows: the scores are too "
        f"good for new rows. {fix}"
    ]


def _row_hashes(features: Table | Images, target: NDArray[Any] | None = None) -> NDArray[np.uint64]:
    """(rows,) hashes that are equal for equal rows or images, including the target if given."""
    import pandas as pd

    if isinstance(features, Images):
        columns: list[Any] = [[hash(image.tobytes()) for image in features.pixels]]
    else:
        columns = [features.arrays[column.name] for column in features.columns]
    columns += [] if target is None else [target]
    frame = pd.DataFrame(dict(enumerate(columns)))
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), np.uint64)
