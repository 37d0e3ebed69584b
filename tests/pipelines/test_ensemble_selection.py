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


def noisy_predictions(seed: int, deviation: float, rows: int = 400) -> NDArray[np.float64]:
    return TRUTH[:rows] + np.random.default_rng(seed).normal(scale=deviation, size=rows)


def mse(prediction: NDArray[np.floating], rows: NDArray[np.int64]) -> float:
    return float(np.mean((prediction - TRUTH[rows]) ** 2))


def test_models_are_added_with_replacement() -> None:
    """The best average is 3 to 1; without replacement it would be 1 to 1."""
    truth = np.zeros(2)
    library = [np.array([1.0, 1.0]), np.array([-3.0, -3.0])]
    weights = greedy_selection(
        library, lambda predictions: float(np.mean((predictions - truth) ** 2)), 8
    )
    assert weights.tolist() == [0.75, 0.25]


def test_best_average_on_the_way_is_kept() -> None:
    library = [np.array([1.0]), np.array([-1.0])]
    weights = greedy_selection(
        library, lambda predictions: float(abs(predictions[0])), 5
    )  # odd: the last average is worse
    assert weights.tolist() == [0.5, 0.5]


def test_ties_go_to_selected_models() -> None:
    library = [np.array([2.0, 2.0]), np.array([2.0, 2.0]), np.array([-2.0, -2.0])]
    weights = greedy_selection(library, lambda predictions: float(np.abs(predictions).sum()), 12)
    assert weights[1] == 0


def test_ensemble_of_independent_errors_is_better_on_new_rows() -> None:
    library = [noisy_predictions(seed, 1.0) for seed in range(6)]
    first_rows = [predictions[:200] for predictions in library]
    weights = GreedySelection()(first_rows, mse, np.random.default_rng(0))
    assert np.count_nonzero(weights) >= 4
    assert weights.sum() == pytest.approx(1)
    rows = np.arange(200, 400)
    ensemble_loss = mse(
        weighted_average([predictions[rows] for predictions in library], weights), rows
    )
    assert ensemble_loss < 0.5 * min(mse(predictions[rows], rows) for predictions in library)


def test_two_fold_check_rejects_lucky_averages_on_few_rows() -> None:
    """One good model among forty random ones, on a dozen rows: greedy selection alone is fooled."""
    n_fooled, n_kept = 0, 0
    for seed in range(10):
        rows = np.arange(12)
        library = [noisy_predictions(seed, 0.2, 12)]
        library += [np.random.default_rng(100 * seed + i + 1).normal(size=12) for i in range(40)]
        plain = greedy_selection(library, lambda predictions: mse(predictions, rows), 25)  # noqa: B023  # used at once
        guarded = GreedySelection()(library, mse, np.random.default_rng(seed))
        n_fooled += plain[0] < 1
        n_kept += guarded[0] == 1
    assert n_fooled == 10
    assert n_kept >= 8


def test_too_few_rows_to_split_give_a_single_model() -> None:
    library = [noisy_predictions(seed, 1.0, 3) for seed in range(6)]
    weights = GreedySelection()(library, mse, np.random.default_rng(0))
    assert np.count_nonzero(weights) == 1
    unchecked = GreedySelection(n_check_repeats=0)(library, mse, np.random.default_rng(0))
    assert np.count_nonzero(unchecked) > 1


def test_bags_spread_the_weights_and_follow_the_seed() -> None:
    library = [noisy_predictions(seed, 1.0) for seed in range(8)]
    selection = GreedySelection(steps=5, n_bags=10)
    first = selection(library, mse, np.random.default_rng(1))
    assert np.count_nonzero(first) > 5
    assert (first == selection(library, mse, np.random.default_rng(1))).all()


def test_weighted_average_of_probabilities() -> None:
    predictions = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert weighted_average([predictions, 1 - predictions], [0.25, 0.75]) == pytest.approx(
        0.25 * predictions + 0.75 * (1 - predictions)
    )


def test_invalid_libraries_and_settings_are_refused() -> None:
    selection = GreedySelection()
    with pytest.raises(InputError, match="library must be at least one model's predictions"):
        selection([], mse, RNG)
    with pytest.raises(InputError, match="predictions must be for the same rows"):
        selection([np.zeros(3), np.zeros(4)], mse, RNG)
    with pytest.raises(InputError, match="predictions must be finite"):
        selection([np.array([np.nan])], mse, RNG)
    with pytest.raises(InputError, match="bag_fraction must be above 0"):
        GreedySelection(bag_fraction=0)
