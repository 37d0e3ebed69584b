"""AutoGluon's presets with time limit, metric and cores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from autogluon.tabular import TabularPredictor

from contract import Fitted, Job

METRIC = {"auc": "roc_auc", "log_loss": "log_loss", "rmse": "root_mean_squared_error"}
SEQUENTIAL: dict[str, Any] = {
    "dynamic_stacking": False,
    "num_stack_levels": 0,
    "ag_args_ensemble": {"fold_fitting_strategy": "sequential_local"},
}
"""Bagging that keeps a time limit of one or five minutes on two cores: with the defaults (parallel
folds under ray, dynamic stacking, a second level) 60 s became 171 to 231 s."""


def fit_preset(train: pd.DataFrame, job: Job, preset: str, **settings: Any) -> Fitted:
    """Fit with a preset; `settings` are passed to `TabularPredictor.fit`."""
    predictor = TabularPredictor(
        job.target, problem_type=job.kind, eval_metric=METRIC[job.metric],
        path=str(job.folder / "autogluon"), verbosity=1,
    )  # fmt: skip
    predictor.fit(
        train, presets=preset, time_limit=job.seconds, num_cpus=job.cores, num_gpus=0, **settings
    )

    def save(folder: Path) -> None:
        """Save the best model and what it needs; then load it into memory, as for serving."""
        predictor.clone_for_deployment(str(folder / "autogluon"))
        predictor.persist()

    predict = predictor.predict if job.regression else predictor.predict_proba
    return Fitted(predict, save, () if job.regression else predictor.class_labels)
