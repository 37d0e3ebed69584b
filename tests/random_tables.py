"""Random tables: columns of mixed kinds under odd names, and a target that follows some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from random_columns import KINDS, RNG, RandomColumn

NAMES = (
    "age", "größe", "цена", "年", "a b", "x,y", 'the "best"', "🙂", "# visits", "NA", "value",
    "label", "p(yes)", "x;y", "l'été", "0", "per cent %", "=sum", "CaSe", "a\tb",
)  # fmt: skip
LEARNT_ROWS, NEW_ROWS = 110, 22
FAMILIES = ("linear", "linear", "linear", "lightgbm", "extra_trees")
N_TABLES = 40


@dataclass(frozen=True, eq=False)
class RandomTable:
    """Rows to learn from with their targets, and new rows in their own and in other types."""

    learnt: pd.DataFrame
    target: Any
    new: pd.DataFrame
    others: tuple[pd.DataFrame, ...]
    family: str
    from_file: bool
    separator: str
    parquet: bool
    kinds: Mapping[str, str]
    """Name of each column -> its kind, to be read in a failure."""

    @property
    def regression(self) -> bool:
        return np.asarray(self.target).dtype.kind == "f" and len(set(self.target)) > 20

    def write(self, frame: pd.DataFrame, path: Path) -> Path:
        """The rows as a CSV file of this table's separator; with ; numbers have a decimal comma."""
        decimal = "," if self.separator == ";" else "."
        frame.to_csv(path, index=False, sep=self.separator, decimal=decimal)
        return path


def random_table(seed: int) -> RandomTable:
    """Table number `seed`: every kind of column and target comes up in `N_TABLES` of them."""
    rng = np.random.default_rng([seed, 19])
    rows = LEARNT_ROWS + NEW_ROWS
    n_columns = 1 if seed % 10 == 9 else int(rng.integers(3, 8))
    first = list(KINDS)[seed % (len(KINDS) - 1)]  # the last kind, nothing, is no column to be alone
    kinds = [first, *map(str, rng.choice(list(KINDS), n_columns - 1))]
    from_file, separator = seed % 4 == 3, ";" if seed % 8 == 7 else ","
    if separator == ";":  # `to_csv` gives floats a decimal comma, and Decimals none
        kinds = ["floats" if kind == "decimals" else kind for kind in kinds]
    columns = [KINDS[kind](rng, rows) for kind in kinds]
    names = [str(name) for name in rng.choice(NAMES, n_columns, replace=False)]
    signal = sum(column.signal for column in columns[:3]) + 0.1 * rng.normal(size=rows)
    make = _file_target(seed // 4) if from_file else _target(seed)
    target = make(rng, np.asarray(signal))
    frames = _frames(columns, names)
    return RandomTable(
        frames[0][:LEARNT_ROWS], target[:LEARNT_ROWS], _new(frames[0]),
        tuple(map(_new, frames[1:])), FAMILIES[seed % len(FAMILIES)], from_file, separator,
        all(column.parquet for column in columns), dict(zip(names, kinds, strict=True)),
    )  # fmt: skip


def _new(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[LEARNT_ROWS:].reset_index(drop=True)


def _frames(columns: list[RandomColumn], names: list[str]) -> list[pd.DataFrame]:
    """The table, and tables of the same values, each column in another of its types."""
    most = max(len(column.others) for column in columns)
    chosen = [[column.values for column in columns]]
    chosen += [
        [column.others[place % len(column.others)] for column in columns] for place in range(most)
    ]
    return [pd.DataFrame(dict(zip(names, values, strict=True))) for values in chosen]


Make = Callable[[RNG, NDArray[np.float64]], Any]


def _classes(*labels: Any, dtype: Any = None) -> Make:
    """Labels by the quantiles of the signal."""

    def make(rng: RNG, signal: NDArray[np.float64]) -> Any:
        bounds = np.quantile(signal, np.arange(1, len(labels)) / len(labels))
        place = np.searchsorted(bounds, signal)
        if dtype is object:
            chosen = np.empty(len(labels), object)
            chosen[:] = labels
            return chosen[place]
        return np.array(labels, dtype)[place]

    return make


def _as_series(make: Make, dtype: Any) -> Make:
    return lambda rng, signal: pd.Series(make(rng, signal), name="goal").astype(dtype)


def _numbers(scale: float, start: float) -> Make:
    return lambda rng, signal: start + scale * signal


def _with_gaps(make: Make, gap: Any) -> Make:
    def gappy(rng: RNG, signal: NDArray[np.float64]) -> Any:
        target = make(rng, signal)
        target[:LEARNT_ROWS:17] = gap
        return target

    return gappy


_TARGETS: tuple[Make, ...] = (
    _classes("yes", "no"),
    _classes("None", "NA", "null", dtype=object),
    _classes(0, 1),
    _numbers(1.0, 0.0),
    _classes(0.0, 1.0),
    _classes(" yes", "no ", "a  b", dtype=object),
    _classes(2**63 + 1, 2**63 + 3, 2**64 - 1, dtype=np.uint64),
    _classes(False, True),
    _classes("a", 1, 2.5, dtype=object),
    _numbers(1e6, 1e9),
    _with_gaps(_classes(0.0, 1.0), np.nan),
    _classes("01", "1", "1.0", dtype=object),
    _as_series(_classes("größer", "赤", "?", dtype=object), "category"),
    _classes(-3, 7, 120, dtype=np.int8),
    _as_series(_classes("True", "False", dtype=object), "str"),
    _with_gaps(_classes("up", "down", dtype=object), None),
    _classes(0.5, 2.5, -1.0),
    _as_series(_classes(10**15, 10**15 + 1), "Int64"),
    _with_gaps(_classes(False, True, dtype=object), None),
    _classes(2**53, 2**53 + 1, dtype=np.int64),
    _classes("x" * 300, "=cmd()", "a,b\nc", dtype=object),
    _with_gaps(_classes(1, 2, dtype=object), None),
    _classes(np.float32(0.1), np.float32(0.2), dtype=np.float32),
)
_FILE_TARGETS: tuple[Make, ...] = (
    _classes("None", "NA", "null", dtype=object),
    _classes("01", "1", "x", dtype=object),
    _classes("3.10", "3.1", "3.2", dtype=object),
    _classes("1E5", "100000", "2E3", dtype=object),
    _classes("12345678901234567890123", "12345678901234567890124", dtype=object),
    _classes("?", "nan", "None", dtype=object),
    _classes(0, 1),
    _classes("007", "07", "7", dtype=object),
    _classes("yes", "no", dtype=object),
    _classes("größer", "赤", dtype=object),
)


def _target(number: int) -> Make:
    return _TARGETS[number % len(_TARGETS)]


def _file_target(number: int) -> Make:
    """Texts that a file must give back as they stand there."""
    return _FILE_TARGETS[number % len(_FILE_TARGETS)]


def parts(rows: int, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The two halves of rows in an order."""
    yield order[: rows // 2]
    yield order[rows // 2 :]
