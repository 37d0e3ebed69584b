"""Infer from a column's values whether it is a category, a text or a row identifier.

Also the notes on what is unusual in a column, or lost in its conversion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import join_names
from netwright.data.columns import Column, as_category, to_number
from netwright.data.datetimes import MISSING_DATE
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.data.number_formats import PLAIN_NUMBERS, NumberFormat
from netwright.data.precision import MAX_EXACT_FLOAT64
from netwright.data.task import Features, Images, Table
from netwright.errors import plural, quoted

Role = Literal["category", "text", "identifier"]

_MIN_ROWS = 50
"""Fewest rows for judging a column's role: in fewer, values differ or match by chance."""
_MIN_DISTINCT_TEXTS = 20
_MIN_DISTINCT_FRACTION, _MIN_DISTINCT_FRACTION_IF_DECLARED = 0.1, 0.5
_MIN_MEAN_WORDS = 3
"""A text column has so many distinct texts, in such a fraction of the rows, of so many words."""
CODE_PATTERN = re.compile(r"[+-]?0[0-9]+")
_MAYBE_CODE = re.compile(rf"{CODE_PATTERN.pattern}|.*[0-9][eE][+-]?[0-9]+")
"""Texts that are numbers, but may be meant as codes: 007, and 1E5 beside 100000."""
_MIN_DISTINCT_LEFT = 0.5
"""Fraction of a column's distinct texts that must stay distinct as numbers, or a note says so."""


def infer_role(texts: NDArray[np.object_], *, declared_category: bool = False) -> Role:
    """Infer the role of a column of canonical texts.

    A text column has many distinct texts of 3 words or more on average (the rule of AutoGluon,
    which requires fewer distinct ones). An identifier differs in every row and is no sentence.

    Args:
        texts: (n,), "" where missing.
        declared_category: The user's frame declares the column categorical.
    """
    present = [text for text in texts.tolist() if text]
    distinct = set(present)
    mean_words = sum(len(text.split()) for text in distinct) / max(1, len(distinct))
    min_fraction = (
        _MIN_DISTINCT_FRACTION_IF_DECLARED if declared_category else _MIN_DISTINCT_FRACTION
    )
    min_distinct = max(_MIN_DISTINCT_TEXTS, min_fraction * len(present))
    if mean_words >= _MIN_MEAN_WORDS and len(distinct) >= min_distinct:
        return "text"
    all_differ = len(distinct) == len(present) >= _MIN_ROWS
    if all_differ and mean_words < 2 and len(present) >= 0.5 * len(texts):
        return "identifier"
    return "category"


def column_notes(name: str, kind: str, values: NDArray[Any], raw: NDArray[Any]) -> list[str]:
    """Return a note on what is unusual in a column; `raw` holds the cells before conversion."""
    if kind == "numeric" and (count := int(np.isinf(values).sum())):
        infinite = "an infinite value" if count == 1 else f"{count:,} infinite values"
        return [f"Column {name!r} has {infinite}, taken as missing."]
    if kind == "numeric" and raw.dtype.kind in "iu" and len(raw) >= _MIN_ROWS and _increases(raw):
        return [f"Column {name!r} increases with every row: drop it if it only identifies the row."]
    if kind == "text":
        return [f"Column {name!r} is read as text: by its words, not as a category."]
    if kind == "category" and len(values) >= _MIN_ROWS and len(set(values)) > 0.9 * len(values):
        return [
            f"Column {name!r} differs in nearly every row: drop it if it only identifies the row."
        ]
    return []


def merged_values_notes(column: Column, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    """Return a note if different texts of a column became one value, or most values are lost.

    Args:
        column: The column.
        raw: (n,) cells before conversion.
        values: (n,) the same cells, converted.
    """
    if column.kind == "date":
        return _lost_dates_notes(column.name, raw, values)
    if raw.dtype != object:
        return []
    if column.kind == "category":
        return _merged_categories_notes(column.name, raw, values)
    if column.kind == "text":
        return []
    texts = {text for cell in raw.tolist() if isinstance(cell, str) and (text := cell.strip())}
    if column.kind == "numeric" and any(map(_MAYBE_CODE.fullmatch, texts)):
        return merged_numbers_notes(column.name, texts, column.number_format)
    n_distinct = len(np.unique(values))
    if column.kind == "boolean" or n_distinct >= _MIN_DISTINCT_LEFT * len(texts):
        return []
    return [
        f"Column {column.name!r} has {len(texts):,} distinct texts, which are read as only "
        f"{n_distinct:,} distinct {column.kind} values."
    ]


def merged_numbers_notes(
    name: str, texts: Iterable[str], number_format: NumberFormat = PLAIN_NUMBERS
) -> list[str]:
    """Return a note if codes such as 7 and 007, or integers beyond 2^53, become one number."""
    texts_of: dict[float, list[str]] = {}
    for text in sorted(texts):
        number = to_number(text, number_format)
        if number is not None and np.isfinite(number):
            texts_of.setdefault(number, []).append(text)
    merged = [
        equal_texts
        for number, equal_texts in texts_of.items()
        if len(equal_texts) > 1
        and (abs(number) >= MAX_EXACT_FLOAT64 or any(map(_MAYBE_CODE.fullmatch, equal_texts)))
    ]
    if not merged:
        return []
    return [
        f"Column {name!r} is read as numbers, so that {join_names(map(quoted, merged[0]))} become "
        f"one value{_more_text(merged)}. To keep them apart, pass a DataFrame in which the column is "
        "categorical."
    ]


def _more_text(groups: Sequence[object]) -> str:
    return f", and {plural(len(groups) - 1, 'more such group')}" if len(groups) > 1 else ""


def _lost_dates_notes(name: str, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    """Return notes on dates that no calendar has and on dates beyond the range of nanoseconds."""
    is_missing = (values == MISSING_DATE).tolist()
    impossible = [
        cell
        for cell, missing in zip(raw.tolist(), is_missing, strict=True)
        if missing and isinstance(cell, str) and cell.strip() not in DEFAULT_NA_VALUES.texts
    ]
    notes = []
    if impossible:
        examples = ", ".join(map(quoted, list(dict.fromkeys(impossible))[:3]))
        notes.append(
            f"Column {name!r}: dates that do not exist ({examples}) count as missing "
            f"({plural(len(impossible), 'row')})."
        )
    if n_clipped := int((np.abs(values) == np.iinfo(np.int64).max).sum()):
        notes.append(
            f"Column {name!r}: dates before 1677 or after 2262 are clipped to that range "
            f"({plural(n_clipped, 'row')})."
        )
    return notes


def _merged_categories_notes(name: str, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    texts_of: dict[str, dict[str, None]] = {}
    for cell, category in dict(zip(raw.tolist(), values.tolist(), strict=True)).items():
        if isinstance(cell, str) and category:
            texts_of.setdefault(category, {})[cell] = None
    merged = [list(texts) for texts in texts_of.values() if len(texts) > 1]
    if not merged:
        return []
    example = ", ".join(map(quoted, merged[0][:4]))
    return [f"Column {name!r}: {example} are taken as one category{_more_text(merged)}."]


def leakage_notes(features: Features, target: NDArray[Any], name: str) -> list[str]:
    """Return a note for each column that equals the target (target leakage).

    A numeric column equals a regression target; any column equals classes if it has one value for
    each class and no other.
    """
    if isinstance(features, Images) or len(target) < _MIN_ROWS:
        return []
    return [
        f"Column {column.name!r} is {name or 'the target'!r} under another name: drop it if it is "
        "unknown at prediction time."
        for column in features.columns
        if _equals_target(features, column.name, target)
    ]


def _equals_target(table: Table, name: str, target: NDArray[Any]) -> bool:
    values = table.arrays[name]
    if target.dtype.kind == "f":
        return values.dtype.kind == "f" and np.array_equal(values, target.astype(values.dtype))
    # the first rows rule most columns out, without a look at the others
    if values.dtype.kind in "if" and len(np.unique(values[:_MIN_ROWS])) != len(
        np.unique(target[:_MIN_ROWS])
    ):
        return False
    return all(_one_to_one(values[:rows], target[:rows]) for rows in (_MIN_ROWS, len(target)))


def _one_to_one(values: NDArray[Any], target: NDArray[Any]) -> bool:
    """Return whether each class has one value, and each value one class."""
    texts = as_category(values).tolist()
    pairs = set(zip(texts, target.tolist(), strict=True))
    return len(pairs) == len(set(texts)) == len(np.unique(target))


def _increases(numbers: NDArray[Any]) -> bool:
    """Return whether each number is larger than the one before."""
    return bool((numbers[1:] > numbers[:-1]).all())
