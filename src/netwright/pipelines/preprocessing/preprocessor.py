"""Fitted preprocessors: all steps of a pipeline, from a task's features to one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Images, Table
from netwright.errors import InputError, expected
from netwright.pipelines.interfaces import Arrays, InputSpec
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.channel_scaling import FittedScale
from netwright.pipelines.preprocessing.steps import (
    FittedStep,
    Groups,
    Step,
    TargetMatrix,
    concatenate_columns_onnx,
)


class Preprocessor(Protocol):
    """Fitted preprocessing: from the task's features to the one tensor that a model takes."""

    def transform(self, features: Any, /) -> Arrays:  # noqa: ANN401  # Table or Images
        """Transform rows that the preprocessor was not fitted on."""
        ...

    def transform_training(
        self,
        features: Any,  # noqa: ANN401  # Table or Images
        target_matrix: TargetMatrix,
        seed: int,
        groups: Groups = None,
        /,
    ) -> Arrays:
        """Transform the rows fitted on, as `FittedStep.transform_training`."""
        ...

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `transform`; return their output's name."""
        ...

    def input_spec(self, n_outputs: int) -> InputSpec:
        """Return the model's input spec."""
        ...

    @property
    def supervised(self) -> bool:
        """Whether a step has learnt from the targets of the training rows."""
        ...

    def with_unsupervised_steps_of(
        self,
        other: Any,  # noqa: ANN401  # of the same class
        /,
    ) -> Preprocessor:
        """Return this preprocessor with the unsupervised steps of one fitted on more rows."""
        ...


@dataclass(frozen=True)
class TablePreprocessor:
    """Fitted steps for a table, side by side: the numbers of all steps, then the codes of all.

    Args:
        steps: name -> fitted step.
    """

    steps: Mapping[str, FittedStep]

    @classmethod
    def fit(
        cls, steps: Mapping[str, Step], table: Table, target_matrix: TargetMatrix | None
    ) -> TablePreprocessor:
        """Fit each step on the same columns.

        Raises:
            InputError: A step fits a class that is not among its `state_types`.
        """
        fitted = {name: step.fit(table, target_matrix) for name, step in steps.items()}
        for name, step in steps.items():
            fitted_type = type(fitted[name])
            if fitted_type not in step.state_types():
                what, rule = f"state_types of step {name}", f"with {fitted_type.__name__}"
                raise InputError(expected(what, rule, step.state_types()))
        return cls(fitted)

    def transform(self, features: Table) -> NDArray[np.float32]:
        """Return (rows, columns) float32."""
        return self._arrange([step.transform(features) for step in self.steps.values()])

    def transform_training(
        self, features: Table, target_matrix: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        return self._arrange(
            [
                step.transform_training(features, target_matrix, seed, groups)
                for step in self.steps.values()
            ]
        )

    def _arrange(self, matrices: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Concatenate the numbers of all steps, then the codes of all."""
        numbers, codes = [], []
        for matrix, step in zip(matrices, self.steps.values(), strict=True):
            first_code = matrix.shape[1] - len(step.cardinalities)
            numbers.append(matrix[:, :first_code])
            codes.append(matrix[:, first_code:])
        return np.concatenate([*numbers, *codes], axis=1)

    @property
    def supervised(self) -> bool:
        return any(step.supervised for step in self.steps.values())

    def with_unsupervised_steps_of(self, other: TablePreprocessor) -> TablePreprocessor:
        unsupervised = {name: step for name, step in other.steps.items() if not step.supervised}
        return TablePreprocessor({**self.steps, **unsupervised})

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        steps = [step for step in self.steps.values() if step.n_columns]
        if not any(step.cardinalities for step in steps[:-1]):  # all codes come last already
            return concatenate_columns_onnx(builder, [step.to_onnx(builder) for step in steps])
        numbers, codes = [], []
        for step in steps:
            matrix, first_code = step.to_onnx(builder), step.n_columns - len(step.cardinalities)
            if first_code:
                numbers.append(_slice_columns(builder, matrix, 0, first_code))
            if step.cardinalities:
                codes.append(_slice_columns(builder, matrix, first_code, step.n_columns))
        return concatenate_columns_onnx(builder, [*numbers, *codes])

    def input_spec(self, n_outputs: int) -> InputSpec:
        n_columns = sum(step.n_columns for step in self.steps.values())
        cardinalities = tuple(n for step in self.steps.values() for n in step.cardinalities)
        return InputSpec((n_columns,), {"outputs": n_outputs, "cardinalities": cardinalities})


@dataclass(frozen=True)
class ImagePreprocessor:
    """Fitted preprocessing of images, which the network's first layer applies.

    Args:
        scale: the statistics of the channels.
        size: height, width and channels of the training images.
    """

    scale: FittedScale
    size: tuple[int, int, int]

    @property
    def supervised(self) -> bool:
        return False

    def with_unsupervised_steps_of(self, other: ImagePreprocessor) -> ImagePreprocessor:
        return other

    def transform(self, features: Images) -> NDArray[np.uint8]:
        """Return (rows, c, h, w) uint8."""
        return self.scale.transform(features)

    def transform_training(
        self, features: Images, target_matrix: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.uint8]:
        return self.transform(features)

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        return self.scale.to_onnx(builder, "image")

    def input_spec(self, n_outputs: int) -> InputSpec:
        h, w, c = self.size
        return InputSpec((c, h, w), {"outputs": n_outputs}, self.scale.mean, self.scale.std)


def _slice_columns(builder: OnnxGraphBuilder, matrix: str, start: int, end: int) -> str:
    """Add a node that takes the columns from `start` to `end` (exclusive) of a matrix."""
    bounds = [builder.constant(np.array([bound], np.int64)) for bound in (start, end)]
    return builder.add("Slice", [matrix, *bounds, builder.constant(np.array([1], np.int64))])


def state_types(steps: Iterable[Step]) -> list[type]:
    """Return all classes of which a saved preprocessor, of these steps or of images, is made."""
    of_steps = (state_type for step in steps for state_type in step.state_types())
    return [TablePreprocessor, ImagePreprocessor, FittedScale, *of_steps]
