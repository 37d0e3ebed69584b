"""netwright without its portfolio."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._without import no_portfolio
from systems.netwright import fit as fit_with

no_portfolio()


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_with(train, job)
