"""netwright's estimators with time limit and metric, and defaults otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from contract import Fitted, Job, features
from netwright import AutoClassifier, AutoRegressor, Model
from netwright.automl import open_search
from netwright.automl.portfolio import portfolio
from netwright.automl.saved_run import load_run
from netwright.automl.tabular.families import NETWORK_FAMILIES


def fit(train: pd.DataFrame, job: Job, only: Sequence[str] = ()) -> Fitted:
    """Fit the estimator; `only`: restrict the search to these families."""
    if open_search.portfolio is portfolio:  # use the list that was made without this table
        open_search.portfolio = partial(portfolio, leave_out_dataset=job.table)
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
        str(trial_id): _fitted_model(
            Model(model._files[int(trial_id)]), model._files[int(trial_id)], job
        )
        for trial_id in model.front_["trial"]
    }
    return Fitted(
        predict, lambda folder: model.export(folder / "model.onnx"), classes, front,
        _composition(run, int(model.model_.card["trial"]), job.metric),
    )  # fmt: skip


def _fitted_model(model: Model, content: bytes, job: Job) -> Fitted:
    def save(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(content)

    return Fitted(
        model.predict if job.regression else model.predict_proba, save, tuple(model.classes)
    )


def _composition(run: Path, delivered: int, metric: str) -> dict[str, Any]:
    """Return the composition and the validation score of the delivered model."""
    trials = {trial.id: trial for trial in load_run(run).trials}
    best = trials[delivered]
    shares = best.ensemble.weight_of if best.ensemble else {best.id: 1.0}
    families: dict[str, float] = {}
    searched = 0.0
    for trial_id, share in shares.items():
        member = trials[trial_id]
        if member.ensemble:  # refitted on all rows
            member = trials[member.proposal.parents[0]]
        family = member.family
        families[family] = families.get(family, 0.0) + share
        origins = {t.proposal.origin for t in trials.values() if t.candidate == member.candidate}
        if family in NETWORK_FAMILIES and "portfolio" not in origins:
            searched += share
    done = [trial for trial in trials.values() if not trial.ensemble]
    return {
        "validation": best.metrics.get(metric), "delivered": families,
        "networks": sum(families.get(name, 0.0) for name in NETWORK_FAMILIES),
        "searched_networks": searched, "trials": len(done),
        "whole_trials": sum(trial.proposal.fidelity == 1 for trial in done),
        "families": sorted({trial.family for trial in done}),
    }  # fmt: skip
