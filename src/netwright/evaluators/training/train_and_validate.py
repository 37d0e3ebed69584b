"""Train a candidate on the training rows, score it on the validation rows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netwright.data.task import Task
from netwright.errors import InputError, expected
from netwright.evaluators.training.weight_inheritance import (
    InheritedWeights,
    save_for_children,
    weights_of_best_parent,
)
from netwright.files.run_layout import CURVE, VALIDATION
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.strategy import MakeStrategy
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.loop import train
from netwright.networks.training.recipe import Training
from netwright.pipelines.models.network import FittedNetwork
from netwright.pipelines.pipeline import as_pipeline, fit
from netwright.space.space import Space
from netwright.trials.metrics import default_metric, score, scored
from netwright.trials.objective import Limit, Objective
from netwright.trials.time_budget import PhaseShares
from netwright.trials.trial import Job, Metrics

if TYPE_CHECKING:
    from netwright.evaluators.one_shot.supernet_search import SupernetSearch
    from netwright.space.candidate import Candidate

_MAX_EPOCHS = 1_000
"""Passes over the rows of a training that fills its time."""
_N_KEPT_TRIALS = 20
"""With inheritance, so many best trials keep their weights for children."""


@dataclass(frozen=True)
class TrainAndValidate:
    """Evaluator that trains a candidate on the training rows and scores the validation rows.

    Leaves in the job's folder ``pipeline.json``, the model's files (of a network
    ``weights.safetensors`` and ``curve.json``) and ``validation.npy``, the predictions for the
    validation rows.

    Args:
        space: of the candidates.
        task: with its split.
        monitor: the metric whose best epoch is kept; empty for the task's default metric.
        inherit: share of the epochs in [0, 1] that a child trains if it computes its parent's
            function; the more of its weights are new, the more it trains, up to all epochs. A child
            starts from the weights of the parent that gives it the most
            (`netwright.networks.morphism.morph`), or from scratch if those are gone; ``about.json``
            says which, and the metric ``inherited`` how much. 0 (the default) trains every
            candidate from scratch: with inheritance its metrics depend on its ancestors, too.
        phase_shares: how a trial under a deadline, or a supernet, divides its time.
        until_deadline: trains networks under a deadline until then, however many epochs that takes,
            and saves the state of the training in the job's folder every minute: it goes on from
            what is there. Otherwise trains the recipe's epochs.
        n_kept: so many best trials keep their files, besides the front; more with `inherit`.

    Raises:
        InputError: `inherit` is out of range.

    Example:
        >>> evaluator = TrainAndValidate(space, task, inherit=0.3)
        >>> study = Study(space, evaluator, objectives="accuracy")
    """

    space: Space[Any]
    task: Task
    monitor: str = ""
    inherit: float = 0.0
    phase_shares: PhaseShares = PhaseShares()
    until_deadline: bool = False
    n_kept: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.inherit <= 1:
            fix = "Use 0 for no inheritance, 0.3 for three tenths of the epochs."
            raise InputError(expected("inherit", "from 0 to 1", self.inherit, fix))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The task's scores, ``train_seconds``, of networks ``epochs`` and ``rows_per_second``, maybe
        ``inherited``."""
        inherited = ("inherited",) if self.inherit > 0 else ()
        return (*scored(self.task.kind), "train_seconds", "epochs", "rows_per_second", *inherited)

    @property
    def capabilities(self) -> Capabilities:
        """With `inherit`, the best trials keep their weights for children."""
        inherits = self.inherit > 0
        return Capabilities(
            make_supernet_search=self._make_supernet,
            leaves_files=True,
            keeps=max(self.n_kept, _N_KEPT_TRIALS if inherits else 0),
            fingerprint={"inherit": str(self.inherit)} if inherits else {},
            warm_up=warm_up,
        )

    def _make_supernet(
        self,
        method: object,
        folder: Path,
        seed: int,
        make_strategy: MakeStrategy,
        objectives: Sequence[Objective],
        limits: Sequence[Limit],
        start: Candidate | None = None,
    ) -> SupernetSearch:
        """Return a one-shot search on this task's training rows; see `MakeSupernetSearch`."""
        from netwright.evaluators.one_shot.single_path_search import SubnetSearch  # rarely needed
        from netwright.evaluators.one_shot.supernet_search import (
            SupernetSearch,
            as_one_shot_settings,
        )

        return SupernetSearch(
            self.space,
            self.task,
            as_one_shot_settings(method),
            folder,
            seed,
            SubnetSearch(make_strategy, objectives, limits),
            start,
            self.phase_shares,
        )

    def __call__(self, job: Job) -> Metrics:
        import_metrics()
        task = self.task
        pipeline = as_pipeline(self.space.fill(job.proposal.candidate), task)
        fills_time = self.until_deadline and math.isfinite(job.deadline)
        if fills_time and isinstance(pipeline.model, Training):
            pipeline = replace(pipeline, model=replace(pipeline.model, epochs=_MAX_EPOCHS))
        started_at = time.monotonic()
        inherited = InheritedWeights()
        if self.inherit:
            inherited = weights_of_best_parent(self.space, task, pipeline, job)
        fitted = fit(
            pipeline,
            task,
            seed=job.seed,
            initial_module=inherited.module,
            fidelity=job.proposal.fidelity * inherited.epochs_share(self.inherit),
            deadline=training_deadline(job.deadline, self.phase_shares.judging),
            metric_name=self.monitor or default_metric(task.kind),
            checkpoint_folder=job.folder if fills_time else None,
        )
        predictions = fitted.validation_predictions(task)
        fitted.save(job.folder)
        np.save(job.folder / VALIDATION, predictions)
        rows = task.validation
        metrics = score(task.kind, task.target[rows], predictions, weights=task.weights_of(rows))
        metrics["train_seconds"] = time.monotonic() - started_at
        if isinstance(fitted.model, FittedNetwork) and (curve := fitted.model.curve):
            (job.folder / CURVE).write_text(json.dumps(asdict(curve)))
            metrics |= {
                "train_seconds": curve.seconds,
                "epochs": curve.points[-1].epochs,
                "rows_per_second": curve.rows_per_second,
            }
        if self.inherit:
            save_for_children(inherited, job)
            metrics["inherited"] = inherited.share
        return metrics


def import_metrics() -> None:
    """Import scikit-learn's metrics before a training begins, rather than when its time is up."""
    import sklearn.metrics  # noqa: F401


def warm_up() -> None:
    """Load what no trial should pay for: the metrics, and what torch loads with its first step."""
    import_metrics()
    rows = LabelledData(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    module = torch.nn.Linear(2, 2)
    train(Training((), epochs=1), module, rows, rows.inputs, lambda outputs: 0.0, seed=0)


def training_deadline(deadline: float, scoring_share: float, n_fits: int = 1) -> float:
    """Return when the first of `n_fits` equally long fits has to end training.

    Args:
        deadline: for all fits with their scoring, on the clock of `time.monotonic()`.
        scoring_share: share of a fit's time that scoring and saving take.
        n_fits: number of fits until the deadline.
    """
    if math.isinf(deadline):
        return deadline
    now = time.monotonic()
    return now + (deadline - now) / n_fits * (1 - scoring_share)
