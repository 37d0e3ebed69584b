"""The fitted preparation: all steps of a pipeline, from a task's features to one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Table
from netwright.pipelines.interfaces import Inputs
from netwright.pipelines.onnx.graph_builder import Nodes
from netwright.pipelines.preprocessing.pixels import FittedScale
from netwright.pipelines.preprocessing.steps import Aims, FittedStep, Groups, Step, joined


class Preparation(Protocol):
    """Fitted steps: from the task's own kind of features to the one tensor a model takes."""

    def inputs(self, features: Any, /) -> NDArray[Any]:
        """Any rows but those learnt from."""
        ...

    def training_inputs(
        self, features: Any, aims: Aims, seed: int, groups: Groups = None, /
    ) -> NDArray[Any]:
        """The rows learnt from, with their targets, of which a row is not told its own.

        Nor those of its group. The same as `inputs` where no step knows the target.
        """
        ...

    def emit(self, nodes: Nodes) -> str:
        """`inputs` as nodes; returns the tensor's name."""
        ...

    def for_network(self, outputs: int) -> Inputs:
        """What the model is told of its inputs."""
        ...

    @property
    def supervised(self) -> bool:
        """Whether a step knows the targets of the rows it was fitted on."""
        ...

    def sharing(self, whole: Any, /) -> Preparation:
        """With those steps of `whole`, fitted on more rows, that know no target."""
        ...


@dataclass(frozen=True)
class TableInputs:
    """Fitted preparation of a table: the matrices of its steps, side by side; codes come last."""

    steps: Mapping[str, FittedStep]

    @classmethod
    def fit(cls, steps: Mapping[str, Step], table: Table, aims: Aims | None) -> TableInputs:
        """Each step on the same columns; `aims`: the targets of the rows."""
        fitted = {name: step.fit(table, aims) for name, step in steps.items()}
        in_order = sorted(fitted.items(), key=lambda item: bool(item[1].cardinalities))
        return cls(dict(in_order))

    def inputs(self, features: Table) -> NDArray[np.float32]:
        """(rows, columns), float32."""
        return np.concatenate([step.inputs(features) for step in self.steps.values()], axis=1)

    def training_inputs(
        self, features: Table, aims: Aims, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        parts = [one.training_inputs(features, aims, seed, groups) for one in self.steps.values()]
        return np.concatenate(parts, axis=1)

    @property
    def supervised(self) -> bool:
        return any(step.supervised for step in self.steps.values())

    def sharing(self, whole: TableInputs) -> TableInputs:
        shared = {name: one for name, one in whole.steps.items() if not one.supervised}
        return TableInputs({**self.steps, **shared})

    def emit(self, nodes: Nodes) -> str:
        steps = [step for step in self.steps.values() if step.outputs]
        return joined(nodes, [step.emit(nodes) for step in steps])

    def for_network(self, outputs: int) -> Inputs:
        width = sum(step.outputs for step in self.steps.values())
        codes = tuple(n for step in self.steps.values() for n in step.cardinalities)
        return Inputs((width,), {"outputs": outputs, "cardinalities": codes})


@dataclass(frozen=True)
class ImageInputs:
    """Fitted preparation of images: the first layer of the network scales them."""

    scale: FittedScale
    size: tuple[int, int, int]
    """Height, width, channels of the training images."""

    @property
    def supervised(self) -> bool:
        return False

    def sharing(self, whole: ImageInputs) -> ImageInputs:
        return whole

    def inputs(self, features: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), uint8."""
        return self.scale.inputs(features)

    def training_inputs(
        self, features: Images, aims: Aims, seed: int, groups: Groups = None
    ) -> NDArray[np.uint8]:
        return self.inputs(features)

    def emit(self, nodes: Nodes) -> str:
        return self.scale.emit(nodes, "image")

    def for_network(self, outputs: int) -> Inputs:
        h, w, c = self.size
        return Inputs((c, h, w), {"outputs": outputs}, self.scale.mean, self.scale.std)


def kinds_of(steps: Iterable[Step]) -> list[type]:
    """Everything that a kept preparation of these steps, or of images, is made of."""
    return [TableInputs, ImageInputs, FittedScale, *(kind for one in steps for kind in one.kinds())]
