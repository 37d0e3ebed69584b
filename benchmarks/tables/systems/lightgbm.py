"""LightGBM with its defaults: 100 trees of 31 leaves, native categories, no time limit."""

from __future__ import annotations

import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor

from contract import Fitted, Job, features
from systems._columns import categories


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    x, y = features(train, job)
    x = categories(x)
    kind = LGBMRegressor if job.regression else LGBMClassifier
    model = kind(n_jobs=job.cores, random_state=job.seed, verbose=-1).fit(x, y)
    said = model.predict if job.regression else model.predict_proba
    return Fitted(
        lambda frame: said(categories(frame, like=x)),
        lambda folder: model.booster_.save_model(folder / "model.txt"),
        () if job.regression else model.classes_,
    )
