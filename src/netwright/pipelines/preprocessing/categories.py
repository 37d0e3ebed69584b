"""Categories and booleans: codes, one-hot columns, or mean targets."""

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
    best_crosses,
    crossed,
    emit_crosses,
    name_of,
)
from netwright.pipelines.preprocessing.encoders import (
    OneHotEncoder,
    TargetEncoder,
    codes_of,
    emit_codes,
)
from netwright.pipelines.preprocessing.steps import FittedStep, TargetMatrix, joined, side_by_side


@dataclass(frozen=True)
class Categories:
    """Categories and booleans: each value its own code from 1, anything else 0.

    A value seen in fewer than `least` rows counts as unseen. Missing ("") is a value like others.

    `encode`: "codes" in the order of the alphabet; "frequency": codes, the most frequent value has
    1; "onehot": a column a value where there are at most `bound`, codes above; "target": codes,
    and where there are more than `bound` values their mean targets beside them, smoothed by
    `alpha` rows, which training rows get from the others of `folds` folds.

    With `crosses`, up to so many pairs of columns are joined to columns of their own, where they
    say more of the target together (`crosses.best_crosses`).
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
        """The classes that what it learns is made of."""
        return (FittedCategories, OneHotEncoder, TargetEncoder)

    def fit(self, table: Table, aims: TargetMatrix | None = None) -> FittedCategories:
        """`aims`: the target of the rows, which "target" and crosses need; InputError without."""
        columns = [c.name for c in table.columns if c.kind in ("category", "boolean")]
        crosses = self._crosses(table, columns, aims)
        table = crossed(table, crosses)
        columns += [name_of(one) for one in crosses]
        known = {name: self._known(table.arrays[name]) for name in columns}
        large = [name for name in columns if len(known[name]) > self.one_hot_max_size]
        hot = [name for name in columns if self.encode == "onehot" and name not in large]
        means = large if self.encode == "target" else []
        if means and aims is None:
            raise InputError(expected("the target", "given to target encoding", Phrase("none")))
        codes = [name for name in columns if name not in hot]
        return FittedCategories(
            tuple(codes), tuple(known[name] for name in codes),
            OneHotEncoder(tuple(hot), tuple(known[name] for name in hot)),
            TargetEncoder.fit(
                table, means, [known[name] for name in means],
                np.zeros((len(table), 0)) if aims is None else aims,
                alpha=self.alpha, folds=self.folds,
            ),
            crosses,
        )  # fmt: skip

    def _crosses(
        self, table: Table, columns: list[str], aims: TargetMatrix | None
    ) -> tuple[Cross, ...]:
        if not self.crosses or len(columns) < 2:
            return ()
        if aims is None:
            raise InputError(expected("the target", "given to crosses", Phrase("none")))
        return best_crosses(table, columns, aims, self.crosses)

    def _known(self, values: NDArray[np.object_]) -> tuple[str, ...]:
        """The values that are frequent enough, in the order of their codes."""
        counts = Counter(values.tolist())  # no array of the longest text's width
        known = sorted(value for value, n in counts.items() if n >= self.min_frequency)
        if self.encode == "frequency":
            known.sort(key=lambda value: -counts[value])
        return tuple(known)


@dataclass(frozen=True)
class FittedCategories(FittedStep):
    """`columns` that have codes, and the values known of each; other columns are `hot`.

    The matrix: one-hot columns, mean targets, codes.
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    one_hot: OneHotEncoder
    target_encoder: TargetEncoder
    crosses: tuple[Cross, ...] = ()

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes each column of codes has, the unseen one counted."""
        return tuple(len(values) + 1 for values in self.categories)

    @property
    def supervised(self) -> bool:
        """Means are those of the target, and crosses are chosen by it."""
        return bool(self.target_encoder.columns or self.crosses)

    @property
    def n_columns(self) -> int:
        return self.one_hot.n_columns + self.target_encoder.n_columns + len(self.columns)

    def transform(self, table: Table) -> NDArray[np.float32]:
        """(rows, outputs), for rows that were not learnt from where there are mean targets."""
        table = crossed(table, self.crosses)
        return self._matrix(table, self.target_encoder.transform(table))

    def transform_training(
        self, table: Table, aims: TargetMatrix, seed: int, groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """(rows, outputs), for the rows learnt from: no row's means know its own target."""
        table = crossed(table, self.crosses)
        return self._matrix(table, self.target_encoder.out_of_fold(table, aims, seed, groups))

    def _matrix(self, table: Table, means: NDArray[np.float32]) -> NDArray[np.float32]:
        """Codes as float32 are exact up to 2^24 of them."""
        codes = [
            codes_of(table.arrays[name], known).astype(np.float32)[:, None]
            for name, known in zip(self.columns, self.categories, strict=True)
        ]
        return side_by_side([self.one_hot.transform(table), means, *codes], len(table))

    def to_onnx(self, nodes: OnnxGraphBuilder) -> str:
        emit_crosses(nodes, self.crosses)
        parts = [
            part.to_onnx(nodes) for part in (self.one_hot, self.target_encoder) if part.n_columns
        ]
        coded = [
            emit_codes(nodes, name, known)
            for name, known in zip(self.columns, self.categories, strict=True)
        ]
        parts += [nodes.cast(nodes.stack_columns(coded), np.float32)] if coded else []
        return joined(nodes, parts)
