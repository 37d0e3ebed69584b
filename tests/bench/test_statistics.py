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


def test_holm_correction_is_monotone() -> None:
    corrected = holm_correction({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
    assert list(corrected) == ["a", "b", "c", "d"]
    assert holm_correction({"a": 0.7, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm_correction({}) == {}


def test_expected_running_time_divides_by_successful_runs() -> None:
    spent, reached = np.array([10.0, 30.0, 100.0, 100.0]), np.array([True, True, False, False])
    times = time_to_target(spent, reached)
    assert times.share == 0.5
    assert times.expected == (10 + 30 + 100 + 100) / 2
    assert times.median == 30
    assert times.p90 == np.inf


def test_expected_running_time_of_all_and_of_no_successes() -> None:
    spent = np.array([1.0, 2.0, 3.0, 10.0])
    assert time_to_target(spent, np.ones(4, bool)).expected == 4
    nobody = time_to_target(spent, np.zeros(4, bool))
    assert (nobody.share, nobody.expected, nobody.median) == (0, np.inf, np.inf)


def test_runs_that_end_early_are_censored() -> None:
    # product-limit by hand: at 1: 1 - 1/4; the second leaves at 2; at 3: x (1 - 1/2) = .375
    spent, reached = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, False, True, False])
    assert kaplan_meier_quantile(spent, reached, 0.25) == 1
    assert kaplan_meier_quantile(spent, reached, 0.5) == 3
    assert kaplan_meier_quantile(spent, reached, 0.7) == np.inf


def test_bootstrap_interval_has_its_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.normal(size=(40, 1)), rng, resamples=400)
        hits += bool(low[0] <= 0 <= high[0])
    assert 0.90 < hits / 300 < 0.98


def test_bootstrap_memory_does_not_grow_with_points() -> None:
    values = np.random.default_rng(0).normal(size=(4, 20_000))
    tracemalloc.start()
    low, high = bootstrap_interval(values, np.random.default_rng(0), resamples=500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * 20_000 * 8 / 3
    last = bootstrap_interval(values[:, -5:], np.random.default_rng(0), resamples=500)
    assert np.array_equal(np.stack([low, high])[:, -5:], np.stack(last))


def test_bootstrap_resamples_whole_runs() -> None:
    values = np.random.default_rng(1).normal(size=(12, 1)) * np.ones((12, 5))
    low, high = bootstrap_interval(values, np.random.default_rng(2))
    assert np.ptp(low) == pytest.approx(0, abs=1e-12)
    assert np.ptp(high) == pytest.approx(0, abs=1e-12)
    assert (low < values.mean(0)).all()
    assert (values.mean(0) < high).all()


def test_wilcoxon_p_is_one_sided_and_paired() -> None:
    above = np.array([1.0, 5.0, 9.0, 2.0, 7.0, 3.0])
    below = above - np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert wilcoxon_p(below, above) == pytest.approx(1 / 64)  # all six of 2^6 signs
    assert wilcoxon_p(above, below) == pytest.approx(1.0)
    assert wilcoxon_p(above, above) == 1.0


def test_first_reaching_finds_the_first_grid_point() -> None:
    grid = np.array([1.0, 2.0, 3.0])
    assert first_reaching(np.array([0.3, 0.2, 0.1]), grid, 0.2) == 2
    assert first_reaching(np.array([np.nan, 0.3, 0.3]), grid, 0.2) == np.inf


def test_resample_holds_the_latest_value() -> None:
    resampled = resample([2.0, 4.0], [0.5, 0.7], np.array([1.0, 2.0, 3.0, 4.0, 9.0]))
    assert np.array_equal(resampled, [np.nan, 0.5, 0.5, 0.7, 0.7], equal_nan=True)
