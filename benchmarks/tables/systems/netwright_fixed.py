"""netwright with RealMLP and TabM as they are, no network searched."""

from __future__ import annotations

import pandas as pd

from contract import Fitted, Job
from systems._without import TREES, fixed_networks
from systems.netwright import fit as fit_with

fixed_networks()


def fit(train: pd.DataFrame, job: Job) -> Fitted:
    return fit_with(train, job, (*TREES, "realmlp", "tabm"))
