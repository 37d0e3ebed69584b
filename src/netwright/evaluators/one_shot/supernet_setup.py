"""A task and a space, opened for searches over shared weights: the network, its rows, its inputs."""

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
from netwright.networks.training.loop import LabelledData
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
class Opened:
    """The one network of a space's description; everything around it is as in `start`.

    `folder`: for what is left behind; `start`: a candidate of the space, its default when None.
    Raises InputError when the description has not one network.
    """

    space: Space[Any]
    task: Task
    folder: Path
    seed: int = 0
    start: Candidate | None = None

    @property
    def prefix(self) -> str:
        """Where the network stands in the description."""
        return self._network[0]

    @property
    def network(self) -> Network:
        """The open network."""
        return self._network[1]

    @cached_property
    def inputs(self) -> InputSpec:
        """What the network takes."""
        return cached_preprocessor(self._pipeline, self.task).input_spec(
            target_transform_of(self.task, self._pipeline).n_outputs
        )

    @property
    def device(self) -> torch.device:
        """The accelerator, where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def rows(self) -> LabelledData:
        """The task's training rows, prepared and not scaled."""
        task = self.task
        inputs = training_inputs(self._pipeline, task, seed=self.seed)
        targets = target_transform_of(task, self._pipeline).to_tensor(task.target[task.train])
        return LabelledData(torch.from_numpy(inputs), targets)

    def feed(self) -> BatchTransform:
        """Augmentation and scaling as the recipe and the pixels want them."""
        inputs, augment = self.inputs, recipe_of(self._pipeline).augment
        if not inputs.mean:
            return BatchTransform(augment, nn.Identity())
        return BatchTransform(augment, Standardise(inputs.mean, inputs.std).to(self.device))

    @cached_property
    def values(self) -> Mapping[str, Value]:
        """A value for every decision: that of `start`, where it decides."""
        return all_decision_values(self.space, self._start)

    def outside(self) -> dict[str, Value]:
        """The value of every decision that is no part of the network."""
        return {path: value for path, value in self.values.items() if path not in self._paths}

    @cached_property
    def idle(self) -> Mapping[str, Value]:
        """The value of every decision on a kind of columns that the table does not have."""
        idle = tuple(self._without_columns())
        return {
            path: value for path, value in self.values.items()
            if any(path == part or path.startswith(f"{part}.") for part in idle)
        }  # fmt: skip

    # What is left behind

    def write(self, name: str, found: Mapping[str, Any]) -> None:
        """As JSON in the folder, whole or not at all."""
        folder = self._kept
        folder.make()
        folder.write(name, json.dumps(found))

    def read(self, name: str) -> dict[str, Any]:
        """What was written; empty where nothing was, or it cannot be read."""
        try:
            found = read_json(self._kept, name)
        except BrokenFile:
            return {}
        return found if isinstance(found, dict) else {}

    def read_as(self, name: str, kind: type[T]) -> T | None:
        """What was written, as `kind`; None where nothing was, or it is damaged."""
        try:
            return from_plain(read_json(self._kept, name), kind, str(self.folder / name))
        except BrokenFile:
            return None

    @property
    def _kept(self) -> Folder:
        """The folder as one of a run: it may not be a link."""
        whole = self.folder.absolute()
        return Folder(whole.parent) / whole.name

    # Inside

    @cached_property
    def _paths(self) -> frozenset[str]:
        part: Any = self.network
        for step in reversed(self.prefix.split(".")):
            part = {step: part}
        return frozenset(one.path for one in Space(part).decisions)

    def _without_columns(self) -> Iterator[str]:
        """Paths of what the network would make of columns, where there are none of them."""
        if "cardinalities" not in self.inputs.given:
            return
        (width,), codes = self.inputs.shape, self.inputs.given["cardinalities"]
        first = {
            self.prefix,
            join_path(self.prefix, 0),
        }  # behind other layers columns are no longer these
        for path, part in walk_description(self.network, self.prefix):
            if isinstance(part, Columns) and path in first:
                if max(codes, default=0) < 2:  # as `Columns` itself decides
                    yield join_path(path, "categorical")
                if width == len(codes):
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
            rule = "a Training, or a pipeline around one, to be searched by shared weights"
            got = Phrase(type(self.space.description).__name__)
            raise InputError(expected("description", rule, got))
        return prefix, recipe.network
