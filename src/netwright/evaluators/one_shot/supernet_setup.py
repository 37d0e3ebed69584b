"""Set up a supernet search: the network of a space, its rows and inputs, its files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from netwright.data.task import Task
from netwright.errors import BrokenFile, InputError, Phrase, expected
from netwright.files.folder import Folder
from netwright.files.json_files import from_plain, read_json
from netwright.networks.interfaces.layer import Network
from netwright.networks.tabular.columns import Columns
from netwright.networks.training.labelled_data import LabelledData
from netwright.networks.training.recipe import Training
from netwright.oneshot.epoch_trainer import BatchTransform
from netwright.oneshot.gradient.held_decisions import all_decision_values, walk_description
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.models.network import Standardise
from netwright.pipelines.pipeline import (
    Pipeline,
    as_pipeline,
    cached_preprocessor,
    recipe_of,
    target_transform_of,
    training_inputs,
)
from netwright.space.candidate import Candidate, Value
from netwright.space.space import Space
from netwright.space.visitor import join_path

T = TypeVar("T")


@dataclass(frozen=True)
class SupernetSetup:
    """The network of a space's description, with the rows and inputs to train a supernet of it.

    Args:
        space: its description is a `Training`, or a pipeline with one as its model.
        task: gives the rows.
        folder: for files, such as checkpoints; it need not exist.
        seed: of the preprocessing of the training rows.
        start: a candidate that decides everything outside the network; None for the default one.

    Raises:
        InputError: there is no network to search, when it is first needed.
    """

    space: Space[Any]
    task: Task
    folder: Path
    seed: int = 0
    start: Candidate | None = None

    @property
    def prefix(self) -> str:
        """Path of the network in the description."""
        return self._network[0]

    @property
    def network(self) -> Network:
        """The network, with its open choices."""
        return self._network[1]

    @cached_property
    def inputs(self) -> InputSpec:
        """Shape and kinds of the network's inputs."""
        return cached_preprocessor(self._pipeline, self.task).input_spec(
            target_transform_of(self.task, self._pipeline).n_outputs
        )

    @property
    def device(self) -> torch.device:
        """The GPU, or the CPU if there is none."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def training_rows(self) -> LabelledData:
        """Return the task's training rows, preprocessed; images are not scaled yet."""
        task = self.task
        inputs = training_inputs(self._pipeline, task, seed=self.seed)
        targets = target_transform_of(task, self._pipeline).to_tensor(task.target[task.train])
        return LabelledData(torch.from_numpy(inputs), targets)

    def batch_transform(self) -> BatchTransform:
        """Return the recipe's augmentation, and the scaling of images."""
        inputs, augment = self.inputs, recipe_of(self._pipeline).augment
        if not inputs.mean:
            return BatchTransform(augment, nn.Identity())
        return BatchTransform(augment, Standardise(inputs.mean, inputs.std).to(self.device))

    @cached_property
    def decision_values(self) -> Mapping[str, Value]:
        """Path -> value for every decision: as in `start`, or its default if inactive there."""
        return all_decision_values(self.space, self._start)

    def values_outside_network(self) -> dict[str, Value]:
        """Return the values of the decisions outside the network."""
        return {
            path: value
            for path, value in self.decision_values.items()
            if path not in self._network_paths
        }

    @cached_property
    def values_without_columns(self) -> Mapping[str, Value]:
        """The values of decisions on kinds of columns that the table does not have."""
        prefixes = tuple(self._paths_without_columns())
        return {
            path: value
            for path, value in self.decision_values.items()
            if any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)
        }

    # Files

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file into the folder, atomically."""
        folder = self._safe_folder
        folder.make()
        folder.write(name, json.dumps(content))

    def read(self, name: str) -> dict[str, Any]:
        """Read a JSON file; empty if it is missing or damaged."""
        try:
            content = read_json(self._safe_folder, name)
        except BrokenFile:
            return {}
        return content if isinstance(content, dict) else {}

    def read_as(self, name: str, kind: type[T]) -> T | None:
        """Read a JSON file as an instance of `kind`; None if it is missing or damaged."""
        try:
            return from_plain(read_json(self._safe_folder, name), kind, str(self.folder / name))
        except BrokenFile:
            return None

    @property
    def _safe_folder(self) -> Folder:
        """The folder below its run, which must not be a link."""
        path = self.folder.absolute()
        return Folder(path.parent) / path.name

    # Inside

    @cached_property
    def _network_paths(self) -> frozenset[str]:
        description: object = self.network
        for name in reversed(self.prefix.split(".")):
            description = {name: description}
        return frozenset(decision.path for decision in Space(description).decisions)

    def _paths_without_columns(self) -> Iterator[str]:
        """Yield the paths of encodings in the network for kinds of columns that the table lacks."""
        if "cardinalities" not in self.inputs.given:
            return
        (width,), cardinalities = self.inputs.shape, self.inputs.given["cardinalities"]
        # only a first layer sees the table's columns
        first_layer_paths = {self.prefix, join_path(self.prefix, 0)}
        for path, layer in walk_description(self.network, self.prefix):
            if isinstance(layer, Columns) and path in first_layer_paths:
                if max(cardinalities, default=0) < 2:  # as `Columns` itself decides
                    yield join_path(path, "categorical")
                if width == len(cardinalities):
                    yield join_path(path, "numeric")

    @cached_property
    def _start(self) -> Candidate:
        return self.space.default() if self.start is None else self.start

    @cached_property
    def _pipeline(self) -> Pipeline:
        return as_pipeline(self.space.fill(self._start), self.task)

    @cached_property
    def _network(self) -> tuple[str, Network]:
        recipe, prefix = self.space.description, "network"
        if not isinstance(recipe, Training):
            recipe, prefix = getattr(recipe, "model", None), "model.network"
        if not isinstance(recipe, Training):
            rule = "a Training, or a pipeline around one, for a search with shared weights"
            got = Phrase(type(self.space.description).__name__)
            raise InputError(expected("description", rule, got))
        return prefix, recipe.network
