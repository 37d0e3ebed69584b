"""Networks of pytabkit, which know no limit that their schedule follows: as many epochs as fit in.

Two short fits on few rows say what an epoch costs; then the epochs are chosen such that nine
tenths of the time are used, and never more than the library's own number.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from contract import Fitted, Job, features, pickled
from systems._columns import imputed

METRIC = {"auc": "1-auc_ovr", "log_loss": "cross_entropy", "rmse": "rmse"}
"""What the best epoch is chosen by."""
_ROWS = 640
_USED = 0.9


def fit_epochs(
    train: pd.DataFrame, job: Job, build: Callable[[int], Any], most: int, **settings: Any
) -> Fitted:
    """`build(epochs)` makes the estimator; `settings` go to its `fit`."""
    start = time.perf_counter()
    x, y = features(train, job)
    medians = x.median(numeric_only=True)
    x = imputed(x, medians)
    epochs = _epochs(build, x, y, job.seconds, start, most)
    model = build(epochs).fit(x, y, **settings)
    said = model.predict if job.regression else model.predict_proba
    return Fitted(
        lambda frame: said(imputed(frame, medians)),
        pickled((model, medians)),
        () if job.regression else model.classes_,
    )


def _epochs(
    build: Callable[[int], Any], x: pd.DataFrame, y: pd.Series, seconds: float, start: float,
    most: int,
) -> int:  # fmt: skip
    """At least one; the rows are shuffled already, so the first ones are as good as any."""
    few = slice(0, _ROWS)
    build(1).fit(x[few], y[few])  # what is only slow the first time
    one, three = (_seconds(build(epochs), x[few], y[few]) for epochs in (1, 3))
    an_epoch = max((three - one) / 2, 1e-3) * max(1.0, len(x) / _ROWS)
    left = _USED * seconds - (time.perf_counter() - start) - one
    return int(min(most, max(1.0, left / an_epoch)))


def _seconds(model: Any, x: pd.DataFrame, y: pd.Series) -> float:
    start = time.perf_counter()
    model.fit(x, y)
    return time.perf_counter() - start
