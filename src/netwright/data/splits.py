"""Train/validation splits: a holdout or k folds, stratified by class, groups never split."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, expected

RowIndices: TypeAlias = NDArray[np.int64]
Split: TypeAlias = tuple[RowIndices, RowIndices]
"""Training and validation rows; both sorted."""

_MAX_ROWS_AT_20_PERCENT = 5_000
"""Rows up to which a fifth is held out; see `validation_fraction`."""


def validation_fraction(n_rows: int) -> float:
    """Return the fraction of the rows to hold out.

    20 % up to 5,000 rows, then falling as a power of the number of rows to 10 % at 50,000 and
    above.
    """
    fraction = 0.2 * float((_MAX_ROWS_AT_20_PERCENT / max(n_rows, 1)) ** math.log10(2))
    return min(0.2, max(0.1, fraction))


def holdout(
    target: NDArray[Any],
    seed: int,
    *,
    held_out_fraction: float | None = None,
    groups: NDArray[Any] | None = None,
) -> Split:
    """Split the rows into training and validation rows.

    Args:
        target: (n,) integers are stratified, floats are not.
        seed: Of the shuffle.
        held_out_fraction: Of the rows, for validation: at least one row of each class, and at
            least one stays for training. None: `validation_fraction`.
        groups: (n,) group of each row; no group is split, so the fraction is only approximate.

    Raises:
        InputError: There are fewer than 2 rows, or groups that cannot be split.
    """
    n = len(target)
    if n < 2:
        raise InputError(f"data must have at least 2 rows to be split, got {n}.")
    fraction = validation_fraction(n) if held_out_fraction is None else held_out_fraction
    if groups is not None:
        return _group_holdout(target, groups, seed, fraction)
    rng = np.random.default_rng(seed)
    held_out = [_draw(rng, rows, fraction) for rows in _strata(target)]
    return _split(n, np.concatenate(held_out))


def k_fold_splits(
    target: NDArray[Any], k: int, seed: int, *, groups: NDArray[Any] | None = None
) -> tuple[Split, ...]:
    """Split the rows into k folds, stratified as in `holdout`; each row is validated once.

    There are fewer than `k` folds, but at least 2, if the smallest class has fewer rows or there
    are fewer groups.
    """
    if k < 2:
        raise InputError(expected("folds", "at least 2", k))
    rng = np.random.default_rng(seed)
    if groups is None:
        smallest = min(len(rows) for rows in _strata(target))
        fold_of_row = _assign_rows(target, max(2, min(k, smallest)), rng)
    else:
        fold_of_row = _assign_groups(target, groups, k, rng)
    return tuple(
        _split(len(target), np.flatnonzero(fold_of_row == fold))
        for fold in range(fold_of_row.max() + 1)
    )


def _strata(target: NDArray[Any]) -> list[RowIndices]:
    """Return the rows of each class; one stratum of all rows for a float target."""
    if target.dtype.kind == "f":
        return [np.arange(len(target))]
    order = np.argsort(target, kind="stable")
    ends = np.flatnonzero(np.diff(target[order])) + 1
    return list(np.split(order, ends))


def _draw(rng: np.random.Generator, rows: RowIndices, fraction: float) -> RowIndices:
    """Draw about `fraction` of the rows: at least one, and never the last one left."""
    n_drawn = min(max(round(len(rows) * fraction), 1), len(rows) - 1)
    return rng.permutation(rows)[:n_drawn]


def _assign_rows(target: NDArray[Any], k: int, rng: np.random.Generator) -> RowIndices:
    """Return the fold of each row: each class is dealt round-robin, from where the last ended."""
    fold_of_row = np.empty(len(target), np.int64)
    first = 0
    for rows in _strata(target):
        fold_of_row[rng.permutation(rows)] = (first + np.arange(len(rows))) % k
        first += len(rows)
    return fold_of_row


def _assign_groups(
    target: NDArray[Any], groups: NDArray[Any], k: int, rng: np.random.Generator
) -> RowIndices:
    """Return the fold of each row: large groups first, each to the fold it unbalances least."""
    names, group_of_row = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise InputError(expected("groups", "at least two different ones", len(names)))
    k = min(k, len(names))
    stratum_of_row = np.zeros(len(target), np.int64)
    for i, rows in enumerate(_strata(target)):
        stratum_of_row[rows] = i
    fractions = np.zeros((len(names), stratum_of_row.max() + 1))  # (groups, classes)
    np.add.at(fractions, (group_of_row, stratum_of_row), 1)
    fractions /= fractions.sum(0)  # of each class
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(-fractions[shuffled].sum(1), kind="stable")]
    assigned = np.zeros((k, fractions.shape[1]))  # (folds, classes)
    fold_of_group = np.empty(len(names), np.int64)
    for group in order:
        # the sum of squares grows least where the group's classes are rarest
        fold = int(np.argmin((assigned * fractions[group]).sum(1)))
        fold_of_group[group] = fold
        assigned[fold] += fractions[group]
    return fold_of_group[group_of_row]


def _group_holdout(target: NDArray[Any], groups: NDArray[Any], seed: int, fraction: float) -> Split:
    """Hold out the first of 1 / `fraction` group folds that leaves rows of each class to train on."""
    fold_of_row = _assign_groups(target, groups, round(1 / fraction), np.random.default_rng(seed))
    is_classification = target.dtype.kind != "f"
    for fold in range(fold_of_row.max() + 1):
        train = fold_of_row != fold
        if train.any() and not (
            is_classification and len(np.unique(target[train])) < len(np.unique(target))
        ):
            return _split(len(target), np.flatnonzero(~train))
    raise InputError(
        "each class must occur in at least two groups, one for training and one for validation; "
        "got classes that occur in a single group. Leave groups out or make them smaller."
    )


def _split(n: int, held_out: RowIndices) -> Split:
    is_held_out = np.zeros(n, bool)
    is_held_out[held_out] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)
