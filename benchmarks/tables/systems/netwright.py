"""netwright through its estimators, as a user would: the time, the metric, the rest as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from contract import Fitted, Job, features
from netwright import AutoClassifier, AutoRegressor, Model
from netwright.automl import fit as plan
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import load_run
from netwright.automl.tabular.families import NETWORK_FAMILIES


def fit(train: pd.DataFrame, job: Job, only: Sequence[str] = ()) -> Fitted:
    """`only`: these families."""
    if plan.portfolio is portfolio:  # the one that was made without this table
        plan.portfolio = partial(portfolio, leave_out_dataset=job.table)
    kind = AutoRegressor if job.regression else AutoClassifier
    run = job.folder / "run"
    model = kind(
        time=job.seconds, objectives=[job.metric], seed=job.seed, workers=job.cores, run=run,
        families=only,
    )  # fmt: skip
    model.fit(*features(train, job))
    predict = model.predict if job.regression else model.predict_proba
    classes = () if job.regression else model.classes_
    front = {
        str(number): _one(Model(model._files[int(number)]), model._files[int(number)], job)
        for number in model.front_["trial"]
    }
    return Fitted(
        predict, lambda folder: model.export(folder / "model.onnx"), classes, front,
        _made_of(run, int(model.model_.card["trial"]), job.metric),
    )  # fmt: skip


def _one(model: Model, content: bytes, job: Job) -> Fitted:
    def save(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(content)

    return Fitted(
        model.predict if job.regression else model.predict_proba, save, tuple(model.classes)
    )


def _made_of(run: Path, delivered: int, metric: str) -> dict[str, Any]:
    """Shares of families in what is delivered, and of networks that the search has proposed; what
    validation says of it."""
    trials = {one.id: one for one in load_run(run).trials}
    best = trials[delivered]
    shares = best.ensemble.weight_of if best.ensemble else {best.id: 1.0}
    families: dict[str, float] = {}
    searched = 0.0
    for number, share in shares.items():
        one = trials[number]
        if one.ensemble:  # fitted again on all rows
            one = trials[one.proposal.parents[0]]
        family = one.family
        families[family] = families.get(family, 0.0) + share
        first = {t.proposal.origin for t in trials.values() if t.candidate == one.candidate}
        if family in NETWORK_FAMILIES and "portfolio" not in first:
            searched += share
    done = [one for one in trials.values() if not one.ensemble]
    return {
        "validation": best.metrics.get(metric), "delivered": families,
        "networks": sum(families.get(name, 0.0) for name in NETWORK_FAMILIES),
        "searched_networks": searched, "trials": len(done),
        "whole_trials": sum(one.proposal.fidelity == 1 for one in done),
        "families": sorted({one.family for one in done}),
    }  # fmt: skip
