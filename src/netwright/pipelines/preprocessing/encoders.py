"""Encodings of categories: integer codes, one-hot columns and mean targets.

All start from codes: the i-th known category has code i + 1, anything else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import (
    TargetMatrix,
    as_float32_tuple,
    concatenate_columns,
    concatenate_columns_onnx,
)

MAX_TARGET_COLUMNS = 10
"""Classes with a column of their own in a target matrix, the most frequent ones: each costs as much
as a regression target."""


def class_target_matrix(classes: NDArray[np.int64]) -> TargetMatrix:
    """Return standardized indicators (rows, k) of the classes, the most frequent first.

    One column, of the second class, for two classes; else one for each of up to
    `MAX_TARGET_COLUMNS`.
    """
    counts = np.bincount(classes)
    by_frequency = np.argsort(-counts, kind="stable")[:MAX_TARGET_COLUMNS]
    encoded_classes = np.array([1]) if len(counts) <= 2 else by_frequency
    indicators = (classes[:, None] == encoded_classes).astype(np.float64)  # (rows, k)
    target_matrix: TargetMatrix = (indicators - indicators.mean(0)) / np.maximum(
        indicators.std(0), 1e-9
    )
    return target_matrix


def encode(values: NDArray[np.object_], categories: Sequence[str]) -> NDArray[np.int64]:
    """Return the codes (rows,) of strings."""
    codes = {category: code for code, category in enumerate(categories, start=1)}
    return np.fromiter((codes.get(text, 0) for text in values.tolist()), np.int64, len(values))


def encode_onnx(builder: OnnxGraphBuilder, name: str, categories: Sequence[str]) -> str:
    """Add the node of `encode`, which also accepts other spellings of numbers and booleans."""
    codes = {category: code for code, category in enumerate(categories, start=1)}
    codes |= {
        spelling: codes[category]
        for category in categories
        for spelling in _other_spellings(category)
        if spelling not in codes
    }
    codes = codes or {"": 0}  # no frequent category; LabelEncoder refuses an empty list
    return builder.add(
        "LabelEncoder",
        [name],
        domain="ai.onnx.ml",
        keys_strings=list(codes),
        values_int64s=list(codes.values()),
        default_int64=0,
    )


@dataclass(frozen=True)
class OneHotEncoder:
    """A column for each known category: 1 in the rows that have it.

    Args:
        columns: the names of the encoded columns.
        categories: the known categories of each column.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @property
    def n_columns(self) -> int:
        """Number of columns of the output."""
        return sum(len(categories) for categories in self.categories)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """Return (rows, n_columns)."""
        one_hot = [
            encode(table.arrays[name], categories)[:, None] == np.arange(1, len(categories) + 1)
            for name, categories in zip(self.columns, self.categories, strict=True)
        ]
        return concatenate_columns([matrix.astype(np.float32) for matrix in one_hot], len(table))

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `transform`; return their output's name."""
        axis, one_hot = builder.constant(np.array([1], np.int64)), []
        for name, categories in zip(self.columns, self.categories, strict=True):
            if categories:
                code = builder.add("Unsqueeze", [encode_onnx(builder, name, categories), axis])
                all_codes = np.arange(1, len(categories) + 1, dtype=np.int64)[None, :]
                is_code = builder.add("Equal", [code, builder.constant(all_codes)])
                one_hot.append(builder.cast(is_code, np.float32))
        return concatenate_columns_onnx(builder, one_hot)


@dataclass(frozen=True)
class TargetEncoder:
    """Smoothed mean target of each category (Micci-Barreca 2001, eq. 4).

    Args:
        columns: the names of the encoded columns.
        categories: the known categories of each column; rare and unseen ones share code 0.
        means: for each column and code from 0 the k mean targets.
        alpha: weight of the overall mean, in rows; the mean over n rows has weight n.
        folds: folds for the encoding of the training rows.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    means: tuple[tuple[tuple[float, ...], ...], ...]
    alpha: float
    folds: int

    @property
    def n_columns(self) -> int:
        """Number of columns of the output."""
        return sum(len(means[0]) for means in self.means)

    @classmethod
    def fit(
        cls,
        table: Table,
        columns: Sequence[str],
        categories: Sequence[tuple[str, ...]],
        target_matrix: TargetMatrix,
        *,
        alpha: float,
        folds: int,
    ) -> TargetEncoder:
        """Fit the means on all rows of the table."""
        means = []
        for name, column_categories in zip(columns, categories, strict=True):
            codes = encode(table.arrays[name], column_categories)
            smoothed = _smoothed_means(codes, target_matrix, len(column_categories) + 1, alpha)
            means.append(tuple(as_float32_tuple(row) for row in smoothed))
        return cls(tuple(columns), tuple(categories), tuple(means), alpha, folds)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """Return (rows, n_columns), for rows that the encoder was not fitted on."""
        encoded = [
            np.array(means, np.float32)[encode(table.arrays[name], categories)]
            for name, categories, means in zip(
                self.columns, self.categories, self.means, strict=True
            )
        ]
        return concatenate_columns(encoded, len(table))

    def out_of_fold(
        self,
        table: Table,
        target_matrix: TargetMatrix,
        seed: int,
        groups: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Encode the rows fitted on, each by the means over the other folds.

        A mean that includes the row's own target would leak it, for a category of one row entirely
        (Prokhorenkova et al. 2018, 1706.09516, sec. 3.2).

        Args:
            table: the training rows.
            target_matrix: (rows, k) their targets.
            seed: draws the folds.
            groups: (rows,) the group of each row; a group lies in one fold, as its rows may share
                their target.

        Returns:
            (rows, n_columns) float32.
        """
        n_rows = len(table)
        group_ids = np.arange(n_rows)
        if groups is not None:
            group_ids = np.unique(groups, return_inverse=True)[1]
        n_groups = int(group_ids.max()) + 1
        group_order = np.random.default_rng(seed).permutation(n_groups)
        folds = (group_order % min(self.folds, n_groups))[group_ids]
        encoded_columns = []
        for name, categories in zip(self.columns, self.categories, strict=True):
            codes = encode(table.arrays[name], categories)
            encoded = np.zeros((n_rows, target_matrix.shape[1]), np.float32)
            for fold in range(folds.max() + 1):
                train = folds != fold
                means = _smoothed_means(
                    codes[train], target_matrix[train], len(categories) + 1, self.alpha
                )
                encoded[~train] = means[codes[~train]]
            encoded_columns.append(encoded)
        return concatenate_columns(encoded_columns, n_rows)

    def to_onnx(self, builder: OnnxGraphBuilder) -> str:
        """Add the nodes of `transform`; return their output's name."""
        encoded = []
        for name, categories, means in zip(self.columns, self.categories, self.means, strict=True):
            lookup = builder.constant(np.array(means, np.float32))  # (codes, k)
            codes = encode_onnx(builder, name, categories)
            encoded.append(builder.add("Gather", [lookup, codes], axis=0))
        return concatenate_columns_onnx(builder, encoded)


def _smoothed_means(
    codes: NDArray[np.int64], target_matrix: TargetMatrix, n_codes: int, alpha: float
) -> TargetMatrix:
    """Return (codes, k): the mean target of each code, shrunk to the overall mean."""
    if not len(codes):
        return np.zeros((n_codes, target_matrix.shape[1]))
    counts = np.bincount(codes, minlength=n_codes)[:, None]
    sums = np.stack(
        [np.bincount(codes, target, minlength=n_codes) for target in target_matrix.T], axis=1
    )
    means: TargetMatrix = (sums + alpha * target_matrix.mean(0)) / np.maximum(counts + alpha, 1e-9)
    return means


def _other_spellings(text: str) -> tuple[str, ...]:
    """Return other spellings of a canonical text that users of the exported file may pass."""
    if text in ("true", "false"):
        return (text.title(), text.upper())
    is_integer = text.removeprefix("-").isdecimal()
    return (f"{text}.0",) if is_integer else ()
