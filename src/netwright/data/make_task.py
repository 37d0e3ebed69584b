"""Make a task from a user's data: types, classes, split, test set and fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import as_vector, file_name_in_errors
from netwright.data.column_roles import leakage_notes
from netwright.data.columns import as_category, as_numbers
from netwright.data.sources import (
    FeaturesAndTarget,
    RawData,
    RawFeatures,
    infer_label_source,
    read_labelled_rows,
    read_raw_data,
)
from netwright.data.splits import Split, holdout
from netwright.data.tables import convert_frame, infer_table
from netwright.data.targets import (
    IN_MEMORY,
    EncodedTarget,
    LabelSource,
    RequestedTaskKind,
    check_task_kind,
    drop_singleton_classes,
    read_target,
    read_target_like,
)
from netwright.data.task import Features, Images, Task, TaskKind, TestSet, fingerprint
from netwright.errors import InputError, Phrase, check_whole, expected

_MIN_VALIDATION_ROWS = 5
"""With fewer, a note warns that scores are unreliable."""


def task(
    data: object,
    target: object = None,
    *,
    test: object = None,
    kind: TaskKind | Literal["classification"] | None = None,
    seed: int = 0,
    name: str | None = None,
    groups: object = None,
    weights: object = None,
    missing_labels: str | Sequence[str] = (),
) -> Task:
    """Read data and target, infer their types, and split the rows.

    Rows without a target are dropped, and so are classes of a single row; `Task.notes` says how
    many.

    Args:
        data: A path (CSV or TSV, also compressed, parquet, ``.npz``, or a folder with one folder of
            images for each class), the name of a built-in data set ("digits", "iris", ...), a
            DataFrame, a mapping of columns, a list of dicts, or an array: (n, columns) for a table,
            (n, h, w) or (n, h, w, c) for images.
        target: A column's name, or (n,) labels or numbers; None if the data holds them (folders,
            ``.npz``, built-in data sets).
        test: A test set that the search never sees: another path or frame of the same form, or a
            pair (data, target).
        kind: "binary", "multiclass" or "regression" instead of the inferred kind (see
            `targets.infer_task_kind`); "classification" leaves open whether it is binary.
        seed: Of the split, at least 0.
        name: Of the data set; None: the file's name.
        groups: A column's name, or (n,) values; rows of a group are never split between training
            and validation.
        weights: A column's name, or (n,) numbers, 0 or above: how much each row counts in training
            and in scores. One-shot searches count all rows alike.
        missing_labels: Texts of the target that count as missing, such as "NA", which otherwise is
            a class.

    Returns:
        The task, with train and validation rows.

    Raises:
        InputError: The data cannot be used; the message says why and how to fix it.

    Example:
        >>> task = nw.task("adult.csv", "income", test="adult-test.csv")
        >>> print(task.kind, len(task.train), len(task.validation), task.notes)
    """
    check_whole("seed", seed, 0)
    check_task_kind(kind)
    raw = read_raw_data(data, target, test=test, groups=groups, weights=weights)
    if name is not None:
        raw = replace(raw, name=name)
    labels = (missing_labels,) if isinstance(missing_labels, str) else tuple(missing_labels)
    with file_name_in_errors(data):
        return task_from_raw(raw, kind, seed, labels)


def task_from_raw(
    raw: RawData, kind: RequestedTaskKind, seed: int, missing_labels: tuple[str, ...] = ()
) -> Task:
    """Infer the types of columns, encode the target, and split the rows."""
    if not len(raw.features):
        raise InputError(
            f"{raw.source or raw.name} must have rows to learn from, got none. Add rows to it."
        )
    is_images = isinstance(raw.features, Images)
    label_source = replace(raw.label_source, is_images=is_images, missing_labels=missing_labels)
    target = read_target(raw.target, raw.target_name, kind, label_source)
    if target.classes and not raw.n_validation:
        target = drop_singleton_classes(target, raw.target_name)
    features, notes = _infer_features(raw, target.rows)
    if target.ambiguity_note and not is_images:
        notes += (target.ambiguity_note,)
    groups = _encode_groups(raw.groups, target.rows)
    weights = _read_weights(raw.weights, target.rows)
    if weights is not None and target.classes and len(set(target.values[weights > 0])) < 2:
        raise InputError(
            "weights must be above zero in rows of at least two classes, got one class."
        )
    train, validation = _split(raw, target, groups, seed)
    test = _read_test_set(raw, target, features, missing_labels)
    notes += tuple(leakage_notes(features, target.values, raw.target_name))
    if len(validation) < _MIN_VALIDATION_ROWS:
        notes += (f"Only {len(validation)} rows for validation: the scores are unreliable.",)
    task = Task(
        name=raw.name,
        kind=target.kind,
        features=features,
        target=target.values,
        classes=target.classes,
        train=train,
        validation=validation,
        test=test,
        notes=raw.notes + target.notes + notes + _test_notes(test),
        groups=groups,
        weights=weights,
        target_name=raw.target_name,
        source=raw.source,
        label_dtype=target.label_dtype,
        number_format=target.number_format,
    )
    return replace(task, fingerprint=fingerprint(task))


def _read_test_set(
    raw: RawData, target: EncodedTarget, features: Features, missing_labels: tuple[str, ...]
) -> TestSet | None:
    """Convert the test set; that of a table is only now read, by the inferred columns."""
    label_source = LabelSource(missing_labels=missing_labels)
    if raw.unread_test is None:
        if raw.test is None:
            return None
        return convert_test_set(raw.test, raw.target_name, target, features, label_source)
    data, test_target = raw.unread_test
    if test_target is None or isinstance(test_target, str):
        label_source = replace(infer_label_source(data), missing_labels=missing_labels)
    with file_name_in_errors(data):
        rows, notes = read_labelled_rows(data, test_target, raw.target_name, features)
        test = convert_test_set(rows, raw.target_name, target, features, label_source)
    return replace(test, notes=notes + test.notes)


def convert_test_set(
    rows: FeaturesAndTarget,
    target_name: str,
    target: EncodedTarget,
    features: Features,
    label_source: LabelSource = IN_MEMORY,
) -> TestSet:
    """Convert more rows as those of a task.

    Args:
        rows: As read.
        target_name: Of the task.
        target: Of the task.
        features: Of the task.
        label_source: Where the targets of these rows come from.

    Raises:
        InputError: One is a table, the other images; or a column is missing.
    """
    raw_features, raw_target = rows
    encoded = read_target_like(raw_target, target_name, target, label_source)
    labelled = _take(raw_features, encoded.rows)
    if isinstance(features, Images) and isinstance(labelled, Images):  # converted when read
        return TestSet(labelled, encoded.values, notes=encoded.notes)
    if isinstance(features, Images) or isinstance(labelled, Images):
        kinds = [
            Phrase("images" if isinstance(given, Images) else "a table")
            for given in (features, labelled)
        ]
        fix = "Pass test data of the same kind as the training data."
        raise InputError(expected("the test data", str(kinds[0]), kinds[1], fix))
    table = convert_frame(labelled, features.columns)
    return TestSet(table, encoded.values, notes=encoded.notes)


def _infer_features(raw: RawData, rows: NDArray[np.int64]) -> tuple[Features, tuple[str, ...]]:
    labelled = _take(raw.features, rows)
    if isinstance(labelled, Images):
        return labelled, ()
    return infer_table(labelled, decimal_comma=raw.decimal_comma)


def _take(features: RawFeatures, rows: NDArray[np.int64]) -> RawFeatures:
    if len(rows) == len(features):
        return features
    return features.take(rows) if isinstance(features, Images) else features.iloc[rows]


def _split(
    raw: RawData, target: EncodedTarget, groups: NDArray[np.int64] | None, seed: int
) -> Split:
    """Return the source's own validation rows, or a holdout."""
    if raw.n_validation:
        n_train = len(raw.features) - raw.n_validation
        return np.flatnonzero(target.rows < n_train), np.flatnonzero(target.rows >= n_train)
    return holdout(target.values, seed, groups=groups)


def _encode_groups(groups: object, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Encode groups as integers in the order of their names."""
    if groups is None:
        return None
    texts = as_category(as_vector(groups, "groups"), "groups")[rows]
    missing = np.flatnonzero(texts == "")
    if len(missing):
        row = rows[missing[0]] + 1
        raise InputError(f"groups must have a value in every row, got none in row {row}.")
    return np.unique(texts.astype(str), return_inverse=True)[1].astype(np.int64)


def _read_weights(weights: object, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    values = as_numbers(as_vector(weights, "weights"), "weights")[rows]
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad) or not values.any():
        got = f"{values[bad[0]]:g} in row {rows[bad[0]] + 1}" if len(bad) else "zero in every row"
        raise InputError(f"weights must be finite and not negative, got {got}.")
    return values


def _test_notes(test: TestSet | None) -> tuple[str, ...]:
    return tuple(f"Test set: {note}" for note in test.notes) if test else ()
