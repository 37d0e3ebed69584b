"""What a column is there for, by its values: to learn from, to be read as text, to name the row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import listed
from netwright.data.columns import Column, as_category, number
from netwright.data.datetimes import MISSING_DATE
from netwright.data.na_values import DEFAULT_NA_VALUES
from netwright.data.number_formats import BARE, NumberFormat
from netwright.data.precision import MAX_EXACT_FLOAT64
from netwright.data.task import Features, Images, Table
from netwright.errors import plural, quoted

Role = Literal["category", "text", "name"]

_ROWS = 50
"""Fewer rows may all differ by chance."""
_TEXTS = 20
_SHARE, _DECLARED_SHARE = 0.1, 0.5
_WORDS = 3
"""Texts: so many different ones, in such a share of the rows, of so many words on average."""
CODE = re.compile(r"[+-]?0[0-9]+")
_MAYBE_CODE = re.compile(rf"{CODE.pattern}|.*[0-9][eE][+-]?[0-9]+")
"""Texts that are numbers, but may be meant as codes: 007, and 1E5 beside 100000."""
_SHARE_LEFT = 0.5
"""Of the different values of a column: where fewer are left after reading, people are told."""


def role_of(values: NDArray[np.object_], declared: bool = False) -> Role:
    """What canonical texts are; "" is missing. `declared`: somebody says that they are categories.

    Text: they are many different ones of 3 words and more on average (the rule of AutoGluon, which
    asks for fewer different ones). Names of rows: every one differs, and they are no sentences.
    """
    present = [text for text in values.tolist() if text]
    distinct = set(present)
    words = sum(len(text.split()) for text in distinct) / max(1, len(distinct))
    share = _DECLARED_SHARE if declared else _SHARE
    if words >= _WORDS and len(distinct) >= max(_TEXTS, share * len(present)):
        return "text"
    if len(distinct) == len(present) >= _ROWS and words < 2 and len(present) >= 0.5 * len(values):
        return "name"
    return "category"


def oddities(name: str, kind: str, values: NDArray[Any], raw: NDArray[Any]) -> list[str]:
    """What people would want to know of a column, a sentence each; `raw`: as it came."""
    if kind == "numeric" and (count := int(np.isinf(values).sum())):
        many = "an infinite value" if count == 1 else f"{count:,} infinite values"
        return [f"Column {name!r} has {many}, taken as missing."]
    if kind == "numeric" and raw.dtype.kind in "iu" and len(raw) >= _ROWS and _counts_up(raw):
        return [f"Column {name!r} counts up with the rows: drop it if it only names the row."]
    if kind == "text":
        return [f"Column {name!r} is read as text: its words are looked at, not the whole."]
    if kind == "category" and len(values) >= _ROWS and len(set(values)) > 0.9 * len(values):
        return [f"Column {name!r} differs in nearly every row: drop it if it only names the row."]
    return []


def merged_texts(column: Column, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    """A sentence where different texts of a column became one value, or most values are gone."""
    if column.kind == "date":
        return _impossible_dates(column.name, raw, values)
    if raw.dtype != object:
        return []
    if column.kind == "category":
        return _merged_categories(column.name, raw, values)
    if column.kind == "text":
        return []
    before = {text for value in raw.tolist() if isinstance(value, str) and (text := value.strip())}
    if column.kind == "numeric" and any(map(_MAYBE_CODE.fullmatch, before)):
        return merged_numbers(column.name, before, column.number_format)
    after = len(np.unique(values))
    if column.kind == "boolean" or after >= _SHARE_LEFT * len(before):
        return []
    return [
        f"Column {column.name!r} has {len(before):,} different texts, which are read as {after:,} "
        f"different {column.kind} values."
    ]


def merged_numbers(
    name: str, texts: Iterable[str], number_format: NumberFormat = BARE
) -> list[str]:
    """A sentence where codes such as 7 and 007, or whole numbers beyond 2^53, are one number."""
    writings: dict[float, list[str]] = {}
    for text in sorted(texts):
        value = number(text, number_format)
        if value is not None and np.isfinite(value):
            writings.setdefault(value, []).append(text)
    merged = [
        same
        for value, same in writings.items()
        if len(same) > 1
        and (abs(value) >= MAX_EXACT_FLOAT64 or any(map(_MAYBE_CODE.fullmatch, same)))
    ]
    if not merged:
        return []
    return [
        f"Column {name!r} is read as numbers, so that {listed(map(quoted, merged[0]))} are one "
        f"value{_more(merged)}. Pass a DataFrame in which it is categorical to keep them apart."
    ]


def _more(groups: Sequence[object]) -> str:
    return f", and {len(groups) - 1:,} more such" if len(groups) > 1 else ""


def _impossible_dates(name: str, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    """Sentences on dates that no calendar has, and on those beyond the range of nanoseconds."""
    missing = (values == MISSING_DATE).tolist()
    texts = [
        value
        for value, gone in zip(raw.tolist(), missing, strict=True)
        if gone and isinstance(value, str) and value.strip() not in DEFAULT_NA_VALUES.texts
    ]
    notes = []
    if texts:
        some = ", ".join(map(quoted, list(dict.fromkeys(texts))[:3]))
        rows = plural(len(texts), "row")
        notes.append(
            f"Column {name!r}: dates that no calendar has ({some}) count as missing ({rows})."
        )
    if beyond := int((np.abs(values) == np.iinfo(np.int64).max).sum()):
        notes.append(
            f"Column {name!r}: dates before 1677 or after 2262 count as the first or last of these "
            f"years ({plural(beyond, 'row')})."
        )
    return notes


def _merged_categories(name: str, raw: NDArray[Any], values: NDArray[Any]) -> list[str]:
    writings: dict[str, dict[str, None]] = {}
    for before, after in dict(zip(raw.tolist(), values.tolist(), strict=True)).items():
        if isinstance(before, str) and after:
            writings.setdefault(after, {})[before] = None
    merged = [list(texts) for texts in writings.values() if len(texts) > 1]
    if not merged:
        return []
    example = ", ".join(map(quoted, merged[0][:4]))
    return [f"Column {name!r}: {example} are taken as one category{_more(merged)}."]


def same_as_target(features: Features, target: NDArray[Any], name: str) -> list[str]:
    """A sentence for each column that is the target under another name.

    A number equals a target of numbers; any column has one value for each class and no other.
    """
    if isinstance(features, Images) or len(target) < _ROWS:
        return []
    return [
        f"Column {column.name!r} is {name or 'the target'!r} under another name: drop it if it is "
        "not known when predicting."
        for column in features.columns
        if _same(features, column.name, target)
    ]


def _same(table: Table, name: str, target: NDArray[Any]) -> bool:
    values = table.arrays[name]
    if target.dtype.kind == "f":
        return values.dtype.kind == "f" and np.array_equal(values, target.astype(values.dtype))
    # most columns are told apart by their first rows, without a look at the others
    if values.dtype.kind in "if" and len(np.unique(values[:_ROWS])) != len(
        np.unique(target[:_ROWS])
    ):
        return False
    return all(_one_to_one(values[:rows], target[:rows]) for rows in (_ROWS, len(target)))


def _one_to_one(values: NDArray[Any], target: NDArray[Any]) -> bool:
    """Whether each class has one value, and each value one class."""
    texts = as_category(values).tolist()
    pairs = set(zip(texts, target.tolist(), strict=True))
    return len(pairs) == len(set(texts)) == len(np.unique(target))


def _counts_up(values: NDArray[Any]) -> bool:
    """Whether whole numbers rise with each row."""
    return bool((values[1:] > values[:-1]).all())
