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
    """Predicts a cost of a filled network for one row of `input_shape`; `given` is as for `build`."""

    def __call__(
        self,
        network: Network,
        input_shape: Shape,
        /,
        **given: Any,  # noqa: ANN401  # as build's
    ) -> float: ...


@dataclass(frozen=True)
class NetworkCosts:
    """Evaluator of costs that need no training: parameters, FLOPs and memory for one row.

    Leaves `about.json`, the shape and kinds of the network's inputs, in the job's folder.

    Args:
        space: of the candidates; their descriptions have a network in them.
        task: its rows give the shapes.
        predictors: further costs, name -> function, such as the latency on a device.

    Example:
        >>> costs = NetworkCosts(space, task)
        >>> evaluator = combine(costs, TrainAndValidate(space, task))
    """

    space: Space[Any]
    task: Task
    predictors: Mapping[str, CostPredictor] = field(default_factory=dict)

    @property
    def metrics(self) -> tuple[str, ...]:
        """``parameters``, ``flops``, ``memory`` (bytes), and the predictors' names."""
        return (*NETWORK_COSTS, *self.predictors)

    @property
    def knowledge(self) -> NetworkKnowledge:
        """The costs and the networks' features, for strategies that use them before evaluating."""
        return NetworkKnowledge(
            self.space, lambda _, description: self.inputs_and_costs(description)[1]
        )

    @property
    def capabilities(self) -> Capabilities:
        """Capabilities: costs known before training. FLOPs decide which small models are kept."""
        return Capabilities(knowledge=self.knowledge, cost_metric="flops")

    def __call__(self, job: Job) -> Metrics:
        inputs, metrics = self.inputs_and_costs(self.space.fill(job.proposal.candidate))
        (job.folder / ABOUT).write_text(inputs.json())
        return metrics

    def inputs_and_costs(self, description: object) -> tuple[InputSpec, Metrics]:
        """Return the inputs of a description's model, and the costs of its network.

        Args:
            description: a filled pipeline, or a bare `Training`.

        Returns:
            The shape and kinds of the inputs, and metric -> cost for one row. Costs are empty for
            learners without a network, whose size is not known before they are fitted.

        Raises:
            InfeasibleCandidate: a layer cannot take its input.
            InputError: the description is not a pipeline for the task's kind of features.
        """
        pipeline = as_pipeline(description, self.task)
        inputs = cached_preprocessor(pipeline, self.task).input_spec(
            target_transform_of(self.task, pipeline).n_outputs
        )
        if not isinstance(pipeline.model, Training):
            return inputs, {}
        network_costs = costs(pipeline.model.network, inputs.shape, **inputs.given)
        metrics = {
            "parameters": float(network_costs.parameters),
            "flops": float(network_costs.flops),
            "memory": float(network_costs.memory),
        }
        for name, predict in self.predictors.items():
            metrics[name] = float(predict(pipeline.model.network, inputs.shape, **inputs.given))
        return inputs, metrics


def cost_predictors(metrics: Iterable[str]) -> dict[str, CostPredictor]:
    """Return the predictors of those metrics that have one, by name."""
    paths = {name: METRICS[name].predictor for name in metrics if name in METRICS}
    return {name: catalog.load(path) for name, path in paths.items() if path}
