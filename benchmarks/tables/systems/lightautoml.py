"""LightAutoML's preset for tables, with time limit, metric and cores."""

from __future__ import annotations

import numpy as np
import pandas as pd
from lightautoml.automl.presets.tabular_presets import TabularAutoML
from lightautoml.tasks import Task

from contract import Fitted, Job, pickled

KIND = {"binary": "binary", "multiclass": "multiclass", "regression": "reg"}
METRIC = {"auc": "auc", "log_loss": "crossentropy", "rmse": "mse"}


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    if not job.regression:  # class numbers, so that its order of classes is ours
        train = train.assign(**{job.target: train[job.target].map(job.classes.index)})
    model = TabularAutoML(
        Task(KIND[job.kind], metric=METRIC[job.metric]), timeout=job.seconds, cpu_limit=job.cores,
        reader_params={"random_state": job.seed, "n_jobs": job.cores},
    )  # fmt: skip
    model.fit_predict(train, roles={"target": job.target})

    def predict(frame: pd.DataFrame) -> np.ndarray:
        said = model.predict(frame).data
        if job.kind == "binary":
            return np.hstack([1 - said, said])
        return said.ravel() if job.regression else said

    return Fitted(predict, pickled(model), job.classes)
