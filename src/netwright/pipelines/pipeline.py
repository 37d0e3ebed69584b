"""Pipelines: preprocessing and a model, from raw columns or pixels to predictions.

`TablePipeline` and `ImagePipeline` are descriptions: every field, down to a layer's kernel, may be
an open choice. A fitted pipeline predicts, writes itself as ONNX nodes and is saved in a folder as
JSON and safetensors, never as a pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias
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
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.recipe import Training
from netwright.pipelines.interfaces import (
    Arrays,
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
    state_types,
)
from netwright.pipelines.preprocessing.redundant_columns import drop_redundant_columns
from netwright.pipelines.preprocessing.steps import Step, TargetMatrix
from netwright.pipelines.preprocessing.text import Text
from netwright.pipelines.serialization import from_state, to_state
from netwright.pipelines.target_transform import TargetScale, TargetTransform, fit_target_transform
from netwright.space.choices import inline, is_open
from netwright.space.frozen_dict import FrozenDict
from netwright.trials.losses import log_loss, loss_of
from netwright.trials.metrics import default_metric

_TIE_BREAKING_WEIGHT = 1e-4
"""Weight of the log loss in the validation loss of a classifier: on few rows many epochs have the
same accuracy, or an AUC of 1."""

DEFAULT_STEPS: Mapping[str, Step] = FrozenDict(
    {"numeric": Numeric(), "text": Text(), "categories": Categories()}
)
"""The steps of every pipeline for tables, unless it replaces some."""


@dataclass(frozen=True)
class TablePipeline:
    """A pipeline for tables: preprocessing steps side by side, then a model.

    Columns that are constant in the training rows or duplicate another column are dropped before
    the steps.

    Args:
        model: a `Training` (a network and how it is trained) or another learner.
        steps: name -> preprocessing step, added to `DEFAULT_STEPS` (``"numeric"``, ``"text"``,
            ``"categories"``) or replacing those of the same name.
        target: ``"log"`` to learn the logarithm of a positive regression target, ``"plain"`` to
            learn the target itself.

    Raises:
        InputError: `steps` is not a mapping of names to steps, or `target` is unknown.

    Example:
        >>> pipeline = TablePipeline(LightGBM(), {"numeric": Numeric(scale="none")})
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
                rule = 'a string other than "", "model" and "target"'
                raise InputError(expected("the name of a step", rule, name))
            if not is_open(step) and (isinstance(step, type) or not isinstance(step, Step)):
                rule = "an object like Numeric(), with fit and state_types"
                raise InputError(expected(f"step {name}", rule, step))
        check_among("target", self.target, ("plain", "log"))
        object.__setattr__(self, "steps", FrozenDict({**DEFAULT_STEPS, **self.steps}))


@dataclass(frozen=True)
class ImagePipeline:
    """A pipeline for images: standardized channels, then a network.

    Args:
        model: the network and how it is trained.
        scale: the standardization of the channels.
    """

    model: Training
    scale: Scale = field(default_factory=Scale)


Pipeline: TypeAlias = TablePipeline | ImagePipeline

_N_CALIBRATION_ROWS = 256
"""Training rows whose activations calibrate layers inserted into a parent's network."""
_NO_MODEL = Training(())
_PREPROCESSORS: WeakKeyDictionary[Task, dict[Pipeline, Preprocessor]] = WeakKeyDictionary()
"""Fitted preprocessors by task and pipeline without model: many candidates share one."""


def fit_preprocessor(
    pipeline: Pipeline, features: Features, target_matrix: TargetMatrix | None = None
) -> Preprocessor:
    """Fit the pipeline's preprocessing.

    Args:
        pipeline: the pipeline.
        features: the training rows.
        target_matrix: their targets, for supervised steps.
    """
    if isinstance(pipeline, ImagePipeline):
        assert isinstance(features, Images)
        return ImagePreprocessor(pipeline.scale.fit(features), features.shape)
    assert isinstance(features, Table)
    return TablePreprocessor.fit(pipeline.steps, drop_redundant_columns(features), target_matrix)


def cached_preprocessor(
    pipeline: Pipeline, task: Task, unsupervised_task: Task | None = None
) -> Preprocessor:
    """Return the preprocessor fitted on the task's training rows, cached while the task lives.

    Args:
        pipeline: the pipeline.
        task: the task.
        unsupervised_task: a task on whose training rows the unsupervised steps are fitted instead:
            all folds of a table then share them.
    """
    if unsupervised_task is not None:
        shared = cached_preprocessor(pipeline, unsupervised_task)
        if not shared.supervised:
            return shared
        return cached_preprocessor(pipeline, task).with_unsupervised_steps_of(shared)
    steps: Pipeline = replace(pipeline, model=_NO_MODEL)
    preprocessors = _PREPROCESSORS.setdefault(task, {})
    if steps not in preprocessors:
        target_matrix = _training_target_matrix(pipeline, task)
        features = task.features.take(task.train)
        preprocessors[steps] = fit_preprocessor(steps, features, target_matrix)
    return preprocessors[steps]


def training_inputs(
    pipeline: Pipeline, task: Task, *, seed: int, unsupervised_task: Task | None = None
) -> Arrays:
    """Return the preprocessed training rows; supervised steps encode them out of fold."""
    train = task.features.take(task.train)
    target_matrix = _training_target_matrix(pipeline, task)
    groups = None if task.groups is None else task.groups[task.train]
    preprocessor = cached_preprocessor(pipeline, task, unsupervised_task)
    return preprocessor.transform_training(train, target_matrix, seed, groups)


def _training_target_matrix(pipeline: Pipeline, task: Task) -> TargetMatrix:
    return target_transform_of(task, pipeline).to_matrix(task.target[task.train])


def target_transform_of(task: Task, pipeline: Pipeline | None = None) -> TargetTransform:
    """Fit the pipeline's target transform on the task's training rows."""
    scale = pipeline.target if isinstance(pipeline, TablePipeline) else "plain"
    return fit_target_transform(task, scale)


def as_pipeline(description: object, task: Task) -> Pipeline:
    """Return a filled description as a pipeline; a bare `Training` gets default preprocessing.

    Raises:
        InputError: The description is not a pipeline for the task's kind of features.
    """
    is_image_task = isinstance(task.features, Images)
    pipeline_type = ImagePipeline if is_image_task else TablePipeline
    if isinstance(description, Training):
        return pipeline_type(description)
    if isinstance(description, pipeline_type):
        return description
    features = "images" if is_image_task else "tables"
    rule = f"a Training or {pipeline_type.__name__} for {features}"
    raise InputError(expected("description", rule, Phrase(type(description).__name__)))


@dataclass(frozen=True)
class FittedPipeline:
    """A fitted pipeline.

    Args:
        preprocessor: the fitted preprocessing.
        model: the fitted model.
        target: the target transform.
    """

    preprocessor: Preprocessor
    model: FittedModel
    target: TargetTransform

    def validation_predictions(self, task: Task) -> NDArray[np.floating]:
        """Return `predict` of the validation rows it was fitted with.

        A network has computed them while it was trained.

        Args:
            task: the task that it was fitted on.
        """
        outputs = getattr(self.model, "validation_outputs", None)
        if outputs is None:
            return self.predict(task.features.take(task.validation))
        return self.target.predictions(outputs)

    @property
    def threshold(self) -> float:
        """Decision threshold of two classes: the likelier one is the label."""
        return 0.5

    def predict(self, features: Features) -> NDArray[np.floating]:
        """Return probabilities (rows, classes) in float32, or values (rows,) in float64."""
        return self.target.predictions(self.model.outputs(self.preprocessor.transform(features)))

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `predict`, from the columns or the image; return their output's name."""
        inputs = builder.cast(self.preprocessor.to_onnx(builder), np.float32)
        return self.target.to_onnx(builder, self.model.to_onnx(builder, inputs))

    def save(self, folder: Path) -> None:
        """Write `PIPELINE` (the fitted preprocessing and target) and the model's files."""
        state = {"preparation": to_state(self.preprocessor), "target": to_state(self.target)}
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
    checkpoint_folder: Path | None = None,
) -> FittedPipeline:
    """Fit a pipeline on the task's training rows, with early stopping on its validation rows.

    Args:
        pipeline: the filled pipeline.
        task: the task.
        seed: seed of the fit.
        fidelity: share of the full effort, in (0, 1].
        deadline: seconds of `time.monotonic()` by which to stop with what has been fitted.
        metric_name: the metric that chooses the epoch or round; the task's default if empty.
        initial_module: the network to train, as from `inherit_weights`; None for a new one.
        unsupervised_task: as in `cached_preprocessor`.
        checkpoint_folder: where a network saves its training; see `networks.training.loop.train`.

    Raises:
        InfeasibleCandidate: The model cannot be built or cannot learn these rows.
    """
    truth = task.target[task.validation]
    preprocessor = cached_preprocessor(pipeline, task, unsupervised_task)
    target = target_transform_of(task, pipeline)
    inputs = training_inputs(pipeline, task, seed=seed, unsupervised_task=unsupervised_task)
    train_targets = target.transform(task.target[task.train])
    rows = PreparedRows(inputs, train_targets, task.weights_of(task.train))
    weights = task.weights_of(task.validation)
    validation_inputs = preprocessor.transform(task.features.take(task.validation))
    validation_rows = PreparedRows(validation_inputs, target.transform(truth), weights)
    loss = loss_of(task.kind, metric_name or default_metric(task.kind))

    def validation_loss(outputs: NDArray[np.float32]) -> float:
        predictions = target.predictions(outputs)
        if not target.n_classes:
            return loss(predictions, truth, weights)
        tie_breaker = _TIE_BREAKING_WEIGHT * log_loss(predictions, truth, weights)
        return loss(predictions, truth, weights) + tie_breaker

    model = _fit_model(
        pipeline.model,
        preprocessor.input_spec(target.n_outputs),
        rows,
        validation_rows,
        validation_loss,
        seed=seed,
        fidelity=fidelity,
        deadline=deadline,
        initial_module=initial_module,
        checkpoint_folder=checkpoint_folder,
    )
    return FittedPipeline(preprocessor, model, target)


def prune_members(
    fitted: FittedPipeline, features: Features, loss: Callable[[Arrays], float], keep: int
) -> FittedPipeline:
    """Keep some members of the pipeline's network: those with the lowest loss together.

    Args:
        fitted: a pipeline whose network is an ensemble (TabM).
        features: the rows to choose by.
        loss: loss of predictions for these rows.
        keep: number of members to keep.

    Raises:
        InputError: The model is not a network with members.
    """
    model, target = fitted.model, fitted.target
    if not isinstance(model, network.FittedNetwork):
        raise InputError(expected("model", "a network", Phrase(type(model).__name__)))
    inputs = fitted.preprocessor.transform(features)
    smaller = network.prune_members(
        model, inputs, lambda outputs: loss(target.predictions(outputs)), keep
    )
    return replace(fitted, model=smaller)


def _fit_model(
    model: Training | Learner,
    input_spec: InputSpec,
    rows: PreparedRows,
    validation_rows: PreparedRows,
    validation_loss: ValidationLoss,
    *,
    seed: int,
    fidelity: float,
    deadline: float,
    initial_module: torch.nn.Module | None,
    checkpoint_folder: Path | None,
) -> FittedModel:
    """Train a network, or fit another learner."""
    if not isinstance(model, Training):
        return model.fit(
            input_spec,
            rows,
            validation_rows,
            validation_loss,
            seed=seed,
            fidelity=fidelity,
            deadline=deadline,
        )
    weights = None if rows.weights is None else torch.from_numpy(rows.weights).float()
    examples = LabelledData(torch.from_numpy(rows.inputs), torch.from_numpy(rows.targets), weights)
    return network.fit(
        model,
        input_spec,
        examples,
        validation_rows.inputs,
        validation_loss,
        seed=seed,
        fidelity=fidelity,
        deadline=deadline,
        initial_module=initial_module,
        checkpoint_folder=checkpoint_folder,
    )


def inherit_weights(
    pipeline: Pipeline, task: Task, parent_pipeline: Pipeline, parent: FittedPipeline, *, seed: int
) -> tuple[torch.nn.Module, Inheritance]:
    """Build the pipeline's network with the weights of a parent's.

    Args:
        pipeline: the child.
        task: the task of both.
        parent_pipeline: the filled description of the parent.
        parent: the fitted parent.
        seed: draws what is not inherited.

    Returns:
        The module to train and what it has inherited.

    Raises:
        InputError: The model of one of them is not a network.
    """
    preprocessor = cached_preprocessor(pipeline, task)
    input_spec = preprocessor.input_spec(target_transform_of(task, pipeline).n_outputs)
    calibration_rows = task.features.take(task.train[:_N_CALIBRATION_ROWS])
    calibration_inputs = preprocessor.transform(calibration_rows)
    parent_model = parent.model
    if not isinstance(parent_model, network.FittedNetwork):
        raise InputError(expected("parent", "a network", Phrase(type(parent_model).__name__)))
    recipe, parent_recipe = recipe_of(pipeline), recipe_of(parent_pipeline)
    module, inheritance = network.inherit(
        recipe, input_spec, parent_recipe, parent_model, calibration_inputs, seed=seed
    )
    if inheritance.inherited_share and preprocessor != parent.preprocessor:
        changes = (*inheritance.changes, network.PREPROCESSING_DIFFERS)
        inheritance = replace(inheritance, changes=changes)
    return module, inheritance


def load(pipeline: Pipeline, path: Path | Folder) -> FittedPipeline:
    """Load what `FittedPipeline.save` wrote, for the same filled description.

    Raises:
        BrokenFile: A file is missing or damaged, or does not fit the description.
    """
    folder = Folder.of(path)
    state, what = read_json(folder, PIPELINE), str(folder.path / PIPELINE)
    if not isinstance(state, dict) or state.keys() != {"preparation", "target"}:
        raise BrokenFile(expected(what, "a preparation and a target", Phrase("something else")))
    steps = pipeline.steps if isinstance(pipeline, TablePipeline) else {}
    preprocessor: Preprocessor = from_state(state["preparation"], state_types(steps.values()), what)
    if isinstance(preprocessor, TablePreprocessor) and [*preprocessor.steps] != [*steps]:
        got = Phrase(", ".join(preprocessor.steps) or "none")
        raise BrokenFile(expected(f"steps in {what}", ", ".join(steps), got))
    target: TargetTransform = from_state(state["target"], [TargetTransform], what)
    try:
        input_spec, model = preprocessor.input_spec(target.n_outputs), pipeline.model
        if isinstance(model, Training):
            fitted = network.load(model, input_spec, folder.path)
            return FittedPipeline(preprocessor, fitted, target)
        return FittedPipeline(preprocessor, model.load(input_spec, folder.path), target)
    except BrokenFile:
        raise
    except Exception as error:  # a user's learner may raise anything on a damaged file
        raise BrokenFile(f"{folder} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message, with the error's class if it is not ours."""
    first_line = str(error).strip().partition("\n")[0]
    is_ours = isinstance(error, NetwrightError)
    return first_line if is_ours else f"{type(error).__name__}: {first_line}"


def recipe_of(pipeline: Pipeline) -> Training:
    """Return the training recipe of a pipeline whose model is a network.

    Raises:
        InputError: The model is not a network.
    """
    if not isinstance(pipeline.model, Training):
        raise InputError(expected("model", "a network", Phrase(type(pipeline.model).__name__)))
    return pipeline.model
