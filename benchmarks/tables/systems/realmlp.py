"""RealMLP with its tuned defaults (Holzmüller et al. 2024), of pytabkit; fewer epochs if need be."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

from contract import Fitted, Job
from systems._pytabkit import METRIC, fit_epochs

EPOCHS = 256


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    kind = RealMLP_TD_Regressor if job.regression else RealMLP_TD_Classifier
    # its authors: no label smoothing where probabilities count
    smoothing: dict[str, Any] = {} if job.regression else {"use_ls": False}

    def build(epochs: int) -> Any:
        return kind(
            device="cpu", random_state=job.seed, n_threads=job.cores, n_epochs=epochs,
            val_metric_name=METRIC[job.metric], verbosity=0, **smoothing,
        )  # fmt: skip

    return fit_epochs(train, job, build, EPOCHS)
