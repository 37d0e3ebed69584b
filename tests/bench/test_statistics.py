"""Small cases whose answers are known by hand."""

import tracemalloc

import numpy as np
import pytest

from netwright.bench.statistics import (
    bootstrap_interval,
    first_reaching,
    holm_correction,
    kaplan_meier_quantile,
    resample,
    time_to_target,
    wilcoxon_p,
)


def test_holm_multiplies_by_how_many_are_left_and_never_falls() -> None:
    found = holm_correction({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm_correction({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm_correction({}) == {}


def test_expected_running_time_is_what_all_spent_by_those_that_reached_it() -> None:
    spent, reached = np.array([10.0, 30.0, 100.0, 100.0]), np.array([True, True, False, False])
    found = time_to_target(spent, reached)
    assert found.share == 0.5
    assert found.expected == (10 + 30 + 100 + 100) / 2
    assert found.median == 30
    assert found.p90 == np.inf


def test_it_is_the_mean_where_all_reached_it_and_infinite_where_none_did() -> None:
    spent = np.array([1.0, 2.0, 3.0, 10.0])
    assert time_to_target(spent, np.ones(4, bool)).expected == 4
    nobody = time_to_target(spent, np.zeros(4, bool))
    assert (nobody.share, nobody.expected, nobody.median) == (0, np.inf, np.inf)


def test_runs_that_end_early_are_censored_and_not_counted_as_failures() -> None:
    # product-limit by hand: at 1: 1 - 1/4; the second leaves at 2; at 3: x (1 - 1/2) = .375
    spent, reached = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
    assert kaplan_meier_quantile(spent, reached, 0.25) == 1
    assert kaplan_meier_quantile(spent, reached, 0.5) == 3
    assert kaplan_meier_quantile(spent, reached, 0.7) == np.inf


def test_a_bootstrap_interval_holds_the_mean_of_normal_numbers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(size=(40, 1)), rng, resamples=400)
        hits += bool(low[0] <= 0 <= high[0])
    assert 0.90 < hits / 300 < 0.98


def test_a_bootstrap_of_many_points_needs_the_memory_of_a_few() -> None:
    values = np.random.default_rng(0).normal(size=(4, 20_000))
    tracemalloc.start()
    low, high = bootstrap_interval(values, np.random.default_rng(0), resamples=500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 20_000 * 8 / 3
    last = bootstrap_interval(values[:, -5:], np.random.default_rng(0), resamples=500)
    assert np.array_equal(np.stack([low, high])[:, -5:], np.stack(last))


def test_a_bootstrap_draws_whole_runs() -> None:
    values = np.random.default_rng(1).normal(size=(12, 1)) * np.ones((12, 5))
    low, high = bootstrap_interval(values, np.random.default_rng(2))
    assert np.ptp(low) == pytest.approx(0, abs=1e-12)
    assert np.ptp(high) == pytest.approx(0, abs=1e-12)
    assert (low < values.mean(0)).all()
    assert (values.mean(0) < high).all()


def test_the_paired_test_is_one_sided_and_looks_at_pairs() -> None:
    above = np.array([1.0, 5.0, 9.0, 2.0, 7.0, 3.0])
    below = above - np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert wilcoxon_p(below, above) == pytest.approx(1 / 64)  # all six of 2^6 signs
    assert wilcoxon_p(above, below) == pytest.approx(1.0)
    assert wilcoxon_p(above, above) == 1.0


def test_the_first_point_at_a_goal() -> None:
    grid = np.array([1.0, 2.0, 3.0])
    assert first_reaching(np.array([0.3, 0.2, 0.1]), grid, 0.2) == 2
    assert first_reaching(np.array([np.nan, 0.3, 0.3]), grid, 0.2) == np.inf


def test_a_run_is_read_on_a_grid_as_a_staircase() -> None:
    found = resample([2.0, 4.0], [0.5, 0.7], np.array([1.0, 2.0, 3.0, 4.0, 9.0]))
    assert np.array_equal(found, [np.nan, 0.5, 0.5, 0.7, 0.7], equal_nan=True)
