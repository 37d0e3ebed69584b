"""Train a candidate on the training rows, judge it on the validation rows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from netwright.data.task import Task
from netwright.errors import InputError, expected
from netwright.evaluators.training.weight_inheritance import Heritage, begin, leave
from netwright.files.run_layout import CURVE, VALIDATION
from netwright.interfaces.evaluator import Capabilities
from netwright.interfaces.strategy import MakeStrategy
from netwright.networks.training.loop import LabelledData, train
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

_KEEPS = 20
"""Best trials whose weights stay, for children."""


@dataclass(frozen=True)
class TrainAndValidate:
    """Fits the candidate's pipeline; its metrics are those of the validation rows.

    The epoch kept is the one best in `keep_best` (the task's default metric when empty). Leaves in
    the job's folder: `pipeline.json` and `weights.safetensors`, `validation.npy` (the predictions
    for the validation rows) and, of a network, `curve.json`: another learner has neither a curve
    nor `epochs`, and leaves files of its own in place of the weights.

    `inherit` above 0: a trial whose proposal names parents starts from the weights of the one that
    gives it most of its own (`netwright.networks.morphism.morph`). It trains the share `inherit` of its
    epochs when it computes the parent's function, and more the more of its weights are new, up to
    all of them. What was inherited is the metric `inherited` and stands in `about.json`; where the
    parent's weights are gone that says so, and the trial trains from scratch. Off (0) by default:
    what is measured is then a function of the candidate and its ancestors, who trained for it.

    `phases`: how a trial under a deadline, or a supernet, divides its time.
    """

    space: Space[Any]
    task: Task
    monitor: str = ""
    inherit: float = 0.0
    phases: PhaseShares = PhaseShares()

    def __post_init__(self) -> None:
        if not 0 <= self.inherit <= 1:
            fix = "Use 0 for no inheritance, 0.3 for three tenths of the epochs."
            raise InputError(expected("inherit", "from 0 to 1", self.inherit, fix))

    @property
    def metrics(self) -> tuple[str, ...]:
        return (
            *scored(self.task.kind),
            "train_seconds",
            "epochs",
            *["inherited"] * (self.inherit > 0),
        )

    @property
    def capabilities(self) -> Capabilities:
        """With `inherit`, the best trials keep their weights for children to come."""
        inherits = self.inherit > 0
        return Capabilities(
            supernet=self._supernet,
            leaves_files=True,
            keeps=_KEEPS if inherits else 0,
            fingerprint={"inherit": str(self.inherit)} if inherits else {},
            warm_up=warm_up,
        )

    def _supernet(
        self, method: Any, folder: Path, seed: int, make: MakeStrategy,
        objectives: Sequence[Objective], limits: Sequence[Limit], start: Candidate | None = None,
    ) -> SupernetSearch:  # fmt: skip
        """A search over shared weights, on this task's training rows; see `MakeSupernet`."""
        from netwright.evaluators.one_shot.single_path_search import Among
        from netwright.evaluators.one_shot.supernet_search import (
            SupernetSearch,  # few need it: loaded for them
        )

        among = Among(make, objectives, limits)
        return SupernetSearch(
            self.space, self.task, method, folder, seed, among, start, self.phases
        )

    def __call__(self, job: Job) -> Metrics:
        load_scores()
        task = self.task
        pipeline = as_pipeline(self.space.fill(job.proposal.candidate), task)
        begun = time.monotonic()
        heritage = begin(self.space, task, pipeline, job) if self.inherit else Heritage()
        fitted = fit(
            pipeline, task, seed=job.seed, initial_module=heritage.module,
            fidelity=job.proposal.fidelity * heritage.effort(self.inherit),
            deadline=before(job.deadline, self.phases.judging),
            metric_name=self.monitor or default_metric(task.kind),
        )  # fmt: skip
        predictions = fitted.predict(task.features.take(task.validation))
        fitted.save(job.folder)
        np.save(job.folder / VALIDATION, predictions)
        rows = task.validation
        scores = score(task.kind, task.target[rows], predictions, weights=task.weights_of(rows))
        scores["train_seconds"] = time.monotonic() - begun
        if isinstance(fitted.model, FittedNetwork) and (curve := fitted.model.curve):
            (job.folder / CURVE).write_text(json.dumps(asdict(curve)))
            scores |= {"train_seconds": curve.seconds, "epochs": float(curve.points[-1].epochs)}
        if self.inherit:
            leave(heritage, job)
            scores["inherited"] = heritage.share
        return scores


def load_scores() -> None:
    """scikit-learn: before a training begins, and not when its time is up."""
    import sklearn.metrics  # noqa: F401


def warm_up() -> None:
    """Load what no trial should pay for: much of torch with the first step of gradient descent, and
    what scores need."""
    load_scores()
    rows = LabelledData(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64))
    module = torch.nn.Linear(2, 2)
    train(Training((), epochs=1), module, rows, rows.inputs, lambda out: 0.0, seed=0)


def before(deadline: float, judging: float, parts: int = 1) -> float:
    """When a training has to end so that judging and saving, which take the share `judging`, do before
    the `deadline`; the first of `parts` equal ones."""
    if math.isinf(deadline):
        return deadline
    now = time.monotonic()
    return now + (deadline - now) / parts * (1 - judging)
