"""AutoGluon's fast preset: one holdout, no bagging."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._autogluon import fit_preset


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_preset(train, job, "medium_quality")
