"""What a limit on time becomes: the table of the rules, and what they are for."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from netwright.automl import time_allocation
from netwright.automl.task_metadata import TaskMetadata
from netwright.automl.time_allocation import n_finals, n_folds, search_seconds, time_budget
from netwright.trials.time_budget import TimeBudget

SMALL = TaskMetadata("binary", 500, columns=10, classes=2)
TABLE = TaskMetadata("binary", 1_000, columns=20, classes=2)
IMAGES = TaskMetadata("multiclass", 5_000, image=(32, 32, 3), classes=10)


def rows_of_table() -> list[list[float]]:
    """The figures of the module's docstring."""
    lines = (line.split() for line in (time_allocation.__doc__ or "").splitlines())
    return [[float(word) for word in line] for line in lines if line and line[0].isdigit()]


def shared(brief: TaskMetadata, seconds: float) -> tuple[int, TimeBudget]:
    folds = n_folds(seconds, 2, brief) if brief.columns else 0
    return folds, time_budget(seconds, 2, replace(brief, folds=folds))


@pytest.mark.parametrize("row", rows_of_table())
def test_docstring_table_matches_the_rules(row: list[float]) -> None:
    seconds = row[0]
    folds, table = shared(TABLE, seconds)
    _, images = shared(IMAGES, seconds)
    supernet = time_budget(seconds, 2, IMAGES, "supernet")
    found = [
        seconds, table.search, table.reserve, folds, table.trial, table.fold, images.search,
        images.baseline, images.trial, supernet.search, supernet.supernet,
    ]  # fmt: skip
    assert [round(value, 1) for value in found] == row


def test_docstring_table_has_four_times() -> None:
    assert [row[0] for row in rows_of_table()] == [10, 60, 300, 3600]


@pytest.mark.parametrize("seconds", [5, 10, 60, 300, 3600])
@pytest.mark.parametrize("brief", [TABLE, IMAGES, replace(TABLE, columns=5_000)])
def test_allocated_seconds_never_exceed_the_total(brief: TaskMetadata, seconds: float) -> None:
    _, budget = shared(brief, seconds)
    assert budget.search + budget.reserve == pytest.approx(seconds)
    assert 0 < budget.trial <= budget.search
    assert 0 < budget.supernet < budget.search
    assert budget.fold <= budget.trial or not brief.columns


def test_wide_table_reserves_export_time() -> None:
    assert search_seconds(60) - search_seconds(60, 2_000) == pytest.approx(2.0)
    assert search_seconds(10) - search_seconds(10, 10**6) == pytest.approx(3.0)
    assert time_budget(60, 2, replace(TABLE, columns=2_000)).export == pytest.approx(3.0)


def test_number_of_folds_fits_the_time() -> None:
    large = replace(SMALL, rows=20_000)
    assert n_folds(60, 2, SMALL) == 8
    assert n_folds(6, 2, large) == 1
    some = [n_folds(seconds, 2, large) for seconds in (6, 60, 215, 3000)]
    assert some == sorted(some)
    assert some[-1] == 5
    many = replace(large, classes=26, kind="multiclass")
    assert n_folds(60, 2, many) == 1  # each class costs a tree a round
    assert n_folds(10**6, 2, replace(SMALL, rows=10**6)) == 1


def within(brief: TaskMetadata, search: float) -> TimeBudget:
    """The budget whose search takes so many seconds, workers started."""
    return time_budget((4 + search + 6) / 0.96, 2, brief)


def test_four_times_the_time_doubles_candidates_and_their_cost() -> None:
    """A holdout has no average of many: there, fits may take as much more."""
    folded = replace(SMALL, columns=0, folds=8)  # nothing wide is kept back
    for less, more in pairwise(within(folded, seconds) for seconds in (47.5, 190, 760)):
        assert more.trial == pytest.approx(2 * less.trial)
        assert more.fold == pytest.approx(2 * less.fold)
    held_out = replace(SMALL, rows=10**6, columns=0, folds=1)
    less, more = (within(held_out, seconds) for seconds in (190, 760))
    assert more.fold == pytest.approx(4 * less.fold)


def test_without_time_limit_seconds_are_infinite() -> None:
    assert n_folds(None, 2, SMALL) == 8
    budget = time_budget(None, 2, replace(SMALL, folds=8))
    assert {budget.search, budget.trial, budget.fold, budget.supernet} == {math.inf}


def test_images_keep_most_of_their_time_for_the_final_training() -> None:
    for seconds in (60.0, 120.0, 600.0):
        budget = time_budget(seconds, 2, IMAGES)
        assert budget.search <= 0.42 * seconds
        assert budget.baseline <= budget.trial
    assert time_budget(8, 2, IMAGES).search == pytest.approx(0.7 * 8)  # one model, and no more
    assert time_budget(60, 2, IMAGES, "supernet").search == pytest.approx(36.0)


def test_two_final_networks_from_five_minutes_on_and_four_from_half_an_hour_on() -> None:
    seconds = (None, 60.0, 299.0, 300.0)
    assert [n_finals(each, 2, epochs=90.0) for each in seconds] == [1, 1, 1, 2]
    assert [n_finals(each, 16, epochs=90.0) for each in (1799.0, 1800.0)] == [2, 4]
    assert n_finals(3600.0, 1, epochs=90.0) == 1
    assert [n_finals(3600.0, 2, epochs=each) for each in (34.0, 35.0, 69.0, 70.0)] == [1, 2, 2, 4]
