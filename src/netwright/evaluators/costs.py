"""Costs known without training: parameters, FLOPs and peak memory of the activations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from netwright import catalog
from netwright.data.task import Task
from netwright.evaluators.network_knowledge import NetworkKnowledge
from netwright.files.run_layout import ABOUT
from netwright.interfaces.evaluator import Capabilities
from netwright.networks.costs import costs
from netwright.networks.interfaces.layer import Network
from netwright.networks.interfaces.shapes import Shape
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.pipeline import as_pipeline, cached_preprocessor, target_transform_of
from netwright.space.space import Space
from netwright.trials.metrics import METRICS, NETWORK_COSTS
from netwright.trials.trial import Job, Metrics


class CostPredictor(Protocol):
    """What a filled network costs for one row of this shape; `given`: as for `build`."""

    def __call__(self, network: Network, input_shape: Shape, /, **given: Any) -> float: ...


@dataclass(frozen=True)
class NetworkCosts:
    """Parameters, FLOPs and memory (bytes) of a candidate's network, for one row of the task.

    `predictors`: further costs by their names, such as the latency on a device: functions of a
    network, the shape of a row, and what `build` is given. Leaves what the network takes in the job's
    folder, for those who want to look at it later.
    """

    space: Space[Any]
    task: Task
    predictors: Mapping[str, CostPredictor] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*NETWORK_COSTS, *self.predictors)

    @property
    def knowledge(self) -> NetworkKnowledge:
        """The same costs before anything is paid for, and what the networks look like."""
        return NetworkKnowledge(self.space, lambda _, description: self.about(description)[1])

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(knowledge=self.knowledge)

    def __call__(self, job: Job) -> Metrics:
        inputs, metrics = self.about(self.space.fill(job.proposal.candidate))
        (job.folder / ABOUT).write_text(inputs.json())
        return metrics

    def about(self, description: object) -> tuple[InputSpec, Metrics]:
        """What the model of a filled description takes, and what it costs where it is a network:
        what another learner comes to is not known before it has learnt."""
        pipeline = as_pipeline(description, self.task)
        inputs = cached_preprocessor(pipeline, self.task).input_spec(
            target_transform_of(self.task, pipeline).n_outputs
        )
        if not isinstance(pipeline.model, Training):
            return inputs, {}
        found = costs(pipeline.model.network, inputs.shape, **inputs.given)
        metrics = {
            "parameters": float(found.parameters),
            "flops": float(found.flops),
            "memory": float(found.memory),
        }
        for name, predict in self.predictors.items():
            metrics[name] = float(predict(pipeline.model.network, inputs.shape, **inputs.given))
        return inputs, metrics


def predictors_of(metrics: Iterable[str]) -> dict[str, CostPredictor]:
    """Those of the metrics that are predicted, each with its function."""
    known = {name: METRICS[name].predictor for name in metrics if name in METRICS}
    return {name: catalog.load(place) for name, place in known.items() if place}
