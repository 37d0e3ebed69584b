"""The final training learns all rows but a few, which the search has held out as well."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netwright.automl.image.final_split import final_task, held_out_by_final
from netwright.data.task import Task


def split(n_train: int, n_validation: int, groups: Any = None) -> Any:
    return SimpleNamespace(
        train=np.arange(n_train), validation=np.arange(n_train, n_train + n_validation),
        groups=groups,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n_train", "n_validation", "n_held_out"),
    [(4000, 1000, 100), (80, 100, 20), (48, 12, 6), (9, 1, 1), (90_000, 10_000, 500)],
)
def test_two_percent_of_the_rows_are_held_out_within_bounds(
    n_train: int, n_validation: int, n_held_out: int
) -> None:
    mask = held_out_by_final(split(n_train, n_validation))
    assert len(mask) == n_validation
    assert mask.sum() == n_held_out


def test_held_out_rows_are_an_even_sample_and_always_the_same() -> None:
    mask = held_out_by_final(split(4000, 1000))
    assert 30 < mask[:500].sum() < 70
    assert (mask == held_out_by_final(split(4000, 1000))).all()


def test_held_out_rows_are_validation_rows_and_all_others_are_trained_on(image_task: Task) -> None:
    final = final_task(image_task)
    assert set(final.validation) < set(image_task.validation)
    assert set(final.train) == {*image_task.train, *image_task.validation} - {*final.validation}
    assert (np.diff(final.train) > 0).all()
    assert final.test is None


def test_no_group_is_divided_between_training_and_held_out_rows(image_task: Task) -> None:
    assert held_out_by_final(split(80, 20, groups=np.arange(100) // 5)).all()
    grouped = replace(image_task, groups=np.arange(90) // 5)
    final = final_task(grouped)
    assert (final.train == image_task.train).all()
    assert (final.validation == image_task.validation).all()
