"""Columns of every kind that people have, drawn from a seed, and the same values in other types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

RNG = np.random.Generator
MISSING_MARKS = (None, np.nan, "", "NA", "?")


@dataclass(frozen=True, eq=False)
class RandomColumn:
    """Values (n,), the same values in other types, and `signal` (n,): what a target may follow."""

    values: pd.Series
    signal: NDArray[np.float64]
    others: tuple[pd.Series, ...]
    parquet: bool = True
    """False: the format has no type for it."""


def texts_of(values: pd.Series) -> pd.Series:
    """What `to_csv` writes, as Python texts; None stays."""
    missing = values.isna()
    return pd.Series(
        [None if gone else str(value) for value, gone in zip(values, missing, strict=True)],
        dtype=object,
    )


def with_holes(rng: RNG, values: pd.Series, marks: tuple[Any, ...] = (None,)) -> pd.Series:
    """An object column in which every eighth value or so is one of the missing marks."""
    cells = values.astype(object).copy()
    for row in np.flatnonzero(rng.random(len(cells)) < 0.12):
        cells.iloc[row] = marks[rng.integers(len(marks))]
    return cells


def ranks(values: Any) -> NDArray[np.float64]:
    """Places among the sorted values, from -1 to 1."""
    order = np.unique(np.asarray(values), return_inverse=True)[1].astype(float)
    return 2 * order / max(1.0, order.max()) - 1


def floats(rng: RNG, rows: int) -> RandomColumn:
    scale = 10.0 ** rng.integers(-6, 7)
    values = pd.Series(np.float32(scale) * rng.normal(size=rows).astype(np.float32))
    doubles = values.astype(np.float64)
    return RandomColumn(
        doubles, ranks(doubles), (values, doubles.astype(object), texts_of(doubles)),
    )  # fmt: skip


def floats_with_holes(rng: RNG, rows: int) -> RandomColumn:
    full = pd.Series(rng.normal(size=rows).round(3))
    signal = ranks(full)
    cells = with_holes(rng, full)
    values = cells.astype(np.float64)
    marked = texts_of(values)
    marked[marked.isna()] = rng.choice(
        np.array(["", "NA", "?", "nan"], object), marked.isna().sum()
    )
    return RandomColumn(values, signal, (cells, values.astype("Float64"), marked))


def fine_floats(rng: RNG, rows: int) -> RandomColumn:
    """Steps that float32 cannot tell apart at this height."""
    start = float(rng.choice([1e8, 5.2e7, -3e9]))
    values = pd.Series(start + rng.integers(0, 400, rows) / 8)
    return RandomColumn(values, ranks(values), (values.astype(object), texts_of(values)))


def small_wholes(rng: RNG, rows: int) -> RandomColumn:
    values = pd.Series(rng.integers(0, 100, rows))
    others = [values.astype(name) for name in ("uint8", "float64", "object", "Int64", "float32")]
    texts = texts_of(values)
    return RandomColumn(values, ranks(values), (*others, texts, texts.astype("category")))


def wholes_with_holes(rng: RNG, rows: int) -> RandomColumn:
    full = pd.Series(rng.integers(-50, 50, rows))
    cells = with_holes(rng, full)
    return RandomColumn(
        cells.astype("Int64"), ranks(full), (cells, cells.astype(np.float64), texts_of(cells)),
    )  # fmt: skip


def big_wholes(rng: RNG, rows: int) -> RandomColumn:
    """Unix seconds, order numbers and identifiers: below 2^53, above what float32 tells apart."""
    start, width = [
        (1_700_000_000, 60), (20_000_000, 300), (2**53 - 1000, 999), (-(2**40), 500),
        (1_700_000_000_123, 4000),
    ][rng.integers(5)]  # fmt: skip
    values = pd.Series(start + rng.integers(0, width, rows))
    others = [values.astype(name) for name in ("float64", "object", "Int64")]
    return RandomColumn(values, ranks(values), (*others, texts_of(values)))


def written_days(rng: RNG, rows: int) -> RandomColumn:
    """20240131: days as whole numbers."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 90, rows), "D")
    values = pd.Series(days.strftime("%Y%m%d").astype(np.int64))
    others = (values.astype(np.int32), values.astype(np.float64), texts_of(values))
    return RandomColumn(values, ranks(values), others)


def booleans(rng: RNG, rows: int) -> RandomColumn:
    values = pd.Series(rng.random(rows) < 0.5)
    others = (values.astype(object), values.astype("boolean"), values.astype(int), texts_of(values))
    return RandomColumn(values, ranks(values), others)


def booleans_with_holes(rng: RNG, rows: int) -> RandomColumn:
    full = pd.Series(rng.random(rows) < 0.5)
    cells = with_holes(rng, full)
    return RandomColumn(cells.astype("boolean"), ranks(full), (cells, texts_of(cells)))


def words(rng: RNG, rows: int) -> RandomColumn:
    names = ["red", "größer", "light blue", "赤", "Ω-3", "O'Neil", "a,b", 'the "best"', "x;y", "#1"]
    chosen = rng.choice(names, rng.integers(2, len(names)), replace=False)
    return _categories(rng, rows, [str(name) for name in chosen])


def words_with_marks(rng: RNG, rows: int) -> RandomColumn:
    full = pd.Series(rng.choice(["low", "mid", "high"], rows))
    cells = with_holes(rng, full, MISSING_MARKS)
    return RandomColumn(cells, ranks(full), (cells.astype("string"), cells.astype("category")))


def codes(rng: RNG, rows: int) -> RandomColumn:
    """Texts of which some look like numbers: what a file holds must not change them."""
    names = [
        ["1E5", "2E3", "A7"], ["0123456789012345678", "77", "A7"], ["Infinity", "Nova", "Zen"],
        ["0042", "42", "x"], ["1_000", "1000", "k"], ["2024-01-01", "May", "June"],
        ["true", "maybe", "no"], ["5%", "half", "all"], ["3,5", "b", "c"], ["-", "+", "--"],
    ][rng.integers(10)]  # fmt: skip
    return _categories(rng, rows, names)


def _categories(rng: RNG, rows: int, names: list[str]) -> RandomColumn:
    values = pd.Series(rng.choice(names, rows), dtype=object)
    others = (values.astype("category"), values.astype("string"), values.astype("str"))
    return RandomColumn(values, ranks(values), others)


def declared(rng: RNG, rows: int) -> RandomColumn:
    """A frame's own categories: three texts, though two or all of them are one number."""
    names = [["7", "07", "007"], ["1E2", "100", "1e+2"], ["1.0", "1", "x"], ["+1", "1", "2"]]
    texts = pd.Series(rng.choice(names[int(rng.integers(4))], rows), dtype=object)
    return RandomColumn(texts.astype("category"), ranks(texts), (texts, texts.astype("string")))


def declared_wholes(rng: RNG, rows: int) -> RandomColumn:
    numbers = pd.Series(rng.integers(1, 5, rows))
    others = (numbers, numbers.astype(float), texts_of(numbers))
    return RandomColumn(numbers.astype("category"), ranks(numbers), others)


def sentences(rng: RNG, rows: int) -> RandomColumn:
    good = rng.random(rows) < 0.5
    say = ["the %s thing, seen on day %d", "a %s view\nof “room” %d", "#%s and very new: no. %d"]
    cells = [
        say[rng.integers(3)] % ("good" if yes else "bad", rng.integers(10_000)) for yes in good
    ]
    values = pd.Series(cells, dtype=object)
    return RandomColumn(values, ranks(good), (values.astype("string"), values.astype("category")))


def dates(rng: RNG, rows: int) -> RandomColumn:
    step = str(rng.choice(["D", "h", "s"]))
    moments = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 900, rows), step)
    values = pd.Series(moments)
    signal = ranks(values)
    values[rng.random(rows) < 0.1] = pd.NaT
    texts = texts_of(values)
    unit = "datetime64[s]" if values.dtype != "datetime64[s]" else "datetime64[ns]"
    return RandomColumn(values, signal, (values.astype(unit), values.astype(object), texts))


def zoned_dates(rng: RNG, rows: int) -> RandomColumn:
    moments = pd.Timestamp("2021-03-01") + pd.to_timedelta(rng.integers(0, 9000, rows), "h")
    values = pd.Series(moments.tz_localize("UTC").tz_convert("Asia/Kolkata"))
    others = (values.dt.tz_convert("UTC"), values.astype(object), texts_of(values))
    return RandomColumn(values, ranks(moments), others)


def numbered_dates(rng: RNG, rows: int) -> RandomColumn:
    """Texts such as 31/12/2024, of which some files show no day above 12."""
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), "D")
    form = str(rng.choice(["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y 14:05"]))
    values = pd.Series(days.strftime(form), dtype=object)
    return RandomColumn(values, ranks(days), (values.astype("category"), values.astype("string")))


def periods(rng: RNG, rows: int) -> RandomColumn:
    frequency = str(rng.choice(["D", "M", "Q", "Y", "W", "h"]))
    values = pd.Series(pd.period_range("2015-01", periods=80, freq=frequency)[
        rng.integers(0, 80, rows)
    ])  # fmt: skip
    return RandomColumn(
        values, ranks(values.astype("int64")), (values.astype(object), texts_of(values))
    )


def durations(rng: RNG, rows: int) -> RandomColumn:
    seconds = rng.integers(0, 200_000, rows)
    values = pd.Series(pd.to_timedelta(seconds, unit="s"))
    signal = ranks(seconds)
    values[rng.random(rows) < 0.1] = pd.NaT
    plain = [
        None if pd.isna(value) else timedelta(seconds=value.total_seconds()) for value in values
    ]
    others = (values.astype("timedelta64[ms]"), pd.Series(plain, dtype=object), texts_of(values))
    return RandomColumn(values, signal, others)


def units(rng: RNG, rows: int) -> RandomColumn:
    """Numbers with a unit behind or before them."""
    form = str(
        rng.choice(["{} kg", "{}kg", "${}.50", "{}%", "€{}", "{} €", "{} ms", "{}MB", "-{} m"])
    )
    numbers = rng.integers(1, 300, rows)
    full = pd.Series([form.format(number) for number in numbers], dtype=object)
    cells = with_holes(rng, full, (None, "", "NA"))
    return RandomColumn(cells, ranks(numbers), (cells.astype("category"), cells.astype("string")))


def decimals(rng: RNG, rows: int) -> RandomColumn:
    numbers = rng.integers(0, 1000, rows)
    values = pd.Series([Decimal(int(number)) / 4 for number in numbers], dtype=object)
    others = (values.astype(float), pd.Series([str(value) for value in values], dtype=object))
    return RandomColumn(values, ranks(numbers), others)


def mixed(rng: RNG, rows: int) -> RandomColumn:
    """Words, whole numbers, fractions and booleans in one column."""
    cells = np.array(["a few", 3, 2.5, True, "3.0", None], object)[rng.integers(0, 6, rows)]
    values = pd.Series(cells, dtype=object)
    signal = np.array([isinstance(cell, str) for cell in cells], float)
    return RandomColumn(values, signal, (values.astype("category"),), parquet=False)


def nothing(rng: RNG, rows: int) -> RandomColumn:
    values = pd.Series(np.full(rows, np.nan))
    return RandomColumn(values, np.zeros(rows), (values.astype(object), values.astype("Int64")))


KINDS: Mapping[str, Callable[[RNG, int], RandomColumn]] = {
    maker.__name__: maker
    for maker in (
        floats, floats_with_holes, fine_floats, small_wholes, wholes_with_holes, big_wholes,
        written_days, booleans, booleans_with_holes, words, words_with_marks, codes, declared,
        declared_wholes, sentences, dates, zoned_dates, numbered_dates, periods, durations, units,
        decimals, mixed, nothing,
    )
}  # fmt: skip
