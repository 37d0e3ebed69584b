"""Splits: one holdout, or folds; stratified by class, whole groups on one side."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netwright.errors import InputError, expected

Rows: TypeAlias = NDArray[np.int64]
Fold: TypeAlias = tuple[Rows, Rows]
"""Rows to learn from, rows to judge by; both sorted."""

_SMALL = 5_000


def validation_fraction(rows: int) -> float:
    """Share of the rows held out: 20 % up to 5,000 rows, falling to 10 % at 50,000 and above."""
    falling = 0.2 * float((_SMALL / max(rows, 1)) ** math.log10(2))
    return min(0.2, max(0.1, falling))


def holdout(
    target: NDArray[Any],
    seed: int,
    *,
    held_out_fraction: float | None = None,
    groups: NDArray[Any] | None = None,
) -> Fold:
    """One split; `target` of whole numbers is stratified, of floats it is not.

    `share` of the rows is held out, at least one of each class, and at least one stays. With
    `groups`, the share is met as well as whole groups allow.
    """
    n = len(target)
    if n < 2:
        raise InputError(f"data must have at least 2 rows to be split, got {n}.")
    held_out_fraction = validation_fraction(n) if held_out_fraction is None else held_out_fraction
    if groups is not None:
        return _group_holdout(target, groups, seed, held_out_fraction)
    rng = np.random.default_rng(seed)
    out = [_some(rng, rows, held_out_fraction) for rows in _strata(target)]
    return _fold(n, np.concatenate(out))


def k_fold_splits(
    target: NDArray[Any], k: int, seed: int, *, groups: NDArray[Any] | None = None
) -> tuple[Fold, ...]:
    """`k` folds, stratified like `holdout`; each row is judged once.

    Fewer than `k`, but at least 2, where the smallest class has fewer rows or there are fewer
    groups.
    """
    if k < 2:
        raise InputError(expected("folds", "at least 2", k))
    if groups is None:
        smallest = min(len(rows) for rows in _strata(target))
        number = _deal(target, max(2, min(k, smallest)), np.random.default_rng(seed))
    else:
        number = _deal_groups(target, groups, k, np.random.default_rng(seed))
    return tuple(_fold(len(target), np.flatnonzero(number == i)) for i in range(number.max() + 1))


def _strata(target: NDArray[Any]) -> list[Rows]:
    """The rows of each class; all rows for a float target."""
    if target.dtype.kind == "f":
        return [np.arange(len(target))]
    order = np.argsort(target, kind="stable")
    ends = np.flatnonzero(np.diff(target[order])) + 1
    return list(np.split(order, ends))


def _some(rng: np.random.Generator, rows: Rows, share: float) -> Rows:
    """About `share` of the rows: at least one, and at least one stays; of a single row, none."""
    wanted = min(max(round(len(rows) * share), 1), len(rows) - 1)
    return rng.permutation(rows)[:wanted]


def _deal(target: NDArray[Any], k: int, rng: np.random.Generator) -> Rows:
    """Fold of each row: classes are dealt out like cards, each going on where the last ended."""
    number = np.empty(len(target), np.int64)
    first = 0
    for rows in _strata(target):
        number[rng.permutation(rows)] = (first + np.arange(len(rows))) % k
        first += len(rows)
    return number


def _deal_groups(
    target: NDArray[Any], groups: NDArray[Any], k: int, rng: np.random.Generator
) -> Rows:
    """Fold of each row: large groups first, each to the fold that it unbalances least."""
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise InputError(expected("groups", "at least two different ones", len(names)))
    k = min(k, len(names))
    stratum = np.zeros(len(target), np.int64)
    for i, rows in enumerate(_strata(target)):
        stratum[rows] = i
    counts = np.zeros((len(names), stratum.max() + 1))  # (groups, classes)
    np.add.at(counts, (place, stratum), 1)
    counts /= counts.sum(0)  # shares of each class
    shuffled = rng.permutation(len(names))
    order = shuffled[np.argsort(-counts[shuffled].sum(1), kind="stable")]
    held = np.zeros((k, counts.shape[1]))  # (folds, classes)
    fold_of = np.empty(len(names), np.int64)
    for group in order:
        # the sum of squares grows least where the group's classes are rarest
        fold = int(np.argmin((held * counts[group]).sum(1)))
        fold_of[group] = fold
        held[fold] += counts[group]
    return fold_of[place]


def _group_holdout(target: NDArray[Any], groups: NDArray[Any], seed: int, share: float) -> Fold:
    """The first of 1 / share group folds that leaves every class something to learn from."""
    number = _deal_groups(target, groups, round(1 / share), np.random.default_rng(seed))
    classes = target.dtype.kind != "f"
    for fold in range(number.max() + 1):
        train = number != fold
        if train.any() and not (classes and len(np.unique(target[train])) < len(np.unique(target))):
            return _fold(len(target), np.flatnonzero(~train))
    raise InputError(
        "each class must occur in at least two groups, so that it can be learnt and judged; got "
        "classes that lie in one group each. Leave groups out or make them smaller."
    )


def _fold(n: int, held_out: Rows) -> Fold:
    judged = np.zeros(n, bool)
    judged[held_out] = True
    return np.flatnonzero(~judged), np.flatnonzero(judged)
