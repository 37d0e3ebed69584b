import numpy as np
import pytest

from netwright.space.candidate import Candidate
from netwright.trials.objective import Limit, Objective
from netwright.trials.selection import (
    better,
    constrained_ranks,
    crowded_order,
    crowding,
    violation,
    winner,
)
from netwright.trials.trial import Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")


def done(number: int, **metrics: float) -> Trial:
    return Trial(number, Proposal(Candidate({"x": number})), 0, Status.DONE, metrics)


def test_tournament_compares_violation_then_rank_then_order() -> None:
    best_outside = done(1, loss=0.0, cost=30.0)
    dominated = done(2, loss=2.0, cost=9.0)
    on_front, cheapest = done(3, loss=1.0, cost=8.0), done(4, loss=3.0, cost=1.0)
    sample = [best_outside, dominated, on_front, cheapest]
    limit = Limit("cost", at_most=10)
    assert winner(sample, [LOSS, COST], [limit]).id == 3
    assert winner(sample, [LOSS, COST]).id == 1
    assert winner(sample[::-1], [LOSS, COST]).id == 4
    assert winner([dominated, on_front, cheapest], [LOSS, COST]).id == 3
    assert winner(sample[::-1], [LOSS]).id == 1
    # nobody within: who breaks least
    assert winner([best_outside, done(5, loss=9.0, cost=11.0)], [LOSS], [limit]).id == 5


def test_limits_of_different_units_weigh_by_their_bounds() -> None:
    limits = [Limit("size", at_most=1e6), Limit("accuracy", at_least=0.9)]
    assert violation(done(1, size=1.5e6, accuracy=0.45), limits) == pytest.approx(1.0)
    assert violation(done(1, size=9e5, accuracy=0.95), limits) == 0
    assert violation(done(1, size=9e5), limits) == np.inf


def test_infeasible_trials_rank_last_by_violation() -> None:
    limit = Limit("cost", at_most=10)
    trials = [done(1, loss=0, cost=40), done(2, loss=9, cost=9), done(3, loss=0, cost=20),
              done(4, loss=8, cost=10), done(5, loss=9, cost=10)]  # fmt: skip
    assert constrained_ranks(trials, [LOSS, COST], [limit]).tolist() == [3, 0, 2, 0, 1]
    assert constrained_ranks(trials, [LOSS], [limit]).tolist() == [3, 1, 2, 0, 1]
    assert constrained_ranks([], [LOSS, COST], [limit]).tolist() == []


def test_single_objective_ranks_agree_with_duplicated_objectives() -> None:
    rng = np.random.default_rng(0)
    trials = [done(i, loss=float(rng.integers(5)), cost=1.0) for i in range(30)]
    assert (constrained_ranks(trials, [LOSS]) == constrained_ranks(trials, [LOSS, COST])).all()


def test_better_is_better_somewhere_and_worse_nowhere() -> None:
    one, other = done(1, loss=1, cost=2), done(2, loss=1, cost=3)
    assert better(one, other, [LOSS, COST])
    assert not better(other, one, [LOSS, COST])
    assert not better(one, other, [LOSS])
    assert not better(done(3, loss=0, cost=9), one, [LOSS, COST])


def test_crowding_is_the_size_of_the_gap_around_each() -> None:
    values = np.array([[0.0, 10.0], [1.0, 8.0], [4.0, 2.0], [10.0, 0.0]])
    # (4 - 0) / 10 + (10 - 2) / 10 and (10 - 1) / 10 + (8 - 0) / 10
    assert crowding(values).tolist() == [np.inf, pytest.approx(1.2), pytest.approx(1.7), np.inf]
    assert crowding(np.array([[3.0, 3.0]])).tolist() == [np.inf]
    assert crowding(np.zeros((4, 2))).tolist().count(0.0) >= 2  # all alike: no width to divide by


def test_the_crowded_order_is_by_rank_then_by_crowding() -> None:
    trials = [done(1, loss=0, cost=10), done(2, loss=1, cost=8), done(3, loss=4, cost=2),
              done(4, loss=10, cost=0), done(5, loss=11, cost=11)]  # fmt: skip
    order = [trials[i].id for i in crowded_order(trials, [LOSS, COST])]
    assert set(order[:2]) == {1, 4}
    assert order[2:] == [3, 2, 5]
