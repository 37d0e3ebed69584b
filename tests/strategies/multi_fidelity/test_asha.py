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


def asha_after_first_trial(
    objectives: Sequence[Objective] = (LOSS,), limits: Sequence[Limit] = (), baseline: int = 999
) -> Strategy:
    """Return a strategy that already has a trial at full fidelity."""
    strategy = ASHA()(Problem(SPACE, objectives, limits))
    tell_trial(strategy, baseline, fidelity=1.0, loss=50.0, cost=50.0)
    return strategy


def tell_trial(
    strategy: Strategy,
    x: int,
    fidelity: float = 1 / 9,
    status: Status = Status.DONE,
    **metrics: float,
) -> None:
    """Tell of a trial whose id is 10 x plus the index of its fidelity."""
    proposal = Proposal(Candidate({"x": x}), fidelity)
    trial_id = 10 * x + [1 / 9, 1 / 3, 1.0].index(fidelity)
    strategy.tell(Trial(trial_id, proposal, 0))
    if status is not Status.RUNNING:
        strategy.tell(Trial(trial_id, proposal, 0, status, metrics))


def promoted(strategy: Strategy, n: int = 6) -> list[tuple[object, float, tuple[int, ...]]]:
    proposals = strategy.ask(n, RNG)
    assert len(proposals) == n  # nobody waits
    assert all(
        proposal.fidelity == 1 / 9 for proposal in proposals if proposal.origin != "promotion"
    )
    return [
        (proposal.candidate.values["x"], proposal.fidelity, proposal.parents)
        for proposal in proposals if proposal.origin == "promotion"
    ]  # fmt: skip


def test_only_the_best_third_of_a_rung_is_promoted() -> None:
    strategy = asha_after_first_trial()
    for x, loss in enumerate([5.0, 3.0]):
        tell_trial(strategy, x, loss=loss)
    assert promoted(strategy) == []
    tell_trial(strategy, 2, loss=4.0)
    assert promoted(strategy) == [(1, 1 / 3, (10,))]
    for x, loss in enumerate([1.0, 9.0, 2.0], start=3):
        tell_trial(strategy, x, loss=loss)
    assert promoted(strategy) == [(3, 1 / 3, (30,)), (5, 1 / 3, (50,))]  # 1 is third now


def test_promotions_are_asynchronous_and_made_once() -> None:
    strategy = asha_after_first_trial()
    for x in range(10, 20):
        tell_trial(strategy, x, status=Status.RUNNING)
    for x, loss in enumerate([5.0, 3.0, 4.0]):
        tell_trial(strategy, x, loss=loss)
    assert promoted(strategy, 1) == [(1, 1 / 3, (10,))]
    tell_trial(strategy, 1, 1 / 3, Status.RUNNING)
    assert promoted(strategy) == []


def test_higher_rungs_are_promoted_first() -> None:
    strategy = asha_after_first_trial()
    for x in range(12):
        tell_trial(strategy, x, loss=float(x))
    for x in range(3):
        tell_trial(strategy, x, 1 / 3, loss=3.0 - x)
    assert promoted(strategy) == [(2, 1.0, (21,)), (3, 1 / 3, (30,))]


def test_promotion_is_by_front_rank() -> None:
    strategy = asha_after_first_trial([LOSS, COST])
    points = [(1.0, 9.0), (9.0, 1.0), (4.0, 4.0), (2.0, 10.0), (5.0, 5.0), (9.0, 2.0)]
    for x, (loss, cost) in enumerate(points):
        tell_trial(strategy, x, loss=loss, cost=cost)
    assert {x for x, _, _ in promoted(strategy)} == {0, 1}  # the ends of the front
    for x in range(6, 9):
        tell_trial(strategy, x, loss=20.0, cost=20.0)
    assert {x for x, _, _ in promoted(strategy)} == {0, 1, 2}  # all of it, before 3 with loss 2


def test_trials_outside_the_limits_are_promoted_last() -> None:
    strategy = asha_after_first_trial([LOSS], [Limit("cost", at_most=5)])
    for x, (loss, cost) in enumerate([(1.0, 9.0), (9.0, 5.0), (2.0, 6.0)]):
        tell_trial(strategy, x, loss=loss, cost=cost)
    assert promoted(strategy) == [(1, 1 / 3, (10,))]
    tell_trial(strategy, 1, 1 / 3, Status.RUNNING)
    for x, (loss, cost) in enumerate([(5.0, 99.0), (5.0, 98.0), (5.0, 97.0)], start=3):
        tell_trial(strategy, x, loss=loss, cost=cost)
    assert [x for x, _, _ in promoted(strategy)] == [2]  # it breaks the limit least


def test_infeasible_trials_count_without_promotion_and_failed_ones_do_not() -> None:
    strategy = asha_after_first_trial()
    tell_trial(strategy, 0, loss=1.0)
    for x in (1, 2, 3):
        tell_trial(strategy, x, status=Status.FAILED)
    assert promoted(strategy) == []
    for x in (4, 5, 6, 7, 8):
        tell_trial(strategy, x, status=Status.INFEASIBLE)
    assert promoted(strategy) == [(0, 1 / 3, (0,))]
    tell_trial(strategy, 0, 1 / 3, Status.FAILED)
    assert promoted(strategy) == []  # paid for once


def test_baselines_are_not_evaluated_again() -> None:
    strategy = asha_after_first_trial(baseline=7)
    for x in range(900):
        if x != 7:
            tell_trial(strategy, x, loss=float(x))
    for x in (0, 1, 2):
        tell_trial(strategy, x, 1 / 3, loss=1.0)
        tell_trial(strategy, x, 1.0, loss=1.0)
    proposals = strategy.ask(99, RNG)
    assert 7 not in {proposal.candidate.values["x"] for proposal in proposals}


@pytest.mark.parametrize("workers", [1, 8])
def test_rungs_get_equal_effort(workers: int) -> None:
    from netwright.testing import simulate

    def measure(candidate: Candidate) -> dict[str, float]:
        return {"loss": float(str(candidate.values["x"]))}

    log = simulate(ASHA()(Problem(SPACE, [LOSS])), measure, 400, workers=workers)
    spent = [sum(t.proposal.fidelity == f for t in log) * f for f in (1 / 9, 1 / 3, 1.0)]
    assert max(spent) < 1.5 * min(spent)


def test_promotion_rate_sets_the_promoted_share() -> None:
    half = ASHA(promotion_rate=0.5)(Problem(SPACE, [LOSS]))
    usual = asha_after_first_trial()
    for strategy in (half, usual):
        tell_trial(strategy, 999, fidelity=1.0, loss=50.0)
        for x in range(6):
            tell_trial(strategy, x, loss=float(x))
    assert [x for x, _, _ in promoted(half)] == [0, 1, 2]
    assert [x for x, _, _ in promoted(usual)] == [0, 1]
    with pytest.raises(InputError, match="promotion_rate must be from 0 to 1, got 2"):
        ASHA(promotion_rate=2)
