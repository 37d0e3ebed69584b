"""mljar-supervised in its mode "Compete", with time limit, metric and cores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
from supervised import AutoML

from contract import Fitted, Job, features

METRIC = {"auc": "auc", "log_loss": "logloss", "rmse": "rmse"}
KIND = {
    "binary": "binary_classification", "multiclass": "multiclass_classification",
    "regression": "regression",
}  # fmt: skip
_REPORTS = shutil.ignore_patterns("*.png", "*.svg", "*.md", "*.html", "*.csv")


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    results = job.folder / "mljar"
    model = AutoML(
        results_path=str(results), mode="Compete", ml_task=KIND[job.kind],
        eval_metric=METRIC[job.metric], total_time_limit=job.seconds, n_jobs=job.cores,
        random_state=job.seed, explain_level=0, verbose=0,
    )  # fmt: skip
    x, y = features(train, job)
    model.fit(x, y)
    if job.regression:
        return Fitted(model.predict, lambda folder: _needed(results, folder))
    names = [name for name in model.predict_all(x.head(1)).columns if name != "label"]
    return Fitted(
        model.predict_proba,
        lambda folder: _needed(results, folder),
        [name.removeprefix("prediction_") for name in names],
    )


def _needed(results: Path, folder: Path) -> None:
    """Copy what loading needs: two lists, and the models of the best ensemble."""
    for name in ("params.json", "data_info.json"):
        shutil.copy(results / name, folder)
    for name in json.loads((results / "params.json").read_text())["load_on_predict"]:
        shutil.copytree(results / name, folder / name, ignore=_REPORTS)
