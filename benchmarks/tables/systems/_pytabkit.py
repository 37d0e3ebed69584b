"""Networks of pytabkit, which have no time limit: train for as many epochs as fit into it.

Two short fits on few rows measure the cost of an epoch; then the number of epochs is chosen to use
nine tenths of the time, and at most the library's default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from contract import Fitted, Job, features, pickled
from systems._columns import imputed

METRIC = {"auc": "1-auc_ovr", "log_loss": "cross_entropy", "rmse": "rmse"}
"""Metric by which the best epoch is chosen."""
_N_TIMING_ROWS = 640
_USED_TIME_SHARE = 0.9


def fit_epochs(
    train: pd.DataFrame, job: Job, build: Callable[[int], Any], max_epochs: int, **settings: Any
) -> Fitted:
    """Fit the estimator made by `build(epochs)`; `settings` are passed to its `fit`."""
    start = time.perf_counter()
    x, y = features(train, job)
    medians = x.median(numeric_only=True)
    x = imputed(x, medians)
    epochs = _epochs(build, x, y, job.seconds, start, max_epochs)
    model = build(epochs).fit(x, y, **settings)
    predict = model.predict if job.regression else model.predict_proba
    return Fitted(
        lambda frame: predict(imputed(frame, medians)),
        pickled((model, medians)),
        () if job.regression else model.classes_,
    )


def _epochs(
    build: Callable[[int], Any], x: pd.DataFrame, y: pd.Series, seconds: float, start: float,
    max_epochs: int,
) -> int:  # fmt: skip
    """Return the epochs that fit into the time, at least one; the rows are shuffled already."""
    timing_rows = slice(0, _N_TIMING_ROWS)
    build(1).fit(x[timing_rows], y[timing_rows])  # warm-up: the first fit is slower
    one_epoch, three_epochs = (
        _seconds(build(epochs), x[timing_rows], y[timing_rows]) for epochs in (1, 3)
    )
    epoch_seconds = max((three_epochs - one_epoch) / 2, 1e-3) * max(1.0, len(x) / _N_TIMING_ROWS)
    remaining = _USED_TIME_SHARE * seconds - (time.perf_counter() - start) - one_epoch
    return int(min(max_epochs, max(1.0, remaining / epoch_seconds)))


def _seconds(model: Any, x: pd.DataFrame, y: pd.Series) -> float:
    start = time.perf_counter()
    model.fit(x, y)
    return time.perf_counter() - start
