"""A pipeline: preparation and model, from raw columns or pixels to probabilities or values.

`TablePipeline` and `ImagePipeline` are descriptions: every field, down to a layer's kernel, may be
an open choice. Fitted, a pipeline predicts, writes itself as ONNX nodes, and is kept in a folder
as JSON and safetensors, never as a pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.data.task import Features, Images, Table, Task
from netwright.errors import BrokenFile, InputError, NetwrightError, Phrase, check_among, expected
from netwright.files.folder import Folder
from netwright.files.json_files import read_json
from netwright.files.run_layout import PIPELINE
from netwright.networks.morphism.morph import Inheritance
from netwright.networks.training.loop import LabelledData
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import (
    FittedModel,
    InputSpec,
    Learner,
    PreparedRows,
    ValidationLoss,
)
from netwright.pipelines.models import network
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.categories import Categories
from netwright.pipelines.preprocessing.channel_scaling import Scale
from netwright.pipelines.preprocessing.numeric import Numeric
from netwright.pipelines.preprocessing.preprocessor import (
    ImagePreprocessor,
    Preprocessor,
    TablePreprocessor,
    kinds_of,
)
from netwright.pipelines.preprocessing.redundant_columns import distinct
from netwright.pipelines.preprocessing.steps import Step, TargetMatrix
from netwright.pipelines.preprocessing.text import Text
from netwright.pipelines.serialization import read, written
from netwright.pipelines.target_transform import TargetScale, TargetTransform, fit_target_transform
from netwright.space.choices import inline, is_open
from netwright.space.frozen_dict import FrozenDict
from netwright.trials.losses import log_loss, loss_of
from netwright.trials.metrics import default_metric

_TIE = 1e-4
"""Of the log loss, in the score of an epoch: few rows give many epochs one accuracy, or auc 1."""


DEFAULT_STEPS: Mapping[str, Step] = FrozenDict(
    {"numeric": Numeric(), "text": Text(), "categories": Categories()}
)
"""What the columns of a table become, side by side, where a pipeline says nothing else."""


@dataclass(frozen=True)
class TablePipeline:
    """Columns -> steps side by side, such as numbers filled and scaled -> a network, or another
    learner.

    `steps`: by their names, beside or in place of `DEFAULT_STEPS`. Columns that are constant in the
    training rows, or copies of others, are left out. `target` "log" learns the logarithm of a target
    of positive numbers.
    """

    model: Training | Learner
    steps: Mapping[str, Step] = inline(default_factory=lambda: DEFAULT_STEPS)
    target: TargetScale = "plain"

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Mapping):
            fix = 'For example {"numeric": Numeric(scale="robust")}.'
            raise InputError(expected("steps", "a mapping of names to steps", self.steps, fix))
        for name, step in self.steps.items():
            if not isinstance(name, str) or name in ("model", "target", ""):
                raise InputError(expected("the name of a step", "a text of its own", name))
            if not is_open(step) and (isinstance(step, type) or not isinstance(step, Step)):
                rule = "made like Numeric(), with fit and kinds"
                raise InputError(expected(f"step {name}", rule, step))
        check_among("target", self.target, ("plain", "log"))
        object.__setattr__(self, "steps", FrozenDict({**DEFAULT_STEPS, **self.steps}))


@dataclass(frozen=True)
class ImagePipeline:
    """Pixels -> scaled channels -> a network."""

    model: Training
    scale: Scale = field(default_factory=Scale)


Pipeline: TypeAlias = TablePipeline | ImagePipeline

_SEEN = 256
"""Rows that tell what an inserted layer will meet."""
_NO_MODEL = Training(())
_PREPARED: WeakKeyDictionary[Task, dict[Pipeline, Preprocessor]] = WeakKeyDictionary()
"""Few settings of steps, many candidates: each would fit the same again."""


def fit_preprocessor(
    pipeline: Pipeline, features: Features, aims: TargetMatrix | None = None
) -> Preprocessor:
    """The pipeline's preparation, fitted on these rows; `aims`: their targets, for some steps."""
    if isinstance(pipeline, ImagePipeline):
        assert isinstance(features, Images)
        return ImagePreprocessor(pipeline.scale.fit(features), features.shape)
    assert isinstance(features, Table)
    return TablePreprocessor.fit(pipeline.steps, distinct(features), aims)


def cached_preprocessor(
    pipeline: Pipeline, task: Task, unsupervised_task: Task | None = None
) -> Preprocessor:
    """The preparation fitted on the task's training rows; remembered as long as the task lives.

    `seen`: a task whose training rows may be looked at by steps that know no target: the folds of
    one table then share one preparation.
    """
    if unsupervised_task is not None:
        whole = cached_preprocessor(pipeline, unsupervised_task)
        if not whole.supervised:
            return whole
        return cached_preprocessor(pipeline, task).sharing(whole)
    steps: Pipeline = replace(pipeline, model=_NO_MODEL)
    known = _PREPARED.setdefault(task, {})
    if steps not in known:
        aims = target_transform_of(task, pipeline).to_matrix(task.target[task.train])
        known[steps] = fit_preprocessor(steps, task.features.take(task.train), aims)
    return known[steps]


def training_inputs(
    pipeline: Pipeline, task: Task, *, seed: int, seen: Task | None = None
) -> NDArray[Any]:
    """The prepared training rows. Where a step knows targets, no row is told its own."""
    train = task.features.take(task.train)
    aims = target_transform_of(task, pipeline).to_matrix(task.target[task.train])
    groups = None if task.groups is None else task.groups[task.train]
    return cached_preprocessor(pipeline, task, seen).transform_training(train, aims, seed, groups)


def target_transform_of(task: Task, pipeline: Pipeline | None = None) -> TargetTransform:
    """Fitted on the training rows, on the pipeline's scale."""
    scale = pipeline.target if isinstance(pipeline, TablePipeline) else "plain"
    return fit_target_transform(task, scale)


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

    preprocessor: Preprocessor
    model: FittedModel
    target: TargetTransform

    @property
    def threshold(self) -> float:
        """Of two classes, the likelier one is the label."""
        return 0.5

    def predict(self, features: Features) -> NDArray[np.floating]:
        """(rows, classes) probabilities, or (rows,) values."""
        return self.target.predictions(self.model.outputs(self.preprocessor.transform(features)))

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """`predict` as nodes, from the columns or the image by their names."""
        prepared = nodes.cast(self.preprocessor.to_onnx(nodes), np.float32)
        return self.target.to_onnx(nodes, self.model.to_onnx(nodes, prepared))

    def save(self, folder: Path) -> None:
        """`PIPELINE` (what the steps learnt) and what the model saves beside it."""
        state = {"preparation": written(self.preprocessor), "target": written(self.target)}
        Folder(folder).write(PIPELINE, json.dumps(state))
        self.model.save(folder)


def fit(
    pipeline: Pipeline,
    task: Task,
    *,
    seed: int,
    fidelity: float = 1.0,
    deadline: float = math.inf,
    metric_name: str = "",
    initial_module: torch.nn.Module | None = None,
    unsupervised_task: Task | None = None,
) -> FittedPipeline:
    """Fits on the task's training rows, keeping the epoch that scores best on its validation rows.

    `start`: the module to be trained, such as that of an `heir`; a new one when None. `seen`: as in
    `prepared`.
    """
    truth = task.target[task.validation]
    preparation, target = (
        cached_preprocessor(pipeline, task, unsupervised_task),
        target_transform_of(task, pipeline),
    )
    inputs = training_inputs(pipeline, task, seed=seed, seen=unsupervised_task)
    weights = task.weights_of(task.validation)
    rows = PreparedRows(
        inputs, target.transform(task.target[task.train]), task.weights_of(task.train)
    )
    held_out = preparation.transform(task.features.take(task.validation))
    judged = PreparedRows(held_out, target.transform(truth), weights)
    name = metric_name or default_metric(task.kind)

    loss = loss_of(task.kind, name)

    def judge(outputs: NDArray[np.float32]) -> float:
        said = target.predictions(outputs)
        tie = _TIE * log_loss(said, truth, weights) if target.n_classes else 0.0
        return loss(said, truth, weights) + tie

    model = _learn(
        pipeline.model, preparation.input_spec(target.n_outputs), rows, judged, judge, seed=seed,
        fidelity=fidelity, deadline=deadline, start=initial_module,
    )  # fmt: skip
    return FittedPipeline(preparation, model, target)


def prune_members(
    fitted: FittedPipeline, features: Features, loss: Callable[[NDArray[Any]], float], keep: int
) -> FittedPipeline:
    """With `keep` members of its network, those that together have the least loss on the rows.

    `loss` takes predictions of these rows. Raises InputError where the model has no members.
    """
    model, target = fitted.model, fitted.target
    if not isinstance(model, network.FittedNetwork):
        raise InputError(expected("model", "a network", Phrase(type(model).__name__)))
    rows = fitted.preprocessor.transform(features)
    smaller = network.prune_members(model, rows, lambda out: loss(target.predictions(out)), keep)
    return replace(fitted, model=smaller)


def _learn(
    model: Training | Learner, inputs: InputSpec, rows: PreparedRows, judged: PreparedRows, judge: ValidationLoss, *,
    seed: int, fidelity: float, deadline: float, start: torch.nn.Module | None,
) -> FittedModel:  # fmt: skip
    """By gradient descent or otherwise."""
    effort: dict[str, Any] = {"seed": seed, "fidelity": fidelity, "deadline": deadline}
    if not isinstance(model, Training):
        return model.fit(inputs, rows, judged, judge, **effort)
    weights = None if rows.weights is None else torch.from_numpy(rows.weights).float()
    examples = LabelledData(torch.from_numpy(rows.inputs), torch.from_numpy(rows.targets), weights)
    return network.fit(
        model, inputs, examples, judged.inputs, judge, initial_module=start, **effort
    )


def inherit_weights(
    pipeline: Pipeline, task: Task, old: Pipeline, parent: FittedPipeline, *, seed: int
) -> tuple[torch.nn.Module, Inheritance]:
    """The pipeline's untrained module with the weights of `parent`, which `old` became."""
    preparation = cached_preprocessor(pipeline, task)
    inputs = preparation.input_spec(target_transform_of(task, pipeline).n_outputs)
    some = preparation.transform(task.features.take(task.train[:_SEEN]))
    known = parent.model
    if not isinstance(known, network.FittedNetwork):
        raise InputError(expected("parent", "a network", Phrase(type(known).__name__)))
    recipes = recipe_of(pipeline), recipe_of(old)
    module, found = network.inherit(recipes[0], inputs, recipes[1], known, some, seed=seed)
    if found.inherited_share and preparation != parent.preprocessor:
        found = replace(found, changes=(*found.changes, network.OTHERWISE))
    return module, found


def load(pipeline: Pipeline, place: Path | Folder) -> FittedPipeline:
    """The pipeline that `FittedPipeline.save` left in a folder, for the same filled description.

    Raises BrokenFile where a file is missing or damaged, or does not fit the description.
    """
    folder = Folder.of(place)
    state, what = read_json(folder, PIPELINE), str(folder.path / PIPELINE)
    if not isinstance(state, dict) or state.keys() != {"preparation", "target"}:
        raise BrokenFile(expected(what, "a preparation and a target", Phrase("something else")))
    steps = pipeline.steps if isinstance(pipeline, TablePipeline) else {}
    preparation: Preprocessor = read(state["preparation"], kinds_of(steps.values()), what)
    if isinstance(preparation, TablePreprocessor) and [*preparation.steps] != [*steps]:
        got = Phrase(", ".join(preparation.steps) or "none")
        raise BrokenFile(expected(f"steps in {what}", ", ".join(steps), got))
    target: TargetTransform = read(state["target"], [TargetTransform], what)
    try:
        inputs, model = preparation.input_spec(target.n_outputs), pipeline.model
        if isinstance(model, Training):
            return FittedPipeline(preparation, network.load(model, inputs, folder.path), target)
        return FittedPipeline(preparation, model.load(inputs, folder.path), target)
    except BrokenFile:
        raise
    except Exception as error:  # a learner of a user's own may raise anything at a damaged file
        raise BrokenFile(f"{folder} cannot be loaded: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    """The first line of what an error says, with its kind where it is not ours."""
    ours = isinstance(error, NetwrightError)
    first = str(error).strip().partition("\n")[0]
    return first if ours else f"{type(error).__name__}: {first}"


def recipe_of(pipeline: Pipeline) -> Training:
    """The recipe of a pipeline whose model is a network; InputError when it is none."""
    if not isinstance(pipeline.model, Training):
        raise InputError(expected("model", "a network", Phrase(type(pipeline.model).__name__)))
    return pipeline.model
