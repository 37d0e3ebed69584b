"""The fitted preparation: all steps of a pipeline, from a task's features to one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Table
from netwright.errors import InputError, expected
from netwright.pipelines.interfaces import InputSpec
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.channel_scaling import FittedScale
from netwright.pipelines.preprocessing.steps import FittedStep, Groups, Step, TargetMatrix, joined


class Preprocessor(Protocol):
    """Fitted steps: from the task's own kind of features to the one tensor a model takes."""

    def transform(self, features: Any, /) -> NDArray[Any]:
        """Any rows but those learnt from."""
        ...

    def transform_training(
        self, features: Any, aims: TargetMatrix, seed: int, groups: Groups = None, /
    ) -> NDArray[Any]:
        """The rows learnt from, with their targets, of which a row is not told its own.

        Nor those of its group. The same as `inputs` where no step knows the target.
        """
        ...

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """`inputs` as nodes; returns the tensor's name."""
        ...

    def input_spec(self, outputs: int) -> InputSpec:
        """What the model is told of its inputs."""
        ...

    @property
    def supervised(self) -> bool:
        """Whether a step knows the targets of the rows it was fitted on."""
        ...

    def sharing(self, whole: Any, /) -> Preprocessor:
        """With those steps of `whole`, fitted on more rows, that know no target."""
        ...


@dataclass(frozen=True)
class TablePreprocessor:
    """Fitted preparation of a table: the matrices of its steps, side by side; the codes of all of
    them come last."""

    steps: Mapping[str, FittedStep]

    @classmethod
    def fit(
        cls, steps: Mapping[str, Step], table: Table, aims: TargetMatrix | None
    ) -> TablePreprocessor:
        """Each step on the same columns; `aims`: the targets of the rows."""
        fitted = {name: step.fit(table, aims) for name, step in steps.items()}
        for name, step in steps.items():
            if (kind := type(fitted[name])) not in step.state_types():
                raise InputError(
                    expected(f"kinds of step {name}", f"with {kind.__name__}", step.state_types())
                )
        return cls(fitted)

    def transform(self, features: Table) -> NDArray[np.float32]:
        """(rows, columns), float32."""
        return self._matrix([step.transform(features) for step in self.steps.values()])

    def transform_training(
        self, features: Table, aims: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        steps = self.steps.values()
        return self._matrix([one.transform_training(features, aims, seed, groups) for one in steps])

    def _matrix(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The numbers of all steps, then the codes of all."""
        numbers, codes = [], []
        for part, step in zip(parts, self.steps.values(), strict=True):
            first_code = part.shape[1] - len(step.cardinalities)
            numbers.append(part[:, :first_code])
            codes.append(part[:, first_code:])
        return np.concatenate([*numbers, *codes], axis=1)

    @property
    def supervised(self) -> bool:
        return any(step.supervised for step in self.steps.values())

    def sharing(self, whole: TablePreprocessor) -> TablePreprocessor:
        shared = {name: one for name, one in whole.steps.items() if not one.supervised}
        return TablePreprocessor({**self.steps, **shared})

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        steps = [step for step in self.steps.values() if step.n_columns]
        if not any(step.cardinalities for step in steps[:-1]):  # all codes are the last already
            return joined(nodes, [step.to_onnx(nodes) for step in steps])
        numbers, codes = [], []
        for step in steps:
            matrix, first_code = step.to_onnx(nodes), step.n_columns - len(step.cardinalities)
            if first_code:
                numbers.append(_columns(nodes, matrix, 0, first_code))
            if step.cardinalities:
                codes.append(_columns(nodes, matrix, first_code, step.n_columns))
        return joined(nodes, [*numbers, *codes])

    def input_spec(self, outputs: int) -> InputSpec:
        width = sum(step.n_columns for step in self.steps.values())
        codes = tuple(n for step in self.steps.values() for n in step.cardinalities)
        return InputSpec((width,), {"outputs": outputs, "cardinalities": codes})


@dataclass(frozen=True)
class ImagePreprocessor:
    """Fitted preparation of images: the first layer of the network scales them."""

    scale: FittedScale
    size: tuple[int, int, int]
    """Height, width, channels of the training images."""

    @property
    def supervised(self) -> bool:
        return False

    def sharing(self, whole: ImagePreprocessor) -> ImagePreprocessor:
        return whole

    def transform(self, features: Images) -> NDArray[np.uint8]:
        """(rows, c, h, w), uint8."""
        return self.scale.transform(features)

    def transform_training(
        self, features: Images, aims: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.uint8]:
        return self.transform(features)

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        return self.scale.to_onnx(nodes, "image")

    def input_spec(self, outputs: int) -> InputSpec:
        h, w, c = self.size
        return InputSpec((c, h, w), {"outputs": outputs}, self.scale.mean, self.scale.std)


def _columns(nodes: OnnxGraphBuilder, matrix: str, start: int, end: int) -> str:
    """Some columns of a matrix."""
    ends = [nodes.constant(np.array([at], np.int64)) for at in (start, end)]
    return nodes.add("Slice", [matrix, *ends, nodes.constant(np.array([1], np.int64))])


def kinds_of(steps: Iterable[Step]) -> list[type]:
    """Everything that a kept preparation of these steps, or of images, is made of."""
    return [
        TablePreprocessor,
        ImagePreprocessor,
        FittedScale,
        *(kind for one in steps for kind in one.state_types()),
    ]
