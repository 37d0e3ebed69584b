"""Preparation: raw columns or pixels -> the one tensor a model takes. What all of its steps share.

A step is a description (its fields may be open choices) with a `fit`; what was learnt is a frozen
dataclass of plain values that can do the same thing twice: to arrays (`inputs`) and as ONNX nodes
(`emit`). Both are written side by side, in float32 and in the same order, so that they agree.

The steps: `numeric` (numbers and dates), `categories`, `text`, `pixels`; `distinct` says which
columns they see, `serialization` keeps them as JSON.
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
"""(rows, k): the target of the training rows at mean 0 and deviation 1; see `class_aims`."""
Groups: TypeAlias = NDArray[np.int64] | None
"""(rows,): rows of one group belong together; see `Task.groups`."""


class FittedStep(ABC):
    """What a step learnt from the training rows of a table: a frozen dataclass of plain values."""

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """How many columns it gives; it emits nothing where there are none."""

    @abstractmethod
    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, outputs), float32; for rows that were not learnt from."""

    @abstractmethod
    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        """The same as nodes, from the columns by their names; returns the matrix's name."""

    def transform_training(
        self, table: Table, aims: TargetMatrix, seed: int, groups: Groups = None
    ) -> NDArray[np.float32]:
        """(rows, outputs), for the rows learnt from: no row is told its own target, or its group's."""
        return self.transform(table)

    @property
    def supervised(self) -> bool:
        """Whether it knows the targets of the rows it was fitted on."""
        return False

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Its last columns are codes of categories, with so many values each."""
        return ()


@runtime_checkable
class Step(Protocol):
    """A step of a pipeline for tables: a frozen dataclass, whose fields may be open choices."""

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """The classes that what it learns is made of."""
        ...

    def fit(self, table: Table, aims: TargetMatrix | None = None) -> FittedStep:
        """`aims`: the targets of the rows, for steps that look at them."""
        ...


def row(values: Iterable[float]) -> NDArray[np.float32]:
    """(1, columns) float32."""
    return np.array(tuple(values), np.float32)[None, :]


def floats(values: NDArray[np.floating]) -> tuple[float, ...]:
    """As float32 and back, so that what is saved is what was used."""
    return tuple(float(value) for value in np.asarray(values, np.float32))


def side_by_side(parts: list[NDArray[np.float32]], rows: int) -> NDArray[np.float32]:
    """Matrices (rows, some) as one (rows, all); there may be none."""
    return np.concatenate(parts, axis=1) if parts else np.zeros((rows, 0), np.float32)


def joined(nodes: OnnxGraphBuilder, parts: list[str]) -> str:
    """The same of nodes, of which there is one at least."""
    return nodes.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
