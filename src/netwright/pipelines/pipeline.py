"""A pipeline: preparation and model, from raw columns or pixels to probabilities or values.

`TablePipeline` and `ImagePipeline` are descriptions: every field, down to a layer's kernel, may be
an open choice. Fitted, a pipeline predicts, writes itself as ONNX nodes, and is kept in a folder
as JSON and safetensors, never as a pickle.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Features, Images, Table, Task
from netwright.errors import InfeasibleCandidate, InputError, Phrase, expected
from netwright.networks.morphing import Inheritance
from netwright.networks.training import Examples, Training
from netwright.pipelines import network
from netwright.pipelines.categories import Categories
from netwright.pipelines.distinct import distinct
from netwright.pipelines.encoders import Aims, class_aims
from netwright.pipelines.models import FittedModel, Inputs, Judge, Learner, Rows
from netwright.pipelines.numeric import Numeric
from netwright.pipelines.pixels import Scale
from netwright.pipelines.preparation import STEPS, ImageInputs, Preparation, TableInputs
from netwright.pipelines.states import read, written
from netwright.pipelines.text import Text
from netwright.trials.metrics import default_metric, metric, score

_TIE = 1e-4
"""Of the log loss, in the score of an epoch: few rows give many epochs one accuracy, or auc 1."""


TargetScale: TypeAlias = Literal["plain", "log"]


@dataclass(frozen=True)
class TablePipeline:
    """Columns -> numbers filled and scaled, categories coded -> a network, or another learner.

    Columns that are constant in the training rows, or copies of others, are left out. `target`
    "log" learns the logarithm of a target of positive numbers.
    """

    model: Training | Learner
    numeric: Numeric = field(default_factory=Numeric)
    categories: Categories = field(default_factory=Categories)
    text: Text = field(default_factory=Text)
    target: TargetScale = "plain"


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
class Target:
    """How outputs become predictions: class probabilities, or a number scaled back."""

    classes: int
    """0 for regression."""
    mean: float = 0.0
    std: float = 1.0
    log: tuple[float, float] | None = None
    """Where logarithms are learnt, of which `mean` and `std` are: the least and greatest said."""

    @property
    def outputs(self) -> int:
        return self.classes or 1

    def scaled(self, target: NDArray[Any]) -> NDArray[Any]:
        """What the loss compares with: class numbers, or the target at mean 0 and deviation 1."""
        if self.classes:
            return target.astype(np.int64)
        values = target if self.log is None else np.log(target)
        return ((values - self.mean) / self.std).astype(np.float32)

    def examples(self, target: NDArray[Any]) -> torch.Tensor:
        """The same as a tensor."""
        return torch.from_numpy(self.scaled(target))

    def aims(self, target: NDArray[Any]) -> Aims:
        """What supervised steps learn from, of the training rows' targets."""
        if self.classes:
            return class_aims(target)
        return self.scaled(target).astype(np.float64)[:, None]

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[np.floating]:
        """(rows, classes) probabilities in float32, or (rows,) values in float64."""
        if not self.classes:
            values = outputs[:, 0].astype(np.float64) * self.std + self.mean
            return values if self.log is None else np.exp(np.clip(values, *self.log))
        shifted = np.exp(outputs - outputs.max(1, keepdims=True))
        probabilities: NDArray[np.float32] = shifted / shifted.sum(1, keepdims=True)
        return probabilities

    def difference(self, some: NDArray[Any], others: NDArray[Any]) -> float:
        """The largest between predictions: of a probability, or in deviations of the target."""
        if not len(some):
            return 0.0
        if self.log is not None:
            some, others = np.log(some), np.log(others)
        return float(np.abs(some - others).max() / (1.0 if self.classes else self.std))


def prepare(pipeline: Pipeline, features: Features, aims: Aims | None = None) -> Preparation:
    """The pipeline's preparation, fitted on these rows; `aims`: their targets, for some steps."""
    if isinstance(pipeline, ImagePipeline):
        assert isinstance(features, Images)
        return ImageInputs(pipeline.scale.fit(features), features.shape)
    assert isinstance(features, Table)
    table = distinct(features)
    return TableInputs(
        pipeline.numeric.fit(table),
        pipeline.categories.fit(table, aims),
        pipeline.text.fit(table, aims),
    )


def prepared(pipeline: Pipeline, task: Task) -> Preparation:
    """The preparation fitted on the task's training rows; remembered as long as the task lives."""
    steps: Pipeline = replace(pipeline, model=_NO_MODEL)
    known = _PREPARED.setdefault(task, {})
    if steps not in known:
        aims = target_of(task, pipeline).aims(task.target[task.train])
        known[steps] = prepare(steps, task.features.take(task.train), aims)
    return known[steps]


def training_inputs(pipeline: Pipeline, task: Task, *, seed: int) -> NDArray[Any]:
    """The prepared training rows. Where a step knows targets, no row is told its own."""
    train = task.features.take(task.train)
    aims = target_of(task, pipeline).aims(task.target[task.train])
    groups = None if task.groups is None else task.groups[task.train]
    return prepared(pipeline, task).training_inputs(train, aims, seed, groups)


def target_of(task: Task, pipeline: Pipeline | None = None) -> Target:
    """Fitted on the training rows, on the pipeline's scale.

    Raises InfeasibleCandidate where the logarithm is wanted of a number that has none.
    """
    if task.kind != "regression":
        return Target(len(task.classes))
    values = np.asarray(task.target[task.train], np.float64)
    if not isinstance(pipeline, TablePipeline) or pipeline.target == "plain":
        return Target(0, float(values.mean()), float(values.std()) or 1.0)
    if task.target.min() <= 0:
        rule = "positive for its logarithm to be learnt"
        raise InfeasibleCandidate(expected("the target", rule, float(task.target.min())))
    logs = np.log(values)
    std = float(logs.std()) or 1.0
    # one deviation beyond what was seen: the exponential of a stray output has no bounds
    ends = float(logs.min()) - std, float(logs.max()) + std
    return Target(0, float(logs.mean()), std, ends)


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
        state = {"preparation": written(self.preparation), "target": written(self.target)}
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
    truth = task.target[task.validation]
    preparation, target = prepared(pipeline, task), target_of(task, pipeline)
    inputs = training_inputs(pipeline, task, seed=seed)
    rows = Rows(inputs, target.scaled(task.target[task.train]), _weights(task, task.train))
    held_out = preparation.inputs(task.features.take(task.validation))
    judged = Rows(held_out, target.scaled(truth), _weights(task, task.validation))
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


def _weights(task: Task, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    return None if task.weights is None else task.weights[rows]


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
    inputs = preparation.for_network(target_of(task, pipeline).outputs)
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
    preparation: Preparation = read(state["preparation"], STEPS)
    target: Target = read(state["target"], [Target])
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
