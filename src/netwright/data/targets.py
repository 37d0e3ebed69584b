"""The target: which kind it is, its classes, and its values as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import listed, vector
from netwright.data.column_inference import reading
from netwright.data.columns import canonical, each, number
from netwright.data.datetimes import seconds_array
from netwright.data.labels import (
    BYTES_ENCODING,
    Value,
    label_dtype,
    label_key,
    plain_label,
    plain_labels,
    sorted_labels,
)
from netwright.data.na_values import DEFAULT_NA_VALUES, is_missing
from netwright.data.number_formats import BARE, NumberFormat, infer_number_format
from netwright.data.task import TaskKind
from netwright.errors import InputError, closest, expected, plural, quoted, wording

RequestedTaskKind: TypeAlias = TaskKind | Literal["classification"] | None

_MOST_CLASSES = 20
_LEAST_ROWS = 3
"""Whole numbers are classes up to this many distinct ones, with this many rows each on average."""
_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class LabelSource:
    """Where targets come from, which says how their texts are meant.

    `csv`: every label is a text. `file`: blanks around texts do not count. `images`: whole numbers
    are classes, however many there are. `decimal_comma`: the table's separator leaves the comma to
    decimals. `missing`: texts that stand for no label, of numbers as they are written plainly.
    """

    csv: bool = False
    file: bool = False
    images: bool = False
    decimal_comma: bool = False
    missing: tuple[str, ...] = ()


MEMORY = LabelSource()
"""Python objects: labels are kept as they are."""


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be predicted, for the rows that have it.

    `values`: int64 places in `classes`, or float64; `rows`: which of the given rows they belong to.
    `label_dtype`: the numpy type in which predictions give labels back.
    """

    kind: TaskKind
    classes: tuple[Value, ...]
    values: NDArray[Any]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    doubt: str = ""
    """Why another kind may be meant; empty where the kind was given or is plain."""
    label_dtype: str = "object"
    number_format: NumberFormat = BARE
    """How the numbers of a regression target are written in texts."""


def read_target(
    raw: Any, name: str, kind: RequestedTaskKind = None, source: LabelSource = MEMORY
) -> Target:
    """The target of a task. Raises InputError when nothing can be learnt from it."""
    check_kind(kind)
    name = name or "y"
    given = None if source.csv else _given_dtype(raw)
    raw = vector(raw, f"target {name!r}")
    labels = _labels(raw, name, source)
    present = [label for label in labels if label is not None]
    shown, doubt = (kind, "") if kind or not present else looks_like(present, name, source)
    if shown == "regression":
        return _regression(raw, name, source)
    notes = _label_notes(raw, labels, name, source)
    if source.csv:
        labels = plain_labels(labels)  # type: ignore[arg-type]  # every label of a CSV is a text
    rows = np.flatnonzero([label is not None for label in labels])
    _some(rows, name)
    classes, values = _numbered([label for label in labels if label is not None])
    _check_classes(classes, name, shown)
    notes += dropped_note(len(labels) - len(rows), name)
    task_kind: TaskKind = "binary" if len(classes) == 2 else "multiclass"
    dtype = label_dtype(classes, given)
    return Target(task_kind, classes, values, rows, notes, doubt, dtype)


def check_kind(kind: RequestedTaskKind) -> None:
    """InputError where it is none of the kinds of tasks."""
    if kind not in (None, "binary", "multiclass", "regression", "classification"):
        raise InputError(expected("kind", "binary, multiclass or regression", kind))


def read_same(raw: Any, name: str, like: Target, source: LabelSource = MEMORY) -> Target:
    """The target of more rows of a task, read like that of the task.

    ``"1"`` is the class 1 where no class is called so: files and frames differ in such types.
    InputError at a label that the task does not have, or at a number in another unit.
    """
    name, kind, classes = name or "y", like.kind, like.classes
    if kind == "regression":
        return _regression(raw, name, source, like.number_format)
    labels = _labels(raw, name, source)
    rows = np.flatnonzero([label is not None for label in labels])
    _some(rows, name)
    index_of: dict[Any, int] = {
        canonical(label): i for i, label in enumerate(classes) if not isinstance(label, str)
    }
    index_of |= {str(label): i for i, label in enumerate(classes)}
    index_of |= {label_key(label): i for i, label in enumerate(classes)}
    values = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        label = labels[row]
        assert label is not None  # of `rows`
        index = index_of.get(label_key(label), index_of.get(str(label)))
        index = index_of.get(plain_label(str(label))) if index is None else index
        if index is None:
            fix = closest(str(label), classes) or f"Known: {listed(classes)}."
            rule = f"one of the {len(classes)} classes learnt"
            raise InputError(expected(f"target {name!r} (row {row + 1})", rule, label, fix))
        values[i] = index
    return Target(kind, tuple(classes), values, rows, dropped_note(len(labels) - len(rows), name))


def looks_like(
    labels: Sequence[Value], name: str = "y", source: LabelSource = MEMORY
) -> tuple[TaskKind, str]:
    """The kind that a target looks like, and a sentence where one may see it otherwise.

    Texts, booleans and categories are classes, unless every text is a number: then the numbers
    decide. Numbers with a fraction are regression. Whole numbers, also those stored as floats, are
    classes when there are two distinct ones, or at most 20 with 3 rows each on average; otherwise
    they are regression, but for images, of which whole numbers are always classes. So are texts
    such as ``01``, ``1E5`` and ``5 kg``, which are no plain numbers, where they are as few.
    """
    distinct = set(labels)
    classes: TaskKind = "binary" if len(distinct) <= 2 else "multiclass"
    numbers = _as_numbers(distinct, source)
    if any(isinstance(label, bool) for label in distinct) or not numbers:
        return classes, ""
    fractions = any(not value.is_integer() for value in numbers.values())
    plain = _plainly_written(distinct, source)
    if any(_leading_zero(label) for label in distinct):
        return classes, ""
    if fractions and plain:
        return "regression", ""
    repeated = len(labels) >= _LEAST_ROWS * len(distinct)
    few = repeated and (len(distinct) <= _MOST_CLASSES or not plain)
    if not fractions and (len(distinct) <= 2 or source.images):
        return classes, ""
    if not few:
        return "regression", ""
    taken = "whole numbers" if plain else "values"
    how = wording(python="kind='regression'", shell="--kind regression")
    doubt = (
        f"The {len(distinct)} {taken} of {name!r} are taken as classes; {how} predicts them as "
        "numbers."
    )
    return classes, doubt


def leave_out_single_rows(target: Target, name: str) -> Target:
    """Without the classes of a single row: it could be learnt or judged, not both.

    InputError when too few classes are left, or when most are single: these are no classes.
    """
    counts = np.bincount(target.values, minlength=len(target.classes))
    single = np.flatnonzero(counts == 1)
    if not len(single):
        return target
    name, classes = name or "y", target.classes
    fix = wording(python="kind='regression'", shell="--kind regression")
    if len(classes) - len(single) < 2 or len(single) > max(2, len(classes) // 2):
        raise InputError(
            f"target {name!r} must have at least two classes of 2 rows and more, one to learn from "
            f"and one to judge by, got {len(classes):,} classes in {len(target.values):,} rows, "
            f"{len(single):,} of them in a single row. Add rows, or use {fix} for numbers."
        )
    names = [classes[i] for i in single]
    left = [i for i in range(len(classes)) if counts[i] > 1]
    place = np.full(len(classes), -1)
    place[left] = np.arange(len(left))
    stays = place[target.values] >= 0
    count = "Class" if len(single) == 1 else f"{len(single):,} classes"
    have = "has a single row and is" if len(single) == 1 else "have a single row each and are"
    note = f"{count} {_some_names(names)} of {name!r} {have} left out: no row would be left to judge by."
    return replace(
        target, kind="binary" if len(left) == 2 else "multiclass",
        classes=tuple(classes[i] for i in left), values=place[target.values][stays],
        rows=target.rows[stays], notes=(*target.notes, note),
    )  # fmt: skip


def dropped_note(count: int, name: str) -> tuple[str, ...]:
    """What is said of rows without a target."""
    if not count:
        return ()
    rows = "1 row has" if count == 1 else f"{count:,} rows have"
    return (f"{rows} no {name!r} and {'is' if count == 1 else 'are'} left out.",)


def _labels(raw: Any, name: str, source: LabelSource) -> list[Value | None]:
    """Python values, None where missing."""
    array = vector(raw, f"target {name!r}")
    if array.dtype.kind == "M":
        raise InputError(f"target {name!r} must hold numbers or classes, got dates.")
    if array.dtype.kind == "m":
        array = seconds_array(array)
    if array.dtype.kind == "c":
        raise InputError(f"target {name!r} must hold numbers or classes, got complex numbers.")

    def read(value: Any) -> Value | None:
        label = _label(value)
        if isinstance(label, str):
            label = label.strip() if source.file or source.csv else label
            return label if label.strip() and label not in source.missing else None
        return None if label is None or _is_named(label, source) else label

    labels = each(array.astype(object), read, name)
    for endless in {np.inf, -np.inf} & set(labels):
        row = labels.index(endless) + 1
        raise InputError(
            f"target {name!r} must be finite, got {endless} in row {row}. Drop the row."
        )
    return labels


def _is_named(value: Any, source: LabelSource) -> bool:
    """Whether a value is written as one of the texts that stand for no label."""
    return bool(source.missing) and bool({str(value), canonical(value)} & {*source.missing})


def _label(value: Any) -> Value | None:
    if is_missing(value):
        return None
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bytes):
        return value.decode(BYTES_ENCODING)
    if isinstance(value, str | bool | int | float):
        return value
    as_number = number(value)
    return str(value) if as_number is None else _label(as_number)


def _is_label(value: Any) -> bool:
    """Whether a value can come back as itself."""
    return isinstance(value, str | bytes | bool | int | float | np.generic) or is_missing(value)


def _label_notes(
    raw: Any, labels: Sequence[Value | None], name: str, source: LabelSource
) -> tuple[str, ...]:
    """What people may not expect of texts that are labels."""
    texts = {label for label in set(labels) if isinstance(label, str)}
    distinct = set(vector(raw, name).tolist())
    notes = [
        f"{quoted(text)} is no text of {name!r}: no row is left out for it."
        for text in source.missing
        if text not in {canonical(value) for value in distinct if not isinstance(value, str)}
        and text not in {value.strip() for value in distinct if isinstance(value, str)}
    ]
    others = {type(value).__name__ for value in distinct if not _is_label(value)}
    if texts and others:
        notes.append(f"Labels of type {', '.join(sorted(others))} in {name!r} are kept as texts.")
    marks = sorted(texts & DEFAULT_NA_VALUES.texts)
    if marks and source.csv:
        flag = wording(python=f"missing_labels={marks[0]!r}", shell=f"--missing-label {marks[0]}")
        rows = sum(label in marks for label in labels)
        are = "is a class" if len(marks) == 1 else "are classes"
        notes.append(
            f"{_some_names(marks)} in {name!r} {are} ({plural(rows, 'row')}), not "
            f"missing; {flag} leaves such rows out."
        )
    stripped: dict[str, set[str]] = {}
    for text in sorted(value for value in distinct if isinstance(value, str)):
        stripped.setdefault(text.strip(), set()).add(text)
    same = [sorted(writings) for text, writings in stripped.items() if text and len(writings) > 1]
    if same:
        alike = "are one class" if source.file or source.csv else "are different classes"
        notes.append(f"{_some_names(same[0])} of {name!r} differ by blanks alone and {alike}.")
    return tuple(notes)


def _some_names(names: Sequence[Value]) -> str:
    some = ", ".join(quoted(name) for name in names[:_NAMED_AT_MOST])
    return some + (", ..." if len(names) > _NAMED_AT_MOST else "")


def _given_dtype(raw: Any) -> np.dtype[Any] | None:
    """The numpy type of an array or Series of labels; None where their own types say it: of lists,
    and of pandas' own types."""
    dtype = getattr(raw, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else None


def _numbered(labels: Sequence[Value]) -> tuple[tuple[Value, ...], NDArray[np.int64]]:
    """The classes in their order, and the place of each label among them."""
    if len(set(map(type, labels))) == 1:
        classes = sorted_labels(set(labels))
        place: dict[Any, int] = {label: i for i, label in enumerate(classes)}
        return classes, np.array([place[label] for label in labels], np.int64)
    keys = [label_key(label) for label in labels]  # 1 and True are equal, but not the same label
    classes = sorted_labels(dict(zip(keys, labels, strict=True)).values())
    place = {label_key(label): i for i, label in enumerate(classes)}
    return classes, np.array([place[key] for key in keys], np.int64)


def _check_classes(classes: Sequence[Value], name: str, shown: RequestedTaskKind) -> None:
    if len(classes) < 2:
        raise InputError(
            f"target {name!r} must have at least two classes, got one: {quoted(classes[0])}. "
            "Add rows of another class."
        )
    if shown == "binary" and len(classes) > 2:
        raise InputError(
            f"target {name!r} must have two classes to be binary, got {len(classes)}: "
            f"{listed(classes)}. "
            + wording(python="Use kind='multiclass'.", shell="Use --kind classification.")
        )


def _as_numbers(labels: Iterable[Value], source: LabelSource) -> dict[Value, float]:
    """The numbers that labels are, in one unit; empty where one is none.

    Of a CSV, texts that stand for a missing number are passed over.
    """
    numbers: dict[Value, float] = {}
    others: list[str] = []
    for label in labels:
        value = number(label)
        if value is None:
            others.append(str(label))
        elif not np.isnan(value):
            numbers[label] = value
        elif not source.csv:
            return {}
    if not others:
        return numbers
    texts = [*others, *(str(label) for label in numbers)]
    written = infer_number_format(texts, source.decimal_comma)
    parsed: dict[Value, float | None] = {t: written.parse(t) if written else None for t in texts}
    return {text: value for text, value in parsed.items() if value is not None}


def _leading_zero(label: Value) -> bool:
    """Whether a text is a code such as 007."""
    return isinstance(label, str) and label[:1] == "0" and label.isdecimal() and len(label) > 1


def _plainly_written(labels: Iterable[Value], source: LabelSource) -> bool:
    """Whether texts among labels are written as numbers usually are: 2.5 or, in a column, 2.50."""
    texts = [label for label in labels if isinstance(label, str)]
    texts = [text for text in texts if text not in DEFAULT_NA_VALUES.texts]
    texts = [text.replace(",", ".") if source.decimal_comma else text for text in texts]
    if not texts or not isinstance(plain_labels(texts)[0], str):
        return True
    decimals = {len(text.partition(".")[2]) for text in texts}
    digits = (text.lstrip("+-").replace(".", "", 1) for text in texts)
    return len(decimals) == 1 and decimals != {0} and all(map(str.isdecimal, digits))


def _regression(
    raw: Any, name: str, source: LabelSource, number_format: NumberFormat | None = None
) -> Target:
    """`number_format`: that of the task, for further rows of it; None: the values show it."""
    written = _written_format(raw, name, source) if number_format is None else number_format
    numbers, notes = _numbers(raw, name, source, written)
    rows = np.flatnonzero(~np.isnan(numbers))
    _some(rows, name)
    values = numbers[rows]
    if number_format is None and (values == values[0]).all():
        raise InputError(
            f"target {name!r} must vary, got {values[0]:g} in every row. Choose another target."
        )
    notes += dropped_note(len(numbers) - len(rows), name)
    return Target("regression", (), values, rows, notes, number_format=written)


def _some(rows: NDArray[np.int64], name: str) -> None:
    if not len(rows):
        raise InputError(
            f"target {name!r} must have a value in some rows, got none in any. "
            "Choose another target."
        )


def _numbers(
    raw: Any, name: str, source: LabelSource, written: NumberFormat
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """float64, NaN where missing, and notes; InputError at a text that is no number, or infinity."""
    array = vector(raw, f"target {name!r}")
    array = (seconds_array(array) if array.dtype.kind == "m" else array).astype(object)

    def read(value: Any) -> float | None:
        return np.nan if _is_named(value, source) else number(value, written)

    numbers = each(array, read, name)
    if None in numbers:
        row = numbers.index(None)
        how = wording(python="kind='classification'", shell="--kind classification")
        unit = f" in {written.unit}" if written.unit else ""
        raise InputError(
            f"target {name!r} must hold numbers{unit} for regression, got {quoted(array[row])} in "
            f"row {row + 1}. Write all as 1234.5, or in one unit; for classes, use {how}."
        )
    values = np.array(numbers, np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = int(infinite[0])
        raise InputError(
            f"target {name!r} must be finite, got {values[row]} in row {row + 1}. Drop the row."
        )
    return values, (f"Target {name!r} is read as {reading(written)}.",) * (written != BARE)


def _written_format(raw: Any, name: str, source: LabelSource) -> NumberFormat:
    """How the numbers of a target are written, where they are texts that are no bare numbers."""
    array = vector(raw, f"target {name!r}")
    if array.dtype.kind not in "OUS":
        return BARE
    texts = [value for value in dict.fromkeys(array.tolist()) if isinstance(value, str)]
    present = [text for text in texts if text not in source.missing]
    present = [text for text in present if text.strip().casefold() not in DEFAULT_NA_VALUES.numbers]
    if all(number(text) is not None for text in present):
        return BARE
    return infer_number_format(present, source.decimal_comma) or BARE
