"""A random forest of 300 trees, the least rows in a leaf chosen by the rows left out of the bags.

The choice is among three, as the AutoML benchmark's tuned forest chooses `max_features`; missing
numbers go where the split likes, texts are one-hot.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from contract import Fitted, Job, features, pickled
from scores import loss, score

LEAVES = (1, 3, 10)


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    x, y = features(train, job)
    texts = OneHotEncoder(min_frequency=5, max_categories=50, handle_unknown="infrequent_if_exist")
    columns = make_column_transformer(
        (texts, make_column_selector(dtype_exclude="number")),
        remainder="passthrough", sparse_threshold=0,
    )  # fmt: skip
    prepared = columns.fit_transform(x)
    forests = [_forest(job, leaf).fit(prepared, y) for leaf in LEAVES]
    best = min(forests, key=lambda forest: _loss(forest, y, job))
    model = make_pipeline(columns, best)
    predict = model.predict if job.regression else model.predict_proba
    return Fitted(predict, pickled(model), () if job.regression else best.classes_)


def _forest(job: Job, leaf: int) -> RandomForestClassifier | RandomForestRegressor:
    kind = RandomForestRegressor if job.regression else RandomForestClassifier
    return kind(300, min_samples_leaf=leaf, oob_score=True, n_jobs=job.cores, random_state=job.seed)


def _loss(forest: RandomForestClassifier | RandomForestRegressor, y: pd.Series, job: Job) -> float:
    if job.regression:
        return loss(job.metric, score(job.metric, y.to_numpy(), forest.oob_prediction_))
    truth = np.searchsorted(forest.classes_, y)
    return loss(job.metric, score(job.metric, truth, forest.oob_decision_function_))
