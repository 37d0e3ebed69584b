import numpy as np
import pytest
from numpy.typing import NDArray

from netwright.errors import InputError
from netwright.pipelines.ensemble_selection import (
    GreedySelection,
    greedy_selection,
    weighted_average,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=400)


def noisy(seed: int, deviation: float, rows: int = 400) -> NDArray[np.float64]:
    return TRUTH[:rows] + np.random.default_rng(seed).normal(scale=deviation, size=rows)


def squared(prediction: NDArray[np.floating], rows: NDArray[np.int64]) -> float:
    return float(np.mean((prediction - TRUTH[rows]) ** 2))


def test_a_model_may_be_added_again() -> None:
    """The best average of these two is 3 to 1: without replacement it would be 1 to 1."""
    truth = np.zeros(2)
    library = [np.array([1.0, 1.0]), np.array([-3.0, -3.0])]
    weights = greedy_selection(library, lambda one: float(np.mean((one - truth) ** 2)), 8)
    assert weights.tolist() == [0.75, 0.25]


def test_what_is_kept_is_the_best_on_the_way_not_the_last() -> None:
    library = [np.array([1.0]), np.array([-1.0])]
    weights = greedy_selection(library, lambda one: float(abs(one[0])), 5)  # odd: the last is off
    assert weights.tolist() == [0.5, 0.5]


def test_ties_go_to_a_model_that_is_in_already() -> None:
    library = [np.array([2.0, 2.0]), np.array([2.0, 2.0]), np.array([-2.0, -2.0])]
    weights = greedy_selection(library, lambda one: float(np.abs(one).sum()), 12)
    assert weights[1] == 0


def test_independent_errors_are_averaged_and_the_average_is_better_on_other_rows() -> None:
    library = [noisy(seed, 1.0) for seed in range(6)]
    head = [one[:200] for one in library]
    weights = GreedySelection()(head, squared, np.random.default_rng(0))
    assert np.count_nonzero(weights) >= 4
    assert weights.sum() == pytest.approx(1)
    rows = np.arange(200, 400)
    blended = squared(weighted_average([one[rows] for one in library], weights), rows)
    assert blended < 0.5 * min(squared(one[rows], rows) for one in library)


def test_few_rows_do_not_make_an_average_of_noise_look_good() -> None:
    """One good model among forty that know nothing, on a dozen rows: greedy alone is fooled."""
    fooled, kept = 0, 0
    for seed in range(10):
        rows = np.arange(12)
        library = [noisy(seed, 0.2, 12)]
        library += [np.random.default_rng(100 * seed + i + 1).normal(size=12) for i in range(40)]
        plain = greedy_selection(library, lambda one: squared(one, rows), 25)  # noqa: B023  # used at once
        guarded = GreedySelection()(library, squared, np.random.default_rng(seed))
        fooled += plain[0] < 1
        kept += guarded[0] == 1
    assert fooled == 10
    assert kept >= 8


def test_too_few_rows_to_prove_anything_leave_one_model() -> None:
    library = [noisy(seed, 1.0, 3) for seed in range(6)]
    weights = GreedySelection()(library, squared, np.random.default_rng(0))
    assert np.count_nonzero(weights) == 1
    unproven = GreedySelection(n_repeats=0)(library, squared, np.random.default_rng(0))
    assert np.count_nonzero(unproven) > 1


def test_bags_spread_the_weights_and_the_seed_decides() -> None:
    library = [noisy(seed, 1.0) for seed in range(8)]
    bagged = GreedySelection(steps=5, n_bags=10)
    first = bagged(library, squared, np.random.default_rng(1))
    assert np.count_nonzero(first) > 5
    assert (first == bagged(library, squared, np.random.default_rng(1))).all()


def test_any_shape_of_prediction() -> None:
    one = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert weighted_average([one, 1 - one], [0.25, 0.75]) == pytest.approx(
        0.25 * one + 0.75 * (1 - one)
    )


def test_wrong_libraries_are_refused() -> None:
    selection = GreedySelection()
    with pytest.raises(InputError, match="library must be at least one model's predictions"):
        selection([], squared, RNG)
    with pytest.raises(InputError, match="predictions must be for the same rows"):
        selection([np.zeros(3), np.zeros(4)], squared, RNG)
    with pytest.raises(InputError, match="predictions must be finite"):
        selection([np.array([np.nan])], squared, RNG)
    with pytest.raises(InputError, match="share must be above 0"):
        GreedySelection(bag_fraction=0)
