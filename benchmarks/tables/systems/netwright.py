"""netwright through its estimators, as a user would: the time, the metric, the rest as it comes."""

from __future__ import annotations

from functools import partial

import pandas as pd

from contract import Fitted, Job, features
from netwright import AutoClassifier, AutoRegressor
from netwright.automl import plan
from netwright.automl.portfolio import portfolio


def fair(job: Job) -> None:
    """The portfolio that was made without this table."""
    plan.portfolio = partial(portfolio, without=job.table)


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    fair(job)
    kind = AutoRegressor if job.regression else AutoClassifier
    model = kind(
        time=job.seconds, objectives=[job.metric], seed=job.seed, workers=job.cores,
        run=job.folder / "run",
    )  # fmt: skip
    model.fit(*features(train, job))
    predict = model.predict if job.regression else model.predict_proba
    classes = () if job.regression else model.classes_
    return Fitted(predict, lambda folder: model.export(folder / "model.onnx"), classes)
