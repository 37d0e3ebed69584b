"""From raw rows to a finished task: types, classes, split, test part, fingerprint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netwright.data.checks import vector
from netwright.data.columns import as_category, as_numeric
from netwright.data.roles import same_as_target
from netwright.data.sources import Pair, Raw, RawFeatures
from netwright.data.splits import Fold, holdout
from netwright.data.tables import infer_table, read_table
from netwright.data.targets import Target, Wish, enough_rows, read_same, read_target
from netwright.data.task import Features, Images, Part, Task, fingerprint
from netwright.errors import InputError

_FEW = 5


def assemble(raw: Raw, kind: Wish, seed: int) -> Task:
    """Types the columns, numbers the classes and splits; see `task.task`."""
    _some(raw)
    target = read_target(raw.target, raw.target_name, kind)
    features, notes = _features(_take(raw.features, target.rows))
    if target.doubt and not isinstance(features, Images):
        notes += (target.doubt,)
    groups, weights = _groups(raw.groups, target.rows), _weights(raw.weights, target.rows)
    if weights is not None and target.classes and len(set(target.values[weights > 0])) < 2:
        raise InputError(
            "weights must be above zero in rows of two classes at least, got one class."
        )
    train, validation = _split(raw, target, groups, seed)
    test = None if raw.test is None else part_of(raw.test, raw.target_name, target, features)
    notes += tuple(same_as_target(features, target.values, raw.target_name))
    few = (f"Only {len(validation)} rows judge the candidates: scores of so few say little.",) * (
        len(validation) < _FEW
    )
    found = Task(
        name=raw.name, kind=target.kind, features=features, target=target.values,
        classes=target.classes, train=train, validation=validation, test=test,
        notes=raw.notes + target.notes + notes + few + _test_notes(test),
        groups=groups, weights=weights,
        target_name=raw.target_name, source=raw.source,
    )  # fmt: skip
    return replace(found, fingerprint=fingerprint(found))


def part_of(pair: Pair, name: str, target: Target, schema: Features) -> Part:
    """Rows outside the task, typed like it; `target` gives kind and classes."""
    raw_features, raw_target = pair
    same = read_same(raw_target, name, target.kind, target.classes)
    notes: tuple[str, ...] = same.notes
    rows = _take(raw_features, same.rows)
    if isinstance(schema, Images):
        return Part(rows, same.values, notes=notes)  # read by the schema already
    return Part(read_table(rows, schema.columns), same.values, notes=notes)


def _some(raw: Raw) -> None:
    if not len(raw.features):
        raise InputError(f"{raw.source or raw.name} must have rows to learn from, got none.")


def _features(raw: RawFeatures) -> tuple[Features, tuple[str, ...]]:
    return (raw, ()) if isinstance(raw, Images) else infer_table(raw)


def _take(raw: RawFeatures, rows: NDArray[np.int64]) -> Any:
    if len(rows) == len(raw):
        return raw
    return raw.take(rows) if isinstance(raw, Images) else raw.iloc[rows]


def _split(raw: Raw, target: Target, groups: NDArray[np.int64] | None, seed: int) -> Fold:
    """The source's own validation rows, or a holdout."""
    if raw.validation:
        first = len(raw.features) - raw.validation
        return np.flatnonzero(target.rows < first), np.flatnonzero(target.rows >= first)
    if target.kind != "regression":
        enough_rows(target.values, target.classes, raw.target_name)
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
    weights = as_numeric(vector(raw, "weights"), "weights")[rows].astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad) or not weights.any():
        got = f"{weights[bad[0]]:g} in row {rows[bad[0]] + 1}" if len(bad) else "zero in every row"
        raise InputError(f"weights must be finite and not negative, got {got}.")
    return weights


def _test_notes(test: Part | None) -> tuple[str, ...]:
    return tuple(f"Test part: {note}" for note in test.notes) if test else ()
