"""netwright without its portfolio."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._without import fit as fit_with
from systems._without import no_portfolio

no_portfolio()


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_with(train, job)
