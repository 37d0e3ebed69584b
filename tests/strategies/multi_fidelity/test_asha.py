from collections.abc import Sequence

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem, Strategy
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer
from netwright.space.space import Space
from netwright.strategies.multi_fidelity.asha import ASHA
from netwright.trials.objective import Limit, Objective
from netwright.trials.trial import Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
SPACE = Space({"x": Integer(0, 999)})
RNG = np.random.default_rng(0)


def made(
    objectives: Sequence[Objective] = (LOSS,), limits: Sequence[Limit] = (), baseline: int = 999
) -> Strategy:
    """One that has its first answer."""
    strategy = ASHA()(Problem(SPACE, objectives, limits))
    hear(strategy, baseline, fidelity=1.0, loss=50.0, cost=50.0)
    return strategy


def hear(
    strategy: Strategy,
    x: int,
    fidelity: float = 1 / 9,
    status: Status = Status.DONE,
    **metrics: float,
) -> None:
    """A trial whose id is its candidate's x and its fidelity's place."""
    proposal = Proposal(Candidate({"x": x}), fidelity)
    number = 10 * x + [1 / 9, 1 / 3, 1.0].index(fidelity)
    strategy.tell(Trial(number, proposal, 0))
    if status is not Status.RUNNING:
        strategy.tell(Trial(number, proposal, 0, status, metrics))


def promoted(strategy: Strategy, n: int = 6) -> list[tuple[object, float, tuple[int, ...]]]:
    asked = strategy.ask(n, RNG)
    assert len(asked) == n  # nobody waits
    assert all(one.fidelity == 1 / 9 for one in asked if one.origin != "promotion")
    return [
        (one.candidate.values["x"], one.fidelity, one.parents)
        for one in asked if one.origin == "promotion"
    ]  # fmt: skip


def test_the_best_third_of_a_rung_is_promoted_and_nobody_else() -> None:
    strategy = made()
    for x, loss in enumerate([5.0, 3.0]):
        hear(strategy, x, loss=loss)
    assert promoted(strategy) == []
    hear(strategy, 2, loss=4.0)
    assert promoted(strategy) == [(1, 1 / 3, (10,))]
    for x, loss in enumerate([1.0, 9.0, 2.0], start=3):
        hear(strategy, x, loss=loss)
    assert promoted(strategy) == [(3, 1 / 3, (30,)), (5, 1 / 3, (50,))]  # 1 is third now


def test_a_promotion_does_not_wait_for_what_runs_and_is_made_once() -> None:
    strategy = made()
    for x in range(10, 20):
        hear(strategy, x, status=Status.RUNNING)
    for x, loss in enumerate([5.0, 3.0, 4.0]):
        hear(strategy, x, loss=loss)
    assert promoted(strategy, 1) == [(1, 1 / 3, (10,))]
    hear(strategy, 1, 1 / 3, Status.RUNNING)
    assert promoted(strategy) == []


def test_the_highest_rung_is_looked_at_first() -> None:
    strategy = made()
    for x in range(12):
        hear(strategy, x, loss=float(x))
    for x in range(3):
        hear(strategy, x, 1 / 3, loss=3.0 - x)
    assert promoted(strategy) == [(2, 1.0, (21,)), (3, 1 / 3, (30,))]


def test_promotion_is_by_front_rank() -> None:
    strategy = made([LOSS, COST])
    points = [(1.0, 9.0), (9.0, 1.0), (4.0, 4.0), (2.0, 10.0), (5.0, 5.0), (9.0, 2.0)]
    for x, (loss, cost) in enumerate(points):
        hear(strategy, x, loss=loss, cost=cost)
    assert {x for x, _, _ in promoted(strategy)} == {0, 1}  # the ends of the front
    for x in range(6, 9):
        hear(strategy, x, loss=20.0, cost=20.0)
    assert {x for x, _, _ in promoted(strategy)} == {0, 1, 2}  # all of it, before 3 with loss 2


def test_what_is_outside_the_limits_comes_last() -> None:
    strategy = made([LOSS], [Limit("cost", at_most=5)])
    for x, (loss, cost) in enumerate([(1.0, 9.0), (9.0, 5.0), (2.0, 6.0)]):
        hear(strategy, x, loss=loss, cost=cost)
    assert promoted(strategy) == [(1, 1 / 3, (10,))]
    hear(strategy, 1, 1 / 3, Status.RUNNING)
    for x, (loss, cost) in enumerate([(5.0, 99.0), (5.0, 98.0), (5.0, 97.0)], start=3):
        hear(strategy, x, loss=loss, cost=cost)
    assert [x for x, _, _ in promoted(strategy)] == [2]  # it breaks the limit least


def test_infeasible_ones_count_and_are_not_promoted_failed_ones_do_not_count() -> None:
    strategy = made()
    hear(strategy, 0, loss=1.0)
    for x in (1, 2, 3):
        hear(strategy, x, status=Status.FAILED)
    assert promoted(strategy) == []
    for x in (4, 5, 6, 7, 8):
        hear(strategy, x, status=Status.INFEASIBLE)
    assert promoted(strategy) == [(0, 1 / 3, (0,))]
    hear(strategy, 0, 1 / 3, Status.FAILED)
    assert promoted(strategy) == []  # paid for once


def test_what_a_baseline_has_shown_is_not_paid_for_again() -> None:
    strategy = made(baseline=7)
    for x in range(900):
        if x != 7:
            hear(strategy, x, loss=float(x))
    for x in (0, 1, 2):
        hear(strategy, x, 1 / 3, loss=1.0)
        hear(strategy, x, 1.0, loss=1.0)
    asked = strategy.ask(99, RNG)
    assert 7 not in {one.candidate.values["x"] for one in asked}


@pytest.mark.parametrize("workers", [1, 8])
def test_every_rung_gets_about_the_same_effort(workers: int) -> None:
    from netwright.testing import simulate

    def measure(candidate: Candidate) -> dict[str, float]:
        return {"loss": float(str(candidate.values["x"]))}

    log = simulate(ASHA()(Problem(SPACE, [LOSS])), measure, 400, workers=workers)
    spent = [sum(t.proposal.fidelity == f for t in log) * f for f in (1 / 9, 1 / 3, 1.0)]
    assert max(spent) < 1.5 * min(spent)


def test_the_share_that_is_promoted_can_be_said() -> None:
    half = ASHA(promotion_rate=0.5)(Problem(SPACE, [LOSS]))
    usual = made()
    for strategy in (half, usual):
        hear(strategy, 999, fidelity=1.0, loss=50.0)
        for x in range(6):
            hear(strategy, x, loss=float(x))
    assert [x for x, _, _ in promoted(half)] == [0, 1, 2]
    assert [x for x, _, _ in promoted(usual)] == [0, 1]
    with pytest.raises(InputError, match="promotion_rate must be from 0 to 1, got 2"):
        ASHA(promotion_rate=2)
