"""Zero-cost scores of candidates: as an evaluator, and as what a search expects beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netwright.data.task import Task
from netwright.errors import InputError, closest, expected
from netwright.evaluators.costs import NetworkCosts
from netwright.evaluators.knowledge import NetworkKnowledge
from netwright.networks.build import build
from netwright.networks.proxies import MEASURES, Probe, measured
from netwright.pipelines.models import Inputs
from netwright.pipelines.pipeline import as_pipeline, prepared, target_of
from netwright.space.space import Space
from netwright.trials.trial import Job, Metrics

AZ_NAS = ("az_expressivity", "az_progressivity", "az_trainability")
"""With FLOPs, merged by the logarithms of their ranks (Lee and Ham 2024), as `Bayesian` merges."""


@dataclass(frozen=True)
class ZeroCost:
    """Scores of a candidate's untrained network on one batch of training rows; the more the better.

    `scores`: names of `netwright.networks.proxies.MEASURES`, and "parameters" or "flops". `rows`:
    of the batch, the same for all candidates. Initial weights are drawn from the trial's seed.
    """

    space: Space[Any]
    task: Task
    scores: Sequence[str] = (*AZ_NAS, "flops")
    rows: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        known = (*MEASURES, "parameters", "flops")
        for name in self.scores:
            if name not in known:
                fix = closest(name, known) or f"Known: {', '.join(known)}."
                raise InputError(expected("scores", "zero-cost scores", name, fix))
        if not self.scores:
            raise InputError(expected("scores", "at least one", list(self.scores)))
        if self.rows < 2:
            raise InputError(expected("rows", "at least 2", self.rows))

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self.scores)

    @property
    def knowledge(self) -> NetworkKnowledge:
        """Costs as metrics known, and these scores as hints: each new candidate is built once."""
        known = NetworkCosts(self.space, self.task).knowledge
        return NetworkKnowledge(self.space, known.costs, lambda of: self._scores(of, self.seed))

    def __call__(self, job: Job) -> Metrics:
        return self._scores(self.space.fill(job.proposal.candidate), job.seed)

    def _scores(self, description: object, seed: int) -> Metrics:
        pipeline = as_pipeline(description, self.task)
        inputs = prepared(pipeline, self.task).for_network(target_of(self.task).outputs)
        network = pipeline.model.network

        def make() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return build(network, inputs.shape, **inputs.given)

        costs = NetworkCosts(self.space, self.task)
        found = dict(measured(make, self._probe(pipeline, inputs), self._measures))
        _, known = costs.about(description)
        return {name: found.get(name, known.get(name, 0.0)) for name in self.scores}

    @property
    def _measures(self) -> list[str]:
        return [name for name in self.scores if name in MEASURES]

    def _probe(self, pipeline: Any, inputs: Inputs) -> Probe:
        rows = self._rows
        x = torch.from_numpy(prepared(pipeline, self.task).inputs(self.task.features.take(rows)))
        if inputs.mean:  # images: scaled here, so that gradients by the input exist
            mean, std = torch.tensor(inputs.mean), torch.tensor(inputs.std)
            x = (x.float() - mean[:, None, None]) / std[:, None, None]
        targets = target_of(self.task).examples(self.task.target[rows])
        return Probe(x.float(), targets, _loss_of(self.task), self.seed)

    @cached_property
    def _rows(self) -> Any:
        rng = np.random.default_rng(self.seed)
        train = self.task.train
        return np.sort(rng.choice(train, min(self.rows, len(train)), replace=False))


def _loss_of(task: Task) -> Any:
    if task.kind != "regression":
        return nn.functional.cross_entropy

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs.squeeze(1), targets)

    return squared
