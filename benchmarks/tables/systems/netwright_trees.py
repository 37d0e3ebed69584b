"""netwright without neural networks."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._without import TREES
from systems.netwright import fit as fit_with


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_with(train, job, TREES)
