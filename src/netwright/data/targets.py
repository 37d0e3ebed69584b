"""The target: which kind it is, its classes, and its values as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import listed, vector
from netwright.data.columns import canonical, each, is_missing, number
from netwright.data.task import Kind, Value
from netwright.errors import InputError, closest, expected

Wish: TypeAlias = Kind | Literal["classification"] | None

_MOST_CLASSES = 20
_LEAST_ROWS = 3
"""Whole numbers are classes up to this many distinct ones, with this many rows each on average."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be predicted, for the rows that have it.

    `values`: int64 places in `classes`, or float64; `rows`: which of the given rows they belong to.
    """

    kind: Kind
    classes: tuple[Value, ...]
    values: NDArray[Any]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    doubt: str = ""
    """Why another kind may be meant; empty where the kind was given or is plain."""


def read_target(raw: Any, name: str, kind: Wish = None) -> Target:
    """The target of a task. Raises InputError when nothing can be learnt from it."""
    if kind not in (None, "binary", "multiclass", "regression", "classification"):
        raise InputError(expected("kind", "binary, multiclass or regression", kind))
    name = name or "y"
    labels = _labels(raw, name)
    rows = np.flatnonzero([label is not None for label in labels])
    present = [label for label in labels if label is not None]
    meant, why = (kind, "") if kind or not present else looks_like(present, name)
    if meant == "regression":
        return _regression(raw, name)
    _some(rows, name)
    classes = _classes(present, name, meant)
    place = {label: i for i, label in enumerate(classes)}
    values = np.array([place[label] for label in present], np.int64)
    notes = dropped_note(len(labels) - len(rows), name)
    found: Kind = "binary" if len(classes) == 2 else "multiclass"
    return Target(found, classes, values, rows, notes, why)


def read_same(raw: Any, name: str, kind: Kind, classes: Sequence[Value]) -> Target:
    """The target of more rows of a task, by its classes. InputError at a label it never saw.

    ``"1"`` is the class 1 where no class is called so: files and frames differ in such types.
    """
    name = name or "y"
    if kind == "regression":
        return _regression(raw, name, varies=False)
    labels = _labels(raw, name)
    rows = np.flatnonzero([label is not None for label in labels])
    _some(rows, name)
    place: dict[Value | None, int] = {canonical(label): i for i, label in enumerate(classes)}
    place |= {label: i for i, label in enumerate(classes)}
    values = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        label = labels[row]
        found = place.get(label, place.get(canonical(label)))
        if found is None:
            fix = closest(str(label), classes) or f"Known: {listed(classes)}."
            rule = f"one of the {len(classes)} classes learnt"
            raise InputError(expected(f"target {name!r} (row {row + 1})", rule, label, fix))
        values[i] = found
    return Target(kind, tuple(classes), values, rows, dropped_note(len(labels) - len(rows), name))


def looks_like(labels: Sequence[Value], name: str = "y") -> tuple[Kind, str]:
    """The kind that a target looks like, and a sentence where one may see it otherwise.

    Texts, booleans and categories are classes, unless every text is a number: then the numbers
    decide. Numbers with a fraction are regression. Whole numbers, also those stored as floats, are
    classes when there are two distinct ones, or at most 20 with 3 rows each on average; otherwise
    they are regression.
    """
    distinct = set(labels)
    sure: Kind = "binary" if len(distinct) <= 2 else "multiclass"
    if any(isinstance(label, bool) for label in distinct):
        return sure, ""
    numbers = [number(label) for label in distinct]
    if any(value is None or np.isnan(value) for value in numbers):
        return sure, ""
    if any(value is not None and not value.is_integer() for value in numbers):
        return "regression", ""
    if len(distinct) <= 2:
        return sure, ""
    if len(distinct) > _MOST_CLASSES or len(labels) < _LEAST_ROWS * len(distinct):
        return "regression", ""
    say = (
        f"The {len(distinct)} whole numbers of {name!r} are taken as classes; "
        "kind='regression' (--kind regression) predicts them as numbers."
    )
    return sure, say


def enough_rows(values: NDArray[Any], classes: Sequence[Value], name: str) -> None:
    """InputError when a class has a single row: it could be learnt or judged, not both."""
    counts = np.bincount(values, minlength=len(classes))
    few = [label for label, count in zip(classes, counts, strict=True) if count < 2]
    if not few:
        return
    if len(few) > max(2, len(classes) // 2):
        raise InputError(
            f"target {name or 'y'!r} must have at least 2 rows for each class, got "
            f"{len(classes):,} classes in {len(values):,} rows. For numbers, use kind='regression'."
        )
    more = f" (and {len(few) - 1} more classes)" if len(few) > 1 else ""
    raise InputError(
        f"class {few[0]!r}{more} of target {name or 'y'!r} must have at least 2 rows, one to learn "
        "from and one to judge by, got 1. Add rows, drop it, or merge it with another class."
    )


def dropped_note(count: int, name: str) -> tuple[str, ...]:
    """What is said of rows without a target."""
    if not count:
        return ()
    rows = "1 row has" if count == 1 else f"{count:,} rows have"
    return (f"{rows} no {name!r} and {'is' if count == 1 else 'are'} left out.",)


def _labels(raw: Any, name: str) -> list[Value | None]:
    """Plain Python values, None where missing; whole floats become whole numbers."""
    array = vector(raw, f"target {name!r}")
    if array.dtype.kind in "Mm":
        raise InputError(f"target {name!r} must hold numbers or classes, got dates.")
    labels = each(array.astype(object), _label, name)
    types = Counter(type(label) for label in labels if label is not None)
    if (str in types and len(types) > 1) or (bool in types and len(types) > 1):
        return [None if label is None else str(label) for label in labels]
    if float in types:
        infinite = next((i for i, x in enumerate(labels) if x in (np.inf, -np.inf)), None)
        if infinite is not None:
            got = labels[infinite]
            raise InputError(
                f"target {name!r} must be finite, got {got} in row {infinite + 1}. Drop the row."
            )
        return [None if label is None else float(label) for label in labels]
    whole = [label for label in labels if isinstance(label, int)]
    if max(map(abs, whole), default=0) >= 2**63:  # more than the delivered file can hold
        return [None if label is None else str(label) for label in labels]
    return labels


def _label(value: Any) -> Value | None:
    if is_missing(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, bool | int):
        return value
    as_number = number(value)
    return str(value) if as_number is None else _label(as_number)


def _classes(labels: list[Value], name: str, meant: Wish) -> tuple[Value, ...]:
    """The distinct labels, sorted: numbers by size, False before True, texts by their letters."""
    classes: tuple[Value, ...] = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(
            f"target {name!r} must have at least two classes, got one: {classes[0]!r}. "
            "Add rows of another class."
        )
    if meant == "binary" and len(classes) > 2:
        raise InputError(
            f"target {name!r} must have two classes to be binary, got {len(classes)}: "
            f"{listed(classes)}. Use kind='multiclass'."
        )
    return classes


def _regression(raw: Any, name: str, varies: bool = True) -> Target:
    found = _numbers(raw, name)
    rows = np.flatnonzero(~np.isnan(found))
    _some(rows, name)
    values = found[rows]
    if varies and (values == values[0]).all():
        raise InputError(
            f"target {name!r} must vary, got {values[0]:g} in every row. Choose another target."
        )
    return Target("regression", (), values, rows, dropped_note(len(found) - len(rows), name))


def _some(rows: NDArray[np.int64], name: str) -> None:
    if not len(rows):
        raise InputError(f"target {name!r} must have a value in some rows, got none in any.")


def _numbers(raw: Any, name: str) -> NDArray[np.float64]:
    """float64, NaN where missing; InputError at a text that is no number, or at infinity."""
    array = vector(raw, f"target {name!r}").astype(object)
    found = each(array, number, name)
    if None in found:
        row = found.index(None)
        raise InputError(
            f"target {name!r} must hold numbers for regression, got {array[row]!r} in row "
            f"{row + 1}. For classes, use kind='classification'."
        )
    values = np.array(found, np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = int(infinite[0])
        raise InputError(
            f"target {name!r} must be finite, got {values[row]} in row {row + 1}. Drop the row."
        )
    return values
