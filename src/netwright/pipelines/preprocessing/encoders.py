"""What stands for a category: a number of its own, a column of its own, or its mean target.

All begin with codes: the i-th known value has code i + 1, anything else 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netwright.data.task import Table
from netwright.pipelines.onnx.graph_builder import OnnxGraphBuilder
from netwright.pipelines.preprocessing.steps import TargetMatrix, floats, joined, side_by_side

MOST_AIMS = 10
"""Classes that have a mean of their own; beyond, only the most frequent ones do."""


def class_aims(classes: NDArray[np.int64]) -> TargetMatrix:
    """(rows, k): whether a row has the class, at mean 0 and deviation 1, the frequent ones first.

    One column for two classes, of the second; else one for each of up to `MOST_AIMS`.
    """
    counts = np.bincount(classes)
    wanted = np.array([1]) if len(counts) <= 2 else np.argsort(-counts, kind="stable")[:MOST_AIMS]
    has = (classes[:, None] == wanted).astype(np.float64)  # (rows, k)
    aims: TargetMatrix = (has - has.mean(0)) / np.maximum(has.std(0), 1e-9)
    return aims


def codes_of(values: NDArray[np.object_], known: Sequence[str]) -> NDArray[np.int64]:
    """(rows,) codes of strings."""
    code = {value: i for i, value in enumerate(known, start=1)}
    return np.fromiter((code.get(v, 0) for v in values.tolist()), np.int64, len(values))


def emit_codes(nodes: OnnxGraphBuilder, name: str, known: Sequence[str]) -> str:
    """`codes_of` as nodes; common spellings of a canonical text count as it."""
    codes = {value: i for i, value in enumerate(known, start=1)}
    codes |= {v: codes[k] for k in known for v in _spellings(k) if v not in codes}
    codes = codes or {"": 0}  # all values too rare: LabelEncoder refuses an empty list
    return nodes.add(
        "LabelEncoder", [name], domain="ai.onnx.ml",
        keys_strings=list(codes), values_int64s=list(codes.values()), default_int64=0,
    )  # fmt: skip


@dataclass(frozen=True)
class OneHotEncoder:
    """A column for each known value: 1 in the rows that have it."""

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @property
    def n_columns(self) -> int:
        return sum(len(values) for values in self.categories)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, outputs)."""
        parts = [
            (codes_of(table.arrays[name], known)[:, None] == np.arange(1, len(known) + 1))
            for name, known in zip(self.columns, self.categories, strict=True)
        ]
        return side_by_side([part.astype(np.float32) for part in parts], len(table))

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        axis, parts = nodes.constant(np.array([1], np.int64)), []
        for name, known in zip(self.columns, self.categories, strict=True):
            if known:
                code = nodes.add("Unsqueeze", [emit_codes(nodes, name, known), axis])
                which = nodes.constant(np.arange(1, len(known) + 1, dtype=np.int64)[None, :])
                parts.append(nodes.cast(nodes.add("Equal", [code, which]), np.float32))
        return joined(nodes, parts)


@dataclass(frozen=True)
class TargetEncoder:
    """The smoothed mean target of each known value (Micci-Barreca 2001, eq. 4).

    `means`: for each column, for each code from 0, k numbers. The mean over n rows counts n times,
    that of all training rows `alpha` times. Rare and unseen values are code 0.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    means: tuple[tuple[tuple[float, ...], ...], ...]
    alpha: float
    folds: int

    @property
    def n_columns(self) -> int:
        return sum(len(means[0]) for means in self.means)

    @classmethod
    def fit(
        cls, table: Table, columns: Sequence[str], known: Sequence[tuple[str, ...]], aims: TargetMatrix, *,
        alpha: float, folds: int,
    ) -> TargetEncoder:  # fmt: skip
        """From all rows, for rows that are not among them."""
        means = []
        for name, values in zip(columns, known, strict=True):
            codes = codes_of(table.arrays[name], values)
            found = _smoothed(codes, aims, len(values) + 1, alpha)
            means.append(tuple(floats(numbers) for numbers in found))
        return cls(tuple(columns), tuple(known), tuple(means), alpha, folds)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, outputs), for rows that were not learnt from."""
        parts = [
            np.array(means, np.float32)[codes_of(table.arrays[name], known)]
            for name, known, means in zip(self.columns, self.categories, self.means, strict=True)
        ]
        return side_by_side(parts, len(table))

    def out_of_fold(
        self, table: Table, aims: TargetMatrix, seed: int, groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """(rows, outputs) for the rows learnt from: each by the rows of the other folds.

        Rows of one of `groups` (rows,) are in one fold: they may share their target.

        With its own target inside, a value of one row would tell its target; a model would believe
        it (Prokhorenkova et al. 2018, 1706.09516, sec. 3.2).
        """
        rows = len(table)
        units = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        many = int(units.max()) + 1
        fold = (np.random.default_rng(seed).permutation(many) % min(self.folds, many))[units]
        parts = []
        for name, known in zip(self.columns, self.categories, strict=True):
            codes = codes_of(table.arrays[name], known)
            found = np.zeros((rows, aims.shape[1]), np.float32)
            for i in range(fold.max() + 1):
                rest = fold != i
                means = _smoothed(codes[rest], aims[rest], len(known) + 1, self.alpha)
                found[~rest] = means[codes[~rest]]
            parts.append(found)
        return side_by_side(parts, rows)

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        parts = []
        for name, known, means in zip(self.columns, self.categories, self.means, strict=True):
            table = nodes.constant(np.array(means, np.float32))  # (codes, k)
            parts.append(nodes.add("Gather", [table, emit_codes(nodes, name, known)], axis=0))
        return joined(nodes, parts)


def _smoothed(
    codes: NDArray[np.int64], aims: TargetMatrix, many: int, alpha: float
) -> TargetMatrix:
    """(many, k): the mean of the rows of each code, drawn to the mean of all."""
    if not len(codes):
        return np.zeros((many, aims.shape[1]))
    counts = np.bincount(codes, minlength=many)[:, None]
    sums = np.stack([np.bincount(codes, aim, minlength=many) for aim in aims.T], axis=1)
    means: TargetMatrix = (sums + alpha * aims.mean(0)) / np.maximum(counts + alpha, 1e-9)
    return means


def _spellings(text: str) -> tuple[str, ...]:
    """What those who feed the file by hand may write for a canonical text."""
    if text in ("true", "false"):
        return (text.title(), text.upper())
    whole = text.removeprefix("-").isdecimal()
    return (f"{text}.0",) if whole else ()
