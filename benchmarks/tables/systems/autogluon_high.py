"""AutoGluon, bagged, then refitted on all rows for faster prediction."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._autogluon import SEQUENTIAL, fit_preset


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_preset(train, job, "high_quality", **SEQUENTIAL)
