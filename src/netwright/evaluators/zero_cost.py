"""Zero-cost scores of candidates, as an evaluator and as prior scores of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Images, Task
from netwright.errors import InputError, closest, expected
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.network_knowledge import NetworkKnowledge
from netwright.interfaces.evaluator import Capabilities
from netwright.networks.build import build
from netwright.networks.zero_cost.probes import ProbeBatch
from netwright.networks.zero_cost.scores import IMAGE_SCORES, ZERO_COST_SCORES, compute_scores
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.pipeline import (
    Pipeline,
    as_pipeline,
    cached_preprocessor,
    recipe_of,
    target_transform_of,
)
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

_COST_SCORES = ("parameters", "flops")
_IMAGE_SCORES = ("az_expressivity", "az_progressivity", "az_trainability", "flops")
"""AZ-NAS (Lee and Ham, 2024), which adds the logarithms of their ranks, as `Bayesian` does."""
_TABLE_SCORES = ("nwot", "synflow", "flops")


@dataclass(frozen=True)
class ZeroCost:
    """Evaluator of zero-cost scores: of the untrained network, on one batch; larger is better.

    Initial weights are drawn from the trial's seed.

    Args:
        space: of the candidates.
        task: gives the batch, from its training rows.
        scores: names in `netwright.networks.zero_cost.scores.ZERO_COST_SCORES`, "parameters" or
            "flops". Empty: those of AZ-NAS for images; "nwot", "synflow" and "flops" for tables.
        rows: of the batch, the same for all candidates; at least 2.
        seed: draws the batch.

    Raises:
        InputError: a score is unknown, or needs images and the task has none.

    Example:
        >>> zero_cost = ZeroCost(space, task)
        >>> study = Study(space, task=task, objectives="accuracy", knowledge=zero_cost.knowledge)
    """

    space: Space[Any]
    task: Task
    scores: Sequence[str] = ()
    rows: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        is_images = isinstance(self.task.features, Images)
        if not self.scores:
            object.__setattr__(self, "scores", _IMAGE_SCORES if is_images else _TABLE_SCORES)
        all_scores = (*ZERO_COST_SCORES, *_COST_SCORES)
        for name in self.scores:
            if name not in all_scores:
                fix = closest(name, all_scores) or f"Known: {', '.join(all_scores)}."
                raise InputError(expected("scores", "zero-cost scores", name, fix))
            if name in IMAGE_SCORES and not is_images:
                fix = f"Use {', '.join(_TABLE_SCORES)}."
                raise InputError(expected("scores", "those that need no images", name, fix))
        if self.rows < 2:
            raise InputError(expected("rows", "at least 2", self.rows))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.scores)

    @property
    def knowledge(self) -> NetworkKnowledge:
        """Costs, and these scores as prior scores: each new candidate is built once."""
        costs = NetworkCosts(self.space, self.task).knowledge.compute_costs
        return NetworkKnowledge(
            self.space, costs, lambda description: self._scores(description, self.seed)
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(knowledge=self.knowledge)

    def __call__(self, job: Job) -> Metrics:
        return self._scores(self.space.fill(job.proposal.candidate), job.seed)

    def _scores(self, description: object, seed: int) -> Metrics:
        pipeline = as_pipeline(description, self.task)
        inputs, costs = NetworkCosts(self.space, self.task).inputs_and_costs(description)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = build(recipe_of(pipeline).network, inputs.shape, **inputs.given)
        names = [name for name in self.scores if name in ZERO_COST_SCORES]
        scores = {**costs, **compute_scores(module, self._batch(pipeline, inputs), names)}
        return {name: scores[name] for name in self.scores}

    def _batch(self, pipeline: Pipeline, inputs: InputSpec) -> ProbeBatch:
        rows = self._batch_rows
        x = torch.from_numpy(
            cached_preprocessor(pipeline, self.task).transform(self.task.features.take(rows))
        )
        if inputs.mean:  # images: scaled here, so that gradients by the input exist
            mean, std = torch.tensor(inputs.mean), torch.tensor(inputs.std)
            x = (x.float() - mean[:, None, None]) / std[:, None, None]  # (b, c, h, w)
        targets = target_transform_of(self.task, pipeline).to_tensor(self.task.target[rows])
        return ProbeBatch(x.float(), targets, self.seed)

    @cached_property
    def _batch_rows(self) -> NDArray[np.int64]:
        rng = np.random.default_rng(self.seed)
        train = self.task.train
        return np.sort(rng.choice(train, min(self.rows, len(train)), replace=False))
