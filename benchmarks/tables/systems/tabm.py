"""TabM with its defaults (Gorishniy et al. 2025), of pytabkit; fewer epochs if need be."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pytabkit import TabM_D_Classifier, TabM_D_Regressor

from contract import Fitted, Job
from systems._pytabkit import METRIC, fit_epochs

EPOCHS = 1_000_000_000  # its own number: its patience ends it


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    kind = TabM_D_Regressor if job.regression else TabM_D_Classifier

    def build(epochs: int) -> Any:
        return kind(
            device="cpu", random_state=job.seed, n_threads=job.cores, n_epochs=epochs,
            val_metric_name=METRIC[job.metric], verbosity=0,
        )  # fmt: skip

    return fit_epochs(train, job, build, EPOCHS)
