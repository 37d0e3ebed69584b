"""From data as it was given to a finished task: types, classes, split, test part, fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import naming, vector
from netwright.data.column_roles import same_as_target
from netwright.data.columns import as_category, as_numbers
from netwright.data.sources import Pair, Raw, label_source, open_pair, open_raw
from netwright.data.splits import Fold, holdout
from netwright.data.tables import infer_table, read_table
from netwright.data.targets import (
    MEMORY,
    LabelSource,
    RequestedTaskKind,
    Target,
    check_kind,
    leave_out_single_rows,
    read_same,
    read_target,
)
from netwright.data.task import Features, Images, Task, TaskKind, TestSet, fingerprint
from netwright.errors import InputError, check_whole

_FEW = 5


def task(
    data: Any,
    target: Any = None,
    *,
    test: Any = None,
    kind: TaskKind | Literal["classification"] | None = None,
    seed: int = 0,
    name: str | None = None,
    groups: Any = None,
    weights: Any = None,
    missing_labels: str | Sequence[str] = (),
) -> Task:
    """Reads data and target, decides the types, and splits.

    `data`: a path (CSV, TSV, also compressed, parquet, ``.npz``, a folder with one folder of images
    for each class), a built-in name, a DataFrame, a mapping of columns, a list of records, or an
    array: (n, columns) for a table, (n, h, w) or (n, h, w, c) for images. `target`: a column's
    name, or the n targets; left out where the data holds them (folders, ``.npz``, built-in).
    `test`: rows that the search never sees, as another path or frame of the same form, or a pair
    (data, targets). `kind` overrides what the target looks like (`targets.looks_like` says the
    rule); "classification" leaves open whether it is binary. `groups` (a column or n values): rows
    of one group stay on one side of the split. `weights` (a column or n numbers) say how much each
    row counts, in training and in scores; searches over shared weights count all rows alike.
    `missing_labels`: texts of the target that stand for no label, such as "NA", which is a class
    otherwise.

    Rows without a target are left out, and so are classes of a single row: notes say how many.
    Raises InputError in one sentence with a way out.
    """
    check_whole("seed", seed, 0)
    check_kind(kind)
    raw = open_raw(data, target, test=test, groups=groups, weights=weights)
    if name is not None:
        raw = replace(raw, name=name)
    given = (missing_labels,) if isinstance(missing_labels, str) else tuple(missing_labels)
    with naming(data):
        return assemble(raw, kind, seed, given)


def assemble(
    raw: Raw, kind: RequestedTaskKind, seed: int, missing_labels: tuple[str, ...] = ()
) -> Task:
    """Types the columns, numbers the classes and splits."""
    _some(raw)
    images = isinstance(raw.features, Images)
    labels = replace(raw.labels, images=images, missing=missing_labels)
    target = read_target(raw.target, raw.target_name, kind, labels)
    if target.classes and not raw.validation:
        target = leave_out_single_rows(target, raw.target_name)
    features, notes = _features(raw, target.rows)
    if target.doubt and not images:
        notes += (target.doubt,)
    groups, weights = _groups(raw.groups, target.rows), _weights(raw.weights, target.rows)
    if weights is not None and target.classes and len(set(target.values[weights > 0])) < 2:
        raise InputError(
            "weights must be above zero in rows of two classes at least, got one class."
        )
    train, validation = _split(raw, target, groups, seed)
    test = _test_part(raw, target, features, missing_labels)
    notes += tuple(same_as_target(features, target.values, raw.target_name))
    few = (f"Only {len(validation)} rows judge the candidates: scores of so few say little.",) * (
        len(validation) < _FEW
    )
    task = Task(
        name=raw.name, kind=target.kind, features=features, target=target.values,
        classes=target.classes, train=train, validation=validation, test=test,
        notes=raw.notes + target.notes + notes + few + _test_notes(test),
        groups=groups, weights=weights, target_name=raw.target_name, source=raw.source,
        label_dtype=target.label_dtype, number_format=target.number_format,
    )  # fmt: skip
    return replace(task, fingerprint=fingerprint(task))


def _test_part(
    raw: Raw, target: Target, features: Features, missing_labels: tuple[str, ...]
) -> TestSet | None:
    """The rows kept for the test, of a table read by its columns."""
    labels = LabelSource(missing=missing_labels)
    if raw.unread_test is None:
        if raw.test is None:
            return None
        return part_of(raw.test, raw.target_name, target, features, labels)
    data, given = raw.unread_test
    if given is None or isinstance(given, str):
        labels = replace(label_source(data), missing=missing_labels)
    with naming(data):
        pair, notes = open_pair(data, given, raw.target_name, features)
        part = part_of(pair, raw.target_name, target, features, labels)
    return replace(part, notes=notes + part.notes)


def part_of(
    pair: Pair, name: str, target: Target, schema: Features, labels: LabelSource = MEMORY
) -> TestSet:
    """Rows outside the task, typed like it; `target` gives kind and classes."""
    raw_features, raw_target = pair
    same = read_same(raw_target, name, target, labels)
    notes: tuple[str, ...] = same.notes
    rows = _take(raw_features, same.rows)
    if isinstance(schema, Images):
        return TestSet(rows, same.values, notes=notes)  # read by the schema already
    return TestSet(read_table(rows, schema.columns), same.values, notes=notes)


def _some(raw: Raw) -> None:
    if not len(raw.features):
        raise InputError(
            f"{raw.source or raw.name} must have rows to learn from, got none. Add rows to it."
        )


def _features(raw: Raw, rows: NDArray[np.int64]) -> tuple[Features, tuple[str, ...]]:
    chosen = _take(raw.features, rows)
    if isinstance(chosen, Images):
        return chosen, ()
    return infer_table(chosen, raw.decimal_comma)


def _take(raw: Any, rows: NDArray[np.int64]) -> Any:
    if len(rows) == len(raw):
        return raw
    return raw.take(rows) if isinstance(raw, Images) else raw.iloc[rows]


def _split(raw: Raw, target: Target, groups: NDArray[np.int64] | None, seed: int) -> Fold:
    """The source's own validation rows, or a holdout."""
    if raw.validation:
        first = len(raw.features) - raw.validation
        return np.flatnonzero(target.rows < first), np.flatnonzero(target.rows >= first)
    return holdout(target.values, seed, groups=groups)


def _groups(raw: Any, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Groups as whole numbers, in the order of their names."""
    if raw is None:
        return None
    texts = as_category(vector(raw, "groups"), "groups")[rows]
    missing = np.flatnonzero(texts == "")
    if len(missing):
        row = rows[missing[0]] + 1
        raise InputError(f"groups must have a value in every row, got none in row {row}.")
    return np.unique(texts.astype(str), return_inverse=True)[1].astype(np.int64)


def _weights(raw: Any, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if raw is None:
        return None
    weights = as_numbers(vector(raw, "weights"), "weights")[rows]
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad) or not weights.any():
        got = f"{weights[bad[0]]:g} in row {rows[bad[0]] + 1}" if len(bad) else "zero in every row"
        raise InputError(f"weights must be finite and not negative, got {got}.")
    return weights


def _test_notes(test: TestSet | None) -> tuple[str, ...]:
    return tuple(f"Test part: {note}" for note in test.notes) if test else ()
