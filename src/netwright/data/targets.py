"""Read the target: infer the kind of task, encode classes as integers, parse numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import as_vector, join_names
from netwright.data.column_inference import describe_number_format
from netwright.data.columns import canonical_text, map_distinct, to_number
from netwright.data.datetimes import array_to_seconds
from netwright.data.labels import (
    BYTES_ENCODING,
    Label,
    label_dtype,
    label_key,
    parse_label,
    parse_labels,
    sorted_labels,
)
from netwright.data.na_values import DEFAULT_NA_VALUES, is_missing
from netwright.data.number_formats import PLAIN_NUMBERS, NumberFormat, infer_number_format
from netwright.data.task import TaskKind
from netwright.errors import InputError, closest, expected, plural, quoted, wording

RequestedTaskKind: TypeAlias = TaskKind | Literal["classification"] | None
"""Kind of task requested by a user; "classification" may be binary or not, None is inferred."""

_MAX_INTEGER_CLASSES = 20
_MIN_ROWS_PER_CLASS = 3
"""Integers are classes if there are at most so many distinct ones, with so many rows on average."""
_MAX_NAMES_SHOWN = 5


@dataclass(frozen=True)
class LabelSource:
    """Origin of targets, which decides how their texts are read.

    Args:
        is_csv: Every label is a text.
        is_file: Surrounding blanks of texts do not count.
        is_images: Integers are classes, however many there are.
        decimal_comma: The file separates its cells by semicolons, so that commas are decimal marks.
        missing_labels: Texts that count as missing; numbers are compared as Python prints them.
    """

    is_csv: bool = False
    is_file: bool = False
    is_images: bool = False
    decimal_comma: bool = False
    missing_labels: tuple[str, ...] = ()


IN_MEMORY = LabelSource()
"""Python objects: labels keep their types."""


@dataclass(frozen=True, eq=False)
class EncodedTarget:
    """The targets of the rows that have one.

    Args:
        kind: Of the task.
        classes: In the order of their indices; () for regression.
        values: int64 indices of `classes`, or float64.
        rows: Indices of these rows among all rows that were read.
        notes: On what is unusual.
        ambiguity_note: Why another kind may be meant; "" if the kind was given or is clear.
        label_dtype: Of predicted labels, as numpy names it.
        number_format: In which the texts of a regression target are written.
    """

    kind: TaskKind
    classes: tuple[Label, ...]
    values: NDArray[Any]
    rows: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    ambiguity_note: str = ""
    label_dtype: str = "object"
    number_format: NumberFormat = PLAIN_NUMBERS


def read_target(
    raw: object, name: str, kind: RequestedTaskKind = None, source: LabelSource = IN_MEMORY
) -> EncodedTarget:
    """Encode the target of a task.

    Args:
        raw: (n,) labels or numbers of any type.
        name: Of the target, for notes and errors; "" if it has none.
        kind: None: inferred.
        source: Where the target comes from.

    Raises:
        InputError: Nothing can be learnt from the target.
    """
    check_task_kind(kind)
    name = name or "y"
    dtype = None if source.is_csv else _numpy_dtype(raw)
    array = as_vector(raw, f"target {name!r}")
    labels = _read_labels(array, name, source)
    present = [label for label in labels if label is not None]
    inferred, ambiguity_note = (
        (kind, "") if kind or not present else infer_task_kind(present, name, source)
    )
    if inferred == "regression":
        return _read_regression(array, name, source)
    notes = _label_notes(array, labels, name, source)
    if source.is_csv:
        labels = parse_labels(labels)  # type: ignore[arg-type]  # every label of a CSV is a text
    rows = np.flatnonzero([label is not None for label in labels])
    _check_any_row(rows, name)
    classes, indices = _encode_labels([label for label in labels if label is not None])
    _check_classes(classes, name, inferred)
    notes += missing_targets_note(len(labels) - len(rows), name)
    task_kind: TaskKind = "binary" if len(classes) == 2 else "multiclass"
    return EncodedTarget(
        task_kind, classes, indices, rows, notes, ambiguity_note, label_dtype(classes, dtype)
    )


def check_task_kind(kind: RequestedTaskKind) -> None:
    """Raise InputError unless a requested kind exists."""
    if kind not in (None, "binary", "multiclass", "regression", "classification"):
        raise InputError(expected("kind", "binary, multiclass or regression", kind))


def read_target_like(
    raw: object, name: str, like: EncodedTarget, source: LabelSource = IN_MEMORY
) -> EncodedTarget:
    """Encode the target of more rows as that of the task.

    ``"1"`` is the class 1 if no class has this name: files and frames differ in such types.

    Raises:
        InputError: A label is none of the task's classes, or a number is in another unit.
    """
    name, kind, classes = name or "y", like.kind, like.classes
    if kind == "regression":
        return _read_regression(raw, name, source, like.number_format)
    labels = _read_labels(raw, name, source)
    rows = np.flatnonzero([label is not None for label in labels])
    _check_any_row(rows, name)
    index_of: dict[object, int] = {
        canonical_text(label): i for i, label in enumerate(classes) if not isinstance(label, str)
    }
    index_of |= {str(label): i for i, label in enumerate(classes)}
    index_of |= {label_key(label): i for i, label in enumerate(classes)}
    indices = np.empty(len(rows), np.int64)
    for i, row in enumerate(rows):
        label = labels[row]
        assert label is not None  # of `rows`
        index = index_of.get(label_key(label), index_of.get(str(label)))
        index = index_of.get(parse_label(str(label))) if index is None else index
        if index is None:
            fix = closest(str(label), classes) or f"Classes: {join_names(classes)}."
            rule = f"one of the {len(classes)} training classes"
            raise InputError(expected(f"target {name!r} (row {row + 1})", rule, label, fix))
        indices[i] = index
    notes = missing_targets_note(len(labels) - len(rows), name)
    return EncodedTarget(kind, tuple(classes), indices, rows, notes)


def infer_task_kind(
    labels: Sequence[Label], name: str = "y", source: LabelSource = IN_MEMORY
) -> tuple[TaskKind, str]:
    """Infer the kind of task from the labels.

    Texts, booleans and categories are classes, unless every text is a number: then the numbers
    decide. Numbers with fractions are regression. Integers, also those stored as floats, are
    classes if there are two distinct ones, or at most 20 with 3 rows each on average; otherwise
    they are regression, except that integers as labels of images are always classes. So are texts
    such as ``01``, ``1E5`` and ``5 kg``, which are no plain numbers, if there are as few.

    Returns:
        The kind, and a note if another one may be meant.
    """
    distinct = set(labels)
    classification: TaskKind = "binary" if len(distinct) <= 2 else "multiclass"
    numbers = _parse_numbers(distinct, source)
    if any(isinstance(label, bool) for label in distinct) or not numbers:
        return classification, ""
    has_fractions = any(not number.is_integer() for number in numbers.values())
    is_plain = _are_plain_numbers(distinct, source)
    if any(_has_leading_zero(label) for label in distinct):
        return classification, ""
    if has_fractions and is_plain:
        return "regression", ""
    are_repeated = len(labels) >= _MIN_ROWS_PER_CLASS * len(distinct)
    are_few = are_repeated and (len(distinct) <= _MAX_INTEGER_CLASSES or not is_plain)
    if not has_fractions and (len(distinct) <= 2 or source.is_images):
        return classification, ""
    if not are_few:
        return "regression", ""
    values = "whole numbers" if is_plain else "values"
    option = wording(python="kind='regression'", shell="--kind regression")
    note = (
        f"The {len(distinct)} {values} of {name!r} are taken as classes; use {option} to predict "
        "them as numbers."
    )
    return classification, note


def drop_singleton_classes(target: EncodedTarget, name: str) -> EncodedTarget:
    """Drop classes of a single row, which cannot serve both training and validation.

    Raises:
        InputError: Fewer than two classes are left, or most have a single row and are no classes.
    """
    counts = np.bincount(target.values, minlength=len(target.classes))
    singletons = np.flatnonzero(counts == 1)
    if not len(singletons):
        return target
    name, classes = name or "y", target.classes
    if len(classes) - len(singletons) < 2 or len(singletons) > max(2, len(classes) // 2):
        option = wording(python="kind='regression'", shell="--kind regression")
        raise InputError(
            f"target {name!r} must have at least two classes of 2 rows or more, one for training "
            f"and one for validation, got {len(classes):,} classes in {len(target.values):,} rows, "
            f"{len(singletons):,} of them with a single row. Add rows, or use {option} for numbers."
        )
    remaining = [i for i in range(len(classes)) if counts[i] > 1]
    new_index = np.full(len(classes), -1)
    new_index[remaining] = np.arange(len(remaining))
    remains = new_index[target.values] >= 0
    names = _quote_names([classes[i] for i in singletons])
    count = "Class" if len(singletons) == 1 else f"{len(singletons):,} classes"
    have = "has a single row and is" if len(singletons) == 1 else "have a single row each and are"
    note = f"{count} {names} of {name!r} {have} dropped: no row would be left for validation."
    return replace(
        target,
        kind="binary" if len(remaining) == 2 else "multiclass",
        classes=tuple(classes[i] for i in remaining),
        values=new_index[target.values][remains],
        rows=target.rows[remains],
        notes=(*target.notes, note),
    )


def missing_targets_note(count: int, name: str) -> tuple[str, ...]:
    """Return a note on rows without a target."""
    if not count:
        return ()
    rows_have = "1 row has" if count == 1 else f"{count:,} rows have"
    return (f"{rows_have} no {name!r} and {'is' if count == 1 else 'are'} dropped.",)


def _read_labels(raw: object, name: str, source: LabelSource) -> list[Label | None]:
    """Return (n,) labels as Python values, None where missing."""
    array = as_vector(raw, f"target {name!r}")
    if array.dtype.kind == "M":
        raise InputError(f"target {name!r} must hold numbers or classes, got dates.")
    if array.dtype.kind == "m":
        array = array_to_seconds(array)
    if array.dtype.kind == "c":
        raise InputError(f"target {name!r} must hold numbers or classes, got complex numbers.")

    def read(cell: object) -> Label | None:
        label = _to_label(cell)
        if isinstance(label, str):
            label = label.strip() if source.is_file or source.is_csv else label
            return label if label.strip() and label not in source.missing_labels else None
        return None if label is None or _is_missing_label(label, source) else label

    labels = map_distinct(array.astype(object), read, name)
    for infinity in {np.inf, -np.inf} & set(labels):
        row = labels.index(infinity) + 1
        raise InputError(
            f"target {name!r} must be finite, got {infinity} in row {row}. Drop the row."
        )
    return labels


def _is_missing_label(cell: object, source: LabelSource) -> bool:
    """Return whether a cell is written as one of the texts that count as missing."""
    if not source.missing_labels:
        return False
    return bool({str(cell), canonical_text(cell)} & {*source.missing_labels})


def _to_label(cell: object) -> Label | None:
    if is_missing(cell):
        return None
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, bytes):
        return cell.decode(BYTES_ENCODING)
    if isinstance(cell, str | bool | int | float):
        return cell
    number = to_number(cell)
    return str(cell) if number is None else _to_label(number)


def _keeps_type(cell: object) -> bool:
    """Return whether a label can be predicted in its own type."""
    return isinstance(cell, str | bytes | bool | int | float | np.generic) or is_missing(cell)


def _label_notes(
    raw: object, labels: Sequence[Label | None], name: str, source: LabelSource
) -> tuple[str, ...]:
    """Return notes on labels that users may not expect."""
    label_texts = {label for label in set(labels) if isinstance(label, str)}
    distinct = set(as_vector(raw, name).tolist())
    texts = {cell for cell in distinct if isinstance(cell, str)}
    notes = []
    if source.missing_labels:
        spellings = {canonical_text(cell) for cell in distinct if not isinstance(cell, str)}
        spellings |= {text.strip() for text in texts}
        notes = [
            f"No row of {name!r} has the missing label {quoted(text)}."
            for text in source.missing_labels
            if text not in spellings
        ]
    other_types = {type(cell).__name__ for cell in distinct if not _keeps_type(cell)}
    if label_texts and other_types:
        types = ", ".join(sorted(other_types))
        notes.append(f"Labels of type {types} in {name!r} are converted to texts.")
    na_labels = sorted(label_texts & DEFAULT_NA_VALUES.texts)
    if na_labels and source.is_csv:
        option = wording(
            python=f"missing_labels={na_labels[0]!r}", shell=f"--missing-label {na_labels[0]}"
        )
        n_rows = sum(label in na_labels for label in labels)
        are = "is a class" if len(na_labels) == 1 else "are classes"
        notes.append(
            f"{_quote_names(na_labels)} in {name!r} {are} ({plural(n_rows, 'row')}), not "
            f"missing; use {option} to drop such rows."
        )
    texts_by_stripped: dict[str, set[str]] = {}
    for text in sorted(texts):
        texts_by_stripped.setdefault(text.strip(), set()).add(text)
    alike = [
        sorted(same) for stripped, same in texts_by_stripped.items() if stripped and len(same) > 1
    ]
    if alike:
        are = "are one class" if source.is_file or source.is_csv else "are different classes"
        notes.append(f"{_quote_names(alike[0])} of {name!r} differ only by blanks and {are}.")
    return tuple(notes)


def _quote_names(names: Sequence[Label]) -> str:
    shown = ", ".join(quoted(name) for name in names[:_MAX_NAMES_SHOWN])
    return shown + (", ..." if len(names) > _MAX_NAMES_SHOWN else "")


def _numpy_dtype(raw: object) -> np.dtype[Any] | None:
    """Return the dtype of an array or Series; None for lists and pandas' own types."""
    dtype = getattr(raw, "dtype", None)
    return dtype if isinstance(dtype, np.dtype) else None


def _encode_labels(labels: Sequence[Label]) -> tuple[tuple[Label, ...], NDArray[np.int64]]:
    """Return the sorted classes, and the index of each label's class."""
    if len(set(map(type, labels))) == 1:
        classes = sorted_labels(set(labels))
        index_of: dict[object, int] = {label: i for i, label in enumerate(classes)}
        return classes, np.array([index_of[label] for label in labels], np.int64)
    keys = [label_key(label) for label in labels]  # 1 and True are equal, but not the same label
    classes = sorted_labels(dict(zip(keys, labels, strict=True)).values())
    index_of = {label_key(label): i for i, label in enumerate(classes)}
    return classes, np.array([index_of[key] for key in keys], np.int64)


def _check_classes(classes: Sequence[Label], name: str, kind: RequestedTaskKind) -> None:
    if len(classes) < 2:
        raise InputError(
            f"target {name!r} must have at least two classes, got one: {quoted(classes[0])}. "
            "Add rows of another class."
        )
    if kind == "binary" and len(classes) > 2:
        raise InputError(
            f"target {name!r} must have two classes to be binary, got {len(classes)}: "
            f"{join_names(classes)}. "
            + wording(python="Use kind='multiclass'.", shell="Use --kind classification.")
        )


def _parse_numbers(labels: Iterable[Label], source: LabelSource) -> dict[Label, float]:
    """Parse labels as numbers in a single unit; return {} if any label is none.

    Texts of a CSV that count as missing numbers are ignored.
    """
    numbers: dict[Label, float] = {}
    other_texts: list[str] = []
    for label in labels:
        number = to_number(label)
        if number is None:
            other_texts.append(str(label))
        elif not np.isnan(number):
            numbers[label] = number
        elif not source.is_csv:
            return {}
    if not other_texts:
        return numbers
    texts = [*other_texts, *(str(label) for label in numbers)]
    number_format = infer_number_format(texts, decimal_comma=source.decimal_comma)
    if number_format is None:
        return {}
    parsed = {text: number_format.parse(text) for text in texts}
    return {text: number for text, number in parsed.items() if number is not None}


def _has_leading_zero(label: Label) -> bool:
    """Return whether a text is a code such as 007."""
    return isinstance(label, str) and label[:1] == "0" and label.isdecimal() and len(label) > 1


def _are_plain_numbers(labels: Iterable[Label], source: LabelSource) -> bool:
    """Return whether texts among the labels are written as usual: 2.5 or, in a column, 2.50."""
    texts = [label for label in labels if isinstance(label, str)]
    texts = [text for text in texts if text not in DEFAULT_NA_VALUES.texts]
    texts = [text.replace(",", ".") if source.decimal_comma else text for text in texts]
    if not texts or not isinstance(parse_labels(texts)[0], str):
        return True
    n_decimals = {len(text.partition(".")[2]) for text in texts}
    digits = (text.lstrip("+-").replace(".", "", 1) for text in texts)
    return len(n_decimals) == 1 and n_decimals != {0} and all(map(str.isdecimal, digits))


def _read_regression(
    raw: object, name: str, source: LabelSource, number_format: NumberFormat | None = None
) -> EncodedTarget:
    """Read numbers; `number_format` is that of the task for more rows of it, None: inferred."""
    written_format = (
        _infer_target_format(raw, name, source) if number_format is None else number_format
    )
    numbers, notes = _read_numbers(raw, name, source, written_format)
    rows = np.flatnonzero(~np.isnan(numbers))
    _check_any_row(rows, name)
    values = numbers[rows]
    if number_format is None and (values == values[0]).all():
        raise InputError(
            f"target {name!r} must vary, got {values[0]:g} in every row. Choose another target."
        )
    notes += missing_targets_note(len(numbers) - len(rows), name)
    return EncodedTarget("regression", (), values, rows, notes, number_format=written_format)


def _check_any_row(rows: NDArray[np.int64], name: str) -> None:
    if not len(rows):
        raise InputError(
            f"target {name!r} must have a value in some rows, got none in any. "
            "Choose another target."
        )


def _read_numbers(
    raw: object, name: str, source: LabelSource, number_format: NumberFormat
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return (n,) float64, NaN where missing, and notes.

    Raises:
        InputError: A cell is no number, or infinite.
    """
    array = as_vector(raw, f"target {name!r}")
    cells = (array_to_seconds(array) if array.dtype.kind == "m" else array).astype(object)

    def read(cell: object) -> float | None:
        return np.nan if _is_missing_label(cell, source) else to_number(cell, number_format)

    numbers = map_distinct(cells, read, name)
    if None in numbers:
        row = numbers.index(None)
        option = wording(python="kind='classification'", shell="--kind classification")
        unit = f" in {number_format.unit}" if number_format.unit else ""
        raise InputError(
            f"target {name!r} must hold numbers{unit} for regression, got {quoted(cells[row])} in "
            f"row {row + 1}. Write all as 1234.5, or in one unit; for classes, use {option}."
        )
    values = np.array(numbers, np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        row = int(infinite[0])
        raise InputError(
            f"target {name!r} must be finite, got {values[row]} in row {row + 1}. Drop the row."
        )
    if number_format == PLAIN_NUMBERS:
        return values, ()
    return values, (f"Target {name!r} is read as {describe_number_format(number_format)}.",)


def _infer_target_format(raw: object, name: str, source: LabelSource) -> NumberFormat:
    """Infer how the texts of a regression target are written, if they are no plain numbers."""
    array = as_vector(raw, f"target {name!r}")
    if array.dtype.kind not in "OUS":
        return PLAIN_NUMBERS
    texts = [cell for cell in dict.fromkeys(array.tolist()) if isinstance(cell, str)]
    present = [text for text in texts if text not in source.missing_labels]
    present = [text for text in present if text.strip().casefold() not in DEFAULT_NA_VALUES.numbers]
    if all(to_number(text) is not None for text in present):
        return PLAIN_NUMBERS
    return infer_number_format(present, decimal_comma=source.decimal_comma) or PLAIN_NUMBERS
