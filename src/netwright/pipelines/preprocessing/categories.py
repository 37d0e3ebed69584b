"""Categories and booleans: codes, one-hot columns or mean targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.errors import InputError, Phrase, check_among, expected
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.category_crosses import (
    Cross,
    add_crosses,
    add_crosses_onnx,
    best_crosses,
    cross_name,
)
from netwright.pipelines.preprocessing.encoders import (
    OneHotEncoder,
    TargetEncoder,
    encode,
    encode_onnx,
)
from netwright.pipelines.preprocessing.steps import (
    FittedStep,
    TargetMatrix,
    concatenate_columns,
    concatenate_columns_onnx,
)


@dataclass(frozen=True)
class Categories:
    """Encode categories and booleans as integer codes, one-hot columns or mean targets.

    Known categories have codes from 1, unseen and rare ones 0. A missing value ("") is a category
    like others.

    Args:
        min_frequency: categories of fewer training rows count as unseen.
        encode: ``"codes"``: codes in alphabetical order; ``"frequency"``: codes, 1 for the most
            frequent category; ``"onehot"``: one-hot columns for up to `one_hot_max_size`
            categories, codes above; ``"target"``: codes, and mean targets beside them above
            `one_hot_max_size` categories.
        one_hot_max_size: number of categories of a column up to which one-hot columns are made, or
            mean targets are not.
        alpha: smoothing of the mean targets: weight of the overall mean, in rows.
        folds: folds for the mean targets of the training rows, which are out of fold.
        crosses: number of column pairs to add at most as columns of joined categories, if they
            explain more of the target together.

    Raises:
        InputError: `encode` is unknown.

    Example:
        >>> pipeline = TablePipeline(LightGBM(), {"categories": Categories(encode="target")})
    """

    min_frequency: int = 1
    encode: Literal["codes", "frequency", "onehot", "target"] = "codes"
    one_hot_max_size: int = 10
    alpha: float = 10.0
    folds: int = 5
    crosses: int = 0

    def __post_init__(self) -> None:
        check_among("encode", self.encode, ("codes", "frequency", "onehot", "target"))

    @staticmethod
    def state_types() -> tuple[type, ...]:
        """As `Step.state_types`."""
        return (FittedCategories, OneHotEncoder, TargetEncoder)

    def fit(self, table: Table, target_matrix: TargetMatrix | None = None) -> FittedCategories:
        """As `Step.fit`.

        Raises:
            InputError: Mean targets or crosses are needed and there is no `target_matrix`.
        """
        columns = [c.name for c in table.columns if c.kind in ("category", "boolean")]
        crosses = self._best_crosses(table, columns, target_matrix)
        table = add_crosses(table, crosses)
        columns += [cross_name(cross) for cross in crosses]
        categories = {name: self._known_categories(table.arrays[name]) for name in columns}
        large = [name for name in columns if len(categories[name]) > self.one_hot_max_size]
        one_hot = [name for name in columns if self.encode == "onehot" and name not in large]
        target_encoded = large if self.encode == "target" else []
        if target_encoded and target_matrix is None:
            rule = 'given if Categories has encode="target"'
            raise InputError(expected("target_matrix", rule, Phrase("none")))
        coded = [name for name in columns if name not in one_hot]
        return FittedCategories(
            tuple(coded),
            tuple(categories[name] for name in coded),
            OneHotEncoder(tuple(one_hot), tuple(categories[name] for name in one_hot)),
            TargetEncoder.fit(
                table,
                target_encoded,
                [categories[name] for name in target_encoded],
                np.zeros((len(table), 0)) if target_matrix is None else target_matrix,
                alpha=self.alpha,
                folds=self.folds,
            ),
            crosses,
        )

    def _best_crosses(
        self, table: Table, columns: list[str], target_matrix: TargetMatrix | None
    ) -> tuple[Cross, ...]:
        if not self.crosses or len(columns) < 2:
            return ()
        if target_matrix is None:
            rule = "given if Categories has crosses"
            raise InputError(expected("target_matrix", rule, Phrase("none")))
        return best_crosses(table, columns, target_matrix, self.crosses)

    def _known_categories(self, values: NDArray[np.object_]) -> tuple[str, ...]:
        """Return the categories that are frequent enough, in the order of their codes."""
        counts = Counter(values.tolist())  # np.unique would pad all texts to the longest
        categories = sorted(text for text, n in counts.items() if n >= self.min_frequency)
        if self.encode == "frequency":
            categories.sort(key=lambda text: -counts[text])
        return tuple(categories)


@dataclass(frozen=True)
class FittedCategories(FittedStep):
    """Fitted `Categories`; its columns are one-hot columns, mean targets and codes, in this order.

    Args:
        columns: the names of the columns with codes.
        categories: the known categories of each of these.
        one_hot: the encoder of the other columns.
        target_encoder: the encoder of those columns with codes that also have mean targets.
        crosses: the column pairs that are added first.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    one_hot: OneHotEncoder
    target_encoder: TargetEncoder
    crosses: tuple[Cross, ...] = ()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of codes of each column with codes, including 0."""
        return tuple(len(categories) + 1 for categories in self.categories)

    @property
    def supervised(self) -> bool:
        """Whether there are mean targets, or crosses, which are selected by the target."""
        return bool(self.target_encoder.columns or self.crosses)

    @property
    def n_columns(self) -> int:
        """Number of columns of the output."""
        return self.one_hot.n_columns + self.target_encoder.n_columns + len(self.columns)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """As `FittedStep.transform`."""
        table = add_crosses(table, self.crosses)
        return self._concatenate(table, self.target_encoder.transform(table))

    def transform_training(
        self,
        table: Table,
        target_matrix: TargetMatrix,
        seed: int,
        groups: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """As `FittedStep.transform_training`; mean targets are out of fold."""
        table = add_crosses(table, self.crosses)
        mean_targets = self.target_encoder.out_of_fold(table, target_matrix, seed, groups)
        return self._concatenate(table, mean_targets)

    def _concatenate(self, table: Table, mean_targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Concatenate one-hot columns, mean targets and codes, exact in float32 up to 2^24."""
        codes = [
            encode(table.arrays[name], categories).astype(np.float32)[:, None]
            for name, categories in zip(self.columns, self.categories, strict=True)
        ]
        return concatenate_columns(
            [self.one_hot.transform(table), mean_targets, *codes], len(table)
        )

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """As `FittedStep.to_onnx`."""
        add_crosses_onnx(builder, self.crosses)
        encoders = (self.one_hot, self.target_encoder)
        matrices = [encoder.to_onnx(builder) for encoder in encoders if encoder.n_columns]
        codes = [
            encode_onnx(builder, name, categories)
            for name, categories in zip(self.columns, self.categories, strict=True)
        ]
        if codes:
            matrices.append(builder.cast(builder.stack_columns(codes), np.float32))
        return concatenate_columns_onnx(builder, matrices)
