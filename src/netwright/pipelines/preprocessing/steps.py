"""Contract of preprocessing steps for tables, and helpers they share.

A step is a description with a `fit`; its fields may be open choices. A fitted step is a frozen
dataclass of plain values with two implementations of the same transform, on arrays (`transform`)
and as ONNX nodes (`to_onnx`). Both are written next to each other, in float32 and in the same order
of operations, so that they agree.

The steps are in `numeric` (numbers and dates), `categories` and `text`; `channel_scaling` is for
images. `redundant_columns` drops columns before the steps, `serialization` saves fitted ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder

TargetMatrix: TypeAlias = NDArray[np.float64]
"""(rows, k): the standardized targets of the training rows; see `class_target_matrix`."""
Groups: TypeAlias = NDArray[np.int64] | None
"""(rows,): the group of each row; see `Task.groups`."""


class FittedStep(ABC):
    """A fitted preprocessing step: a frozen dataclass of plain values, which is saved as JSON.

    Implement `n_columns`, `transform` and `to_onnx`; override `transform_training` and `supervised`
    if the step learns from the target, and `cardinalities` if it returns codes of categories.

    Example:
        >>> @dataclass(frozen=True)
        ... class FittedSquares(nw.FittedStep):
        ...     columns: tuple[str, ...]
        ...
        ...     @property
        ...     def n_columns(self):
        ...         return len(self.columns)
        ...
        ...     def transform(self, table):
        ...         return np.stack([table.arrays[name] for name in self.columns], axis=1) ** 2
        ...
        ...     def to_onnx(self, builder):
        ...         x = builder.stack_columns(self.columns)
        ...         return builder.add("Mul", [x, x])
    """

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Number of columns of the output; `to_onnx` is not called if it is 0."""

    @abstractmethod
    def transform(self, table: Table) -> NDArray[np.float32]:
        """Transform rows that the step was not fitted on.

        Args:
            table: rows with the columns of the training rows.

        Returns:
            (rows, n_columns) float32.
        """

    @abstractmethod
    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `transform`.

        Args:
            builder: the graph; a table's columns are inputs (rows,) of the same names.

        Returns:
            The name of the output tensor (rows, n_columns).
        """

    def transform_training(
        self, table: Table, target_matrix: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        """Transform the rows that the step was fitted on.

        A supervised step encodes a row without its own target or those of its group; any other
        does the same as `transform`.

        Args:
            table: the training rows.
            target_matrix: (rows, k) their targets.
            seed: seed of the folds.
            groups: (rows,) the group of each row, if there are any.

        Returns:
            (rows, n_columns) float32.
        """
        return self.transform(table)

    @property
    def supervised(self) -> bool:
        """Whether the step has learnt from the targets of the training rows."""
        return False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each of the last columns that are codes of categories."""
        return ()


@runtime_checkable
class Step(Protocol):
    """A preprocessing step for tables: a frozen dataclass whose fields may be open choices."""

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """Return the dataclasses that the fitted step is made of.

        Returns:
            All of them: loading accepts no others.
        """
        ...

    def fit(self, table: Table, target_matrix: TargetMatrix | None = None) -> FittedStep:
        """Fit the step.

        Args:
            table: the training rows.
            target_matrix: (rows, k) their standardized targets, for supervised steps.

        Returns:
            The fitted step.

        Raises:
            InputError: the step is supervised, and there is no `target_matrix`.
        """
        ...


def as_row(values: Iterable[float]) -> NDArray[np.float32]:
    """Return values as (1, columns) float32."""
    return np.array(tuple(values), np.float32)[None, :]


def as_float32_tuple(values: NDArray[np.floating]) -> tuple[float, ...]:
    """Round to float32, so that what is saved equals what is used."""
    return tuple(float(rounded) for rounded in np.asarray(values, np.float32))


def concatenate_columns(matrices: list[NDArray[np.float32]], n_rows: int) -> NDArray[np.float32]:
    """Concatenate matrices (rows, columns) side by side; there may be none."""
    return np.concatenate(matrices, axis=1) if matrices else np.zeros((n_rows, 0), np.float32)


def concatenate_columns_onnx(builder: OnnxGraphBuilder, names: list[str]) -> str:
    """Add the node of `concatenate_columns`, for one matrix at least."""
    return builder.add("Concat", names, axis=1) if len(names) > 1 else names[0]
