"""Threads are doubted while a training runs, and one thread takes over where others compute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from netwright.networks.training.adaptive_threads import AdaptiveThreads

Cost = Callable[[int, float], float]


def quiet(n_threads: int, now: float) -> float:
    return 0.06 if n_threads == 2 else 0.1


def busy(n_threads: int, now: float) -> float:
    return 0.6 if n_threads == 2 else 0.12


def busy_from_20_to_60(n_threads: int, now: float) -> float:
    return (busy if 20 <= now < 60 else quiet)(n_threads, now)


def train(cost: Cost, seconds: float, first: int = 2) -> tuple[Counter[int], list[int]]:
    """Return the number of steps with each number of threads, and the numbers in order."""
    threads, now, numbers = AdaptiveThreads(2, first), 0.0, list[int]()
    while now < seconds:
        numbers.append(threads.n_threads)
        duration = cost(threads.n_threads, now)
        now += duration
        threads.add(duration)
    return Counter(numbers), numbers


def test_all_threads_stay_on_free_cores_and_tries_cost_little() -> None:
    counts, numbers = train(quiet, 100.0)
    assert counts[1] < 0.03 * len(numbers)
    assert len(numbers) > 0.98 * 100 / 0.06


@pytest.mark.parametrize("first", [1, 2])
def test_one_thread_takes_over_where_others_compute(first: int) -> None:
    _, numbers = train(busy, 100.0, first)
    assert len(numbers) > 0.8 * 100 / 0.12


@pytest.mark.parametrize("first", [1, 2])
def test_a_wrong_first_number_is_corrected(first: int) -> None:
    _, numbers = train(quiet, 60.0, first)
    assert len(numbers) > 0.9 * 60 / 0.06


def test_threads_return_when_the_cores_are_free_again() -> None:
    _, numbers = train(busy_from_20_to_60, 120.0)
    ideal = 80 / 0.06 + 40 / 0.12
    assert len(numbers) > 0.85 * ideal
    assert numbers[-1] == 2


def test_a_small_gain_changes_nothing() -> None:
    counts, numbers = train(lambda n, now: 0.1 if n == 2 else 0.098, 50.0)
    assert counts[2] > 0.9 * len(numbers)
