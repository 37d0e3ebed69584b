"""FLAML with its defaults, and time limit, metric and cores."""

from __future__ import annotations

import pandas as pd
from flaml import AutoML

from contract import Fitted, Job, features, pickled

METRIC = {"auc": "roc_auc", "log_loss": "log_loss", "rmse": "rmse"}


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    x, y = features(train, job)
    model = AutoML()
    model.fit(
        x, y, task="regression" if job.regression else "classification",
        metric=METRIC[job.metric], time_budget=job.seconds, n_jobs=job.cores, seed=job.seed,
        verbose=0,
    )  # fmt: skip
    predict = model.predict if job.regression else model.predict_proba
    return Fitted(predict, pickled(model), () if job.regression else model.classes_)
