"""netwright with one part taken out, to see what the part adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from contract import Fitted, Job, features
from netwright import AutoClassifier, AutoRegressor
from netwright.automl import delivery, families, plan
from netwright.automl.portfolio import portfolio
from netwright.space.space import Space

NETWORKS = families.NETWORKS
TREES = tuple(name for name in families.known_families() if name not in NETWORKS)


def fit(train: pd.DataFrame, job: Job, only: Sequence[str] = ()) -> Fitted:
    """As `netwright.py`, with these families."""
    if plan.portfolio is portfolio:  # it may have been taken out
        plan.portfolio = partial(portfolio, without=job.table)
    kind = AutoRegressor if job.regression else AutoClassifier
    model = kind(
        time=job.seconds, objectives=[job.metric], seed=job.seed, workers=job.cores,
        run=job.folder / "run", families=only,
    )  # fmt: skip
    model.fit(*features(train, job))
    predict = model.predict if job.regression else model.predict_proba
    classes = () if job.regression else model.classes_
    return Fitted(predict, lambda folder: model.export(folder / "model.onnx"), classes)


def fixed_networks() -> None:
    """RealMLP and TabM with their defaults, nothing of them open; no other network."""

    def closed(make: Callable[..., Any]) -> Callable[..., Any]:
        def filled(*args: Any, **told: Any) -> Any:
            space = Space(make(*args, **told))
            return space.fill(space.default())

        return filled

    families.realmlp, families.tabm = closed(families.realmlp), closed(families.tabm)


def no_features() -> None:
    """Columns as they are: no arithmetic, no crosses, no mean targets."""

    def plain(make: Callable[..., Any]) -> Callable[..., Any]:
        def found(brief: Any, *more: Any) -> Any:
            pipeline = make(brief, *more)
            coded = replace(pipeline.categories, crosses=0, encode="frequency")
            return replace(pipeline, categories=coded)

        return found

    for name in ("_for_trees", "_for_forests"):
        setattr(families, name, plain(getattr(families, name)))
    families._pairs = lambda brief: 0


def no_portfolio() -> None:
    """The strategy from the first trial on."""
    plan.portfolio = lambda space, brief: []


def no_averages() -> None:
    """The best candidate by itself."""
    delivery._averages = lambda study, task, folds: iter(
        delivery._families(study, delivery.members(study.trials, study.trial_folder))
    )
