import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from netwright.space.candidate import Candidate
from netwright.trials.objective import Limit, Objective, objectives
from netwright.trials.pareto import dominates, hypervolume, nondominated, pareto_front, ranks
from netwright.trials.trial import Proposal, Status, Trial

GOAL = objectives(["accuracy", "parameters"])


def trial(number: int, accuracy: float, parameters: float, **others: object) -> Trial:
    metrics = {"accuracy": accuracy, "parameters": parameters}
    proposal = Proposal(Candidate({"x": number}), fidelity=others.pop("fidelity", 1.0))
    return Trial(number, proposal, 0, others.pop("status", Status.DONE), metrics)


def test_pareto_front_is_nondominated_and_sorted() -> None:
    trials = [trial(1, 0.8, 10), trial(2, 0.9, 20), trial(3, 0.7, 30), trial(4, 0.95, 90)]
    assert [t.id for t in pareto_front(trials, GOAL)] == [4, 2, 1]


def test_only_finished_full_trials_within_the_limits_enter() -> None:
    trials = [
        trial(1, 0.99, 5, status=Status.INFEASIBLE),
        trial(2, 0.99, 5, fidelity=0.5),
        trial(3, math.nan, 5),
        trial(4, 0.9, 500),
        trial(5, 0.8, 50),
    ]
    assert [t.id for t in pareto_front(trials, GOAL, [Limit("parameters", at_most=100)])] == [5]


def test_of_equal_trials_the_earliest_stays() -> None:
    assert [t.id for t in pareto_front([trial(1, 0.9, 5), trial(2, 0.9, 5)], GOAL)] == [1]


def test_an_empty_study_has_an_empty_front() -> None:
    assert pareto_front([], GOAL) == []


shapes = st.tuples(st.integers(1, 12), st.integers(1, 3))
points = arrays(np.float64, shapes, elements=st.integers(0, 4))


@settings(deadline=None)
@given(points)
def test_ranks_are_the_definition_of_them(losses: np.ndarray) -> None:
    beats, rank = dominates(losses), ranks(losses)
    for j in range(len(losses)):
        above = [rank[i] for i in range(len(losses)) if beats[i, j]]
        assert rank[j] == (max(above) + 1 if above else 0)


@settings(deadline=None)
@given(points)
def test_hypervolume_is_the_number_of_dominated_unit_cells(losses: np.ndarray) -> None:
    m = losses.shape[1]
    cells = product(range(5), repeat=m)  # losses are whole numbers below the reference of 5
    dominated = sum(any((row <= cell).all() for row in losses) for cell in map(np.array, cells))
    assert hypervolume(losses, np.full(m, 5.0)) == pytest.approx(dominated)


def test_points_beyond_the_reference_add_nothing() -> None:
    assert hypervolume(np.array([[6.0, 0.0]]), np.array([5.0, 5.0])) == 0


@settings(deadline=None)
@given(points)
def test_the_front_is_all_that_nothing_dominates_but_equals(values: np.ndarray) -> None:
    goal = [Objective(f"m{k}", "min") for k in range(values.shape[1])]
    trials = [
        Trial(i, Proposal(Candidate({"x": i})), 0, Status.DONE, {f"m{k}": v for k, v in enumerate(row)})
        for i, row in enumerate(values.tolist())
    ]  # fmt: skip
    found = [one.id for one in pareto_front(trials, goal)]
    beats = dominates(values)
    first = {tuple(row): i for i, row in reversed(list(enumerate(values.tolist())))}
    wanted = {i for i in first.values() if not beats[:, i].any()}
    assert set(found) == wanted
    assert [tuple(values[i]) for i in found] == sorted(tuple(values[i]) for i in found)


@given(arrays(float, st.tuples(st.integers(0, 12), st.just(3)), elements=st.integers(0, 3)))
def test_nondominated_rows_have_rank_zero_without_duplicates(losses: np.ndarray) -> None:
    found = nondominated(losses)
    first = {tuple(row): i for i, row in reversed([*enumerate(losses.tolist())])}
    expected = {first[tuple(losses[i])] for i in np.flatnonzero(ranks(losses) == 0)}
    assert set(found) == expected
    assert len(found) == len(expected)
