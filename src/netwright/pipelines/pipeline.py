"""A pipeline: preparation and model, from raw columns or pixels to probabilities or values.

`TablePipeline` and `ImagePipeline` are descriptions: every field, down to a layer's kernel, may be
an open choice. Fitted, a pipeline predicts, writes itself as ONNX nodes, and is kept in a folder
as JSON and safetensors, never as a pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Features, Images, Table, Task
from netwright.errors import InputError, Phrase, expected
from netwright.networks.morphing import Inheritance
from netwright.networks.training import Examples, Training
from netwright.pipelines import network
from netwright.pipelines.models import FittedModel, Inputs, Judge, Learner, Rows
from netwright.pipelines.nodes import Nodes
from netwright.pipelines.steps import (
    Categories,
    FittedCategories,
    FittedNumeric,
    FittedScale,
    Numeric,
    Scale,
)
from netwright.trials.metrics import default_metric, metric, score

_TIE = 1e-4
"""Of the log loss, in the score of an epoch: few rows give many epochs one accuracy, or auc 1."""


@dataclass(frozen=True)
class TablePipeline:
    """Columns -> numbers filled and scaled, categories coded -> a network, or another learner."""

    model: Training | Learner
    numeric: Numeric = field(default_factory=Numeric)
    categories: Categories = field(default_factory=Categories)


@dataclass(frozen=True)
class ImagePipeline:
    """Pixels -> scaled channels -> a network."""

    model: Training
    scale: Scale = field(default_factory=Scale)


Pipeline: TypeAlias = TablePipeline | ImagePipeline

_SEEN = 256
"""Rows that tell what an inserted layer will meet."""
_NO_MODEL = Training(())
_PREPARED: WeakKeyDictionary[Task, dict[Pipeline, Preparation]] = WeakKeyDictionary()
"""Few settings of steps, many candidates: each would fit the same again."""


@dataclass(frozen=True)
class TableInputs:
    """Fitted preparation of a table: numbers first, then codes, in one matrix."""

    numeric: FittedNumeric
    categories: FittedCategories

    def inputs(self, features: Table) -> NDArray[np.float32]:
        """(rows, numbers + flags + codes), float32."""
        parts = [self.numeric.inputs(features), self.categories.inputs(features)]
        return np.concatenate(parts, axis=1)

    def emit(self, nodes: Nodes) -> str:
        steps = [step for step in (self.numeric, self.categories) if step.columns]
        parts = [step.emit(nodes) for step in steps]
        return nodes.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]

    def for_network(self, outputs: int) -> Inputs:
        cardinalities = self.categories.cardinalities
        width = self.numeric.outputs + len(cardinalities)
        return Inputs((width,), {"outputs": outputs, "cardinalities": cardinalities})


@dataclass(frozen=True)
class ImageInputs:
    """Fitted preparation of images: the first layer of the network scales them."""

    scale: FittedScale
    size: tuple[int, int, int]
    """Height, width, channels of the training images."""

    def inputs(self, features: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), uint8."""
        return self.scale.inputs(features)

    def emit(self, nodes: Nodes) -> str:
        return self.scale.emit(nodes, "image")

    def for_network(self, outputs: int) -> Inputs:
        h, w, c = self.size
        return Inputs((c, h, w), {"outputs": outputs}, self.scale.mean, self.scale.std)


class Preparation(Protocol):
    """Fitted steps: from the task's own kind of features to the one tensor a model takes."""

    def inputs(self, features: Any, /) -> NDArray[Any]: ...

    def emit(self, nodes: Nodes) -> str: ...

    def for_network(self, outputs: int) -> Inputs: ...


@dataclass(frozen=True)
class Target:
    """How outputs become predictions: class probabilities, or a number scaled back."""

    classes: int
    """0 for regression."""
    mean: float = 0.0
    std: float = 1.0

    @property
    def outputs(self) -> int:
        return self.classes or 1

    def scaled(self, target: NDArray[Any]) -> NDArray[Any]:
        """What the loss compares with: class numbers, or the target at mean 0 and deviation 1."""
        if self.classes:
            return target.astype(np.int64)
        return ((target - self.mean) / self.std).astype(np.float32)

    def examples(self, target: NDArray[Any]) -> torch.Tensor:
        """The same as a tensor."""
        return torch.from_numpy(self.scaled(target))

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[np.floating]:
        """(rows, classes) probabilities in float32, or (rows,) values in float64."""
        if not self.classes:
            return outputs[:, 0].astype(np.float64) * self.std + self.mean
        shifted = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities: NDArray[np.float32] = shifted / shifted.sum(1, keepdims=True)
        return probabilities


def prepare(pipeline: Pipeline, features: Features) -> Preparation:
    """The pipeline's preparation, fitted on these rows."""
    if isinstance(pipeline, ImagePipeline):
        assert isinstance(features, Images)
        return ImageInputs(pipeline.scale.fit(features), features.shape)
    assert isinstance(features, Table)
    return TableInputs(pipeline.numeric.fit(features), pipeline.categories.fit(features))


def prepared(pipeline: Pipeline, task: Task) -> Preparation:
    """The preparation fitted on the task's training rows; remembered as long as the task lives."""
    steps: Pipeline = replace(pipeline, model=_NO_MODEL)
    known = _PREPARED.setdefault(task, {})
    if steps not in known:
        known[steps] = prepare(steps, task.features.take(task.train))
    return known[steps]


def target_of(task: Task) -> Target:
    """Fitted on the training rows."""
    if task.kind != "regression":
        return Target(len(task.classes))
    values = np.asarray(task.target[task.train], np.float64)
    return Target(0, float(values.mean()), float(values.std()) or 1.0)


def as_pipeline(description: object, task: Task) -> Pipeline:
    """A filled description as a pipeline; a bare `Training` gets the standard preparation.

    Raises InputError when it is made for other features than the task's.
    """
    images = isinstance(task.features, Images)
    fitting = ImagePipeline if images else TablePipeline
    if isinstance(description, Training):
        return fitting(description)
    if isinstance(description, fitting):
        return description
    rule = f"a Training or {fitting.__name__} for {'images' if images else 'tables'}"
    raise InputError(expected("description", rule, Phrase(type(description).__name__)))


@dataclass(frozen=True)
class FittedPipeline:
    """Preparation, model and target, fitted."""

    preparation: Preparation
    model: FittedModel
    target: Target

    def predict(self, features: Features) -> NDArray[np.floating]:
        """(rows, classes) probabilities, or (rows,) values."""
        return self.target.predictions(self.model.outputs(self.preparation.inputs(features)))

    def save(self, folder: Path) -> None:
        """`pipeline.json` (what the steps learnt) and `weights.safetensors`."""
        state = {"preparation": asdict(self.preparation), "target": asdict(self.target)}  # type: ignore[call-overload]  # every Preparation is a dataclass
        (folder / "pipeline.json").write_text(json.dumps(state))
        self.model.save(folder)


def fit(
    pipeline: Pipeline,
    task: Task,
    *,
    seed: int,
    fidelity: float = 1.0,
    deadline: float = math.inf,
    metric_name: str = "",
    start: torch.nn.Module | None = None,
) -> FittedPipeline:
    """Fits on the task's training rows, keeping the epoch that scores best on its validation rows.

    `start`: the module to be trained, such as that of an `heir`; a new one when None.
    """
    train, held_out = task.features.take(task.train), task.features.take(task.validation)
    truth = task.target[task.validation]
    preparation, target = prepared(pipeline, task), target_of(task)
    rows = Rows(preparation.inputs(train), target.scaled(task.target[task.train]))
    judged = Rows(preparation.inputs(held_out), target.scaled(truth))
    name = metric_name or default_metric(task.kind)

    def judge(outputs: NDArray[np.float32]) -> float:
        scores = score(task.kind, truth, target.predictions(outputs))
        if name not in scores:  # the rows do not define it: auc of one class
            return scores["log_loss"]
        loss = scores[name] if metric(name).direction == "min" else -scores[name]
        return loss + _TIE * scores.get("log_loss", 0.0)

    model = _learn(
        pipeline.model, preparation.for_network(target.outputs), rows, judged, judge, seed=seed,
        fidelity=fidelity, deadline=deadline, start=start,
    )  # fmt: skip
    return FittedPipeline(preparation, model, target)


def _learn(
    model: Training | Learner, inputs: Inputs, rows: Rows, judged: Rows, judge: Judge, *,
    seed: int, fidelity: float, deadline: float, start: torch.nn.Module | None,
) -> FittedModel:  # fmt: skip
    """By gradient descent or otherwise."""
    effort: dict[str, Any] = {"seed": seed, "fidelity": fidelity, "deadline": deadline}
    if not isinstance(model, Training):
        return model.fit(inputs, rows, judged, judge, **effort)
    weights = None if rows.weights is None else torch.from_numpy(rows.weights).float()
    examples = Examples(torch.from_numpy(rows.inputs), torch.from_numpy(rows.targets), weights)
    return network.fit(model, inputs, examples, judged.inputs, judge, start=start, **effort)


def heir(
    pipeline: Pipeline, task: Task, old: Pipeline, parent: FittedPipeline, *, seed: int
) -> tuple[torch.nn.Module, Inheritance]:
    """The pipeline's untrained module with the weights of `parent`, which `old` became."""
    preparation = prepared(pipeline, task)
    inputs = preparation.for_network(target_of(task).outputs)
    some = preparation.inputs(task.features.take(task.train[:_SEEN]))
    known = parent.model
    if not isinstance(known, network.FittedNetwork):
        raise InputError(expected("parent", "a network", Phrase(type(known).__name__)))
    recipes = recipe_of(pipeline), recipe_of(old)
    module, found = network.inherit(recipes[0], inputs, recipes[1], known, some, seed=seed)
    if found.share and preparation != parent.preparation:
        found = replace(found, losses=(*found.losses, network.OTHERWISE))
    return module, found


def load(pipeline: Pipeline, folder: Path) -> FittedPipeline:
    """The pipeline that `FittedPipeline.save` left in `folder`, for the same filled description."""
    state = json.loads((folder / "pipeline.json").read_text())
    preparation, target = _preparation(state["preparation"]), Target(**state["target"])
    inputs = preparation.for_network(target.outputs)
    model = pipeline.model
    if isinstance(model, Training):
        return FittedPipeline(preparation, network.load(model, inputs, folder), target)
    return FittedPipeline(preparation, model.load(inputs, folder), target)


def recipe_of(pipeline: Pipeline) -> Training:
    """The recipe of a pipeline whose model is a network; InputError when it is none."""
    if not isinstance(pipeline.model, Training):
        raise InputError(expected("model", "a network", Phrase(type(pipeline.model).__name__)))
    return pipeline.model


def _preparation(state: Mapping[str, Any]) -> Preparation:
    """From JSON, where tuples became lists."""
    if "scale" in state:
        scale = FittedScale(tuple(state["scale"]["mean"]), tuple(state["scale"]["std"]))
        h, w, c = state["size"]
        return ImageInputs(scale, (h, w, c))
    numeric: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in state["numeric"].items()
    }
    categories = state["categories"]
    known = tuple(tuple(values) for values in categories["known"])
    return TableInputs(
        FittedNumeric(**numeric), FittedCategories(tuple(categories["columns"]), known)
    )
