import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.data.splits import holdout, k_fold_splits, validation_fraction
from netwright.errors import InputError

labels = st.lists(st.integers(0, 3), min_size=8, max_size=120).filter(
    lambda labels: min(labels.count(label) for label in set(labels)) >= 2
)


def test_validation_fraction_falls_with_the_rows() -> None:
    assert validation_fraction(100) == validation_fraction(5_000) == pytest.approx(0.2)
    assert 0.1 < validation_fraction(20_000) < 0.2
    assert validation_fraction(50_000) == validation_fraction(10**6) == pytest.approx(0.1)


@given(labels, st.integers(0, 99))
@settings(deadline=None)
def test_holdout_has_every_class_on_both_sides(labels: list[int], seed: int) -> None:
    target = np.array(labels)
    train, validation = holdout(target, seed)
    assert sorted([*train, *validation]) == list(range(len(target)))
    assert set(target[train]) == set(target[validation]) == set(labels)


def test_holdout_keeps_class_proportions() -> None:
    target = np.repeat([0, 1, 2], [700, 200, 100])
    _, validation = holdout(target, 0)
    assert np.bincount(target[validation]).tolist() == [140, 40, 20]


def test_split_depends_only_on_the_seed() -> None:
    target = np.random.default_rng(0).random(50)
    assert np.array_equal(holdout(target, 1)[1], holdout(target, 1)[1])
    assert not np.array_equal(holdout(target, 1)[1], holdout(target, 2)[1])


def test_a_float_target_is_split_at_random() -> None:
    train, validation = holdout(np.linspace(0, 1, 10), 0)
    assert (len(train), len(validation)) == (8, 2)
    train, validation = holdout(np.array([1.0, 2.0]), 0)
    assert (len(train), len(validation)) == (1, 1)


def test_one_row_cannot_be_split() -> None:
    with pytest.raises(InputError, match="must have at least 2 rows to be split, got 1"):
        holdout(np.array([1.0]), 0)


@given(labels, st.integers(2, 6), st.integers(0, 9))
@settings(deadline=None)
def test_each_row_is_validated_in_one_fold(labels: list[int], k: int, seed: int) -> None:
    target = np.array(labels)
    made = k_fold_splits(target, k, seed)
    assert sorted(np.concatenate([held for _, held in made])) == list(range(len(target)))
    for train, held in made:
        assert not set(train) & set(held)
        assert set(target[train]) == set(labels)


def test_folds_are_stratified_and_of_even_size() -> None:
    target = np.repeat([0, 1], [80, 23])
    sizes = [np.bincount(target[held]).tolist() for _, held in k_fold_splits(target, 5, 0)]
    assert {zeros for zeros, _ in sizes} == {16}
    assert {ones for _, ones in sizes} == {4, 5}
    assert {len(held) for _, held in k_fold_splits(np.repeat([0, 1, 2], 7), 5, 0)} == {4, 5}


def test_folds_shrink_to_the_smallest_class_but_not_below_two() -> None:
    assert len(k_fold_splits(np.array([0] * 20 + [1] * 3), 5, 0)) == 3
    assert len(k_fold_splits(np.array([0] * 20 + [1]), 5, 0)) == 2


def test_less_than_two_folds_are_refused() -> None:
    with pytest.raises(InputError, match="folds must be at least 2, got 1"):
        k_fold_splits(np.array([0, 0, 1, 1]), 1, 0)


@given(st.integers(3, 12), st.integers(0, 9), st.booleans())
@settings(deadline=None)
def test_rows_of_a_group_stay_together(count: int, seed: int, classes: bool) -> None:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(4, 12, count))
    target = rng.permutation(np.arange(len(groups)) % 2)
    target = target if classes else target + 0.5
    splits = list(k_fold_splits(target, 3, seed, groups=groups))
    if not classes:
        splits.append(holdout(target, seed, groups=groups))
    for train, held in splits:
        assert len(train)
        assert len(held)
        assert not set(groups[train]) & set(groups[held])


def test_group_holdout_keeps_fraction_and_classes() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    target = (rng.random(1000) < 0.3).astype(np.int64)
    train, held = holdout(target, 0, groups=groups)
    assert len(held) == pytest.approx(200, abs=20)
    assert target[held].mean() == pytest.approx(target[train].mean(), abs=0.03)


def test_class_within_one_group_is_refused() -> None:
    target, groups = np.array([0, 0, 0, 0, 1, 1]), np.array([1, 1, 2, 2, 3, 3])
    train, _ = holdout(target, 0, groups=groups)  # the class is learnt, if not judged
    assert set(target[train]) == {0, 1}
    with pytest.raises(InputError, match="each class must occur in at least two groups"):
        holdout(np.array([0, 0, 1, 1]), 0, groups=np.array([1, 1, 2, 2]))


def test_one_group_is_refused() -> None:
    with pytest.raises(InputError, match="groups must be at least two different ones"):
        holdout(np.array([0, 1, 0, 1]), 0, groups=np.zeros(4))
