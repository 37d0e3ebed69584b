from typing import Any

import numpy as np
import pytest

from netwright.errors import InputError
from netwright.interfaces.strategy import Problem
from netwright.space.candidate import Candidate
from netwright.space.choices import Integer, OneOf
from netwright.space.space import Space
from netwright.strategies.local import LocalSearch
from netwright.testing import simulate
from netwright.trials.objective import Objective
from netwright.trials.trial import Metrics, Proposal, Status, Trial

LOSS, COST = Objective("loss", "min"), Objective("cost", "min")
SPACE = Space({"x": Integer(0, 9), "y": Integer(0, 9)})


def done(number: int, x: int, y: int, loss: float, origin: str = "", cost: float = 0.0) -> Trial:
    proposal = Proposal(Candidate({"x": x, "y": y}), origin=origin)
    return Trial(number, proposal, 0, Status.DONE, {"loss": loss, "cost": cost})


def here(strategy: Any) -> set[tuple[int, ...]]:
    asked = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(20)]
    return {one.parents for one in asked}


def test_it_starts_from_the_best_of_the_first_and_moves_to_what_is_better() -> None:
    strategy = LocalSearch(n_startup_trials=3)(Problem(SPACE, [LOSS]))
    for number, loss in enumerate([5.0, 3.0, 4.0]):
        strategy.tell(done(number, number, number, loss, "random"))
    assert here(strategy) == {(1,)}
    strategy.tell(done(3, 1, 2, 3.0, "mutation"))  # as good is not better
    assert here(strategy) == {(1,)}
    strategy.tell(done(4, 1, 3, 2.0, "mutation"))
    assert here(strategy) == {(4,)}


def test_neighbours_differ_in_one_decision_and_come_in_random_order() -> None:
    strategy = LocalSearch(n_startup_trials=1)(Problem(SPACE, [LOSS]))
    strategy.tell(done(0, 4, 4, 1.0))
    asked = strategy.ask(18, np.random.default_rng(0))
    assert len({one.candidate for one in asked}) == 18
    for one in asked:
        values = one.candidate.values
        assert (values["x"] == 4) != (values["y"] == 4)
    assert [a.candidate for a in strategy.ask(18, np.random.default_rng(1))] != [
        a.candidate for a in asked
    ]


def test_it_starts_anew_where_no_neighbour_is_left() -> None:
    """Two basins; the way out of the shallow one is a restart."""
    space = Space({"x": OneOf(*range(4)), "y": OneOf(*range(4))})
    deep = {"x": 3, "y": 3}

    def measure(candidate: Candidate) -> dict[str, float]:
        if dict(candidate.values) == deep:
            return {"loss": 0.0, "cost": 0.0}
        return {"loss": 1.0 + sum(map(float, candidate.values.values())), "cost": 0.0}  # type: ignore[arg-type]

    log = simulate(LocalSearch(n_startup_trials=1)(Problem(space, [LOSS])), measure, 16)
    assert any(one.proposal.origin == "restart" for one in log)
    assert min(one.metrics["loss"] for one in log if one.metrics) == 0.0
    strategy = LocalSearch(n_startup_trials=1)(Problem(space, [LOSS]))
    for trial in log:
        strategy.tell(trial)
    assert strategy.ask(1, np.random.default_rng(0)) == []


def test_with_several_objectives_a_move_must_dominate() -> None:
    strategy = LocalSearch(n_startup_trials=1)(Problem(SPACE, [LOSS, COST]))
    strategy.tell(done(0, 4, 4, loss=2.0, cost=2.0))
    strategy.tell(done(1, 4, 5, loss=1.0, cost=3.0))
    assert here(strategy) == {(0,)}
    strategy.tell(done(2, 4, 6, loss=1.0, cost=2.0))
    assert here(strategy) == {(2,)}


def test_settings_that_cannot_be() -> None:
    with pytest.raises(InputError, match="n_startup_trials must be at least 1, got 0"):
        LocalSearch(n_startup_trials=0)


def test_of_very_many_neighbours_some_are_tried() -> None:
    space = Space({"n": Integer(0, 10**15), "a": OneOf("x", "y", "z")})

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float(ord(str(candidate.values["a"])[0]))}

    events = simulate(LocalSearch(n_startup_trials=2)(Problem(space, (LOSS,))), measure, 60)
    started = [trial.candidate for trial in events if trial.status is Status.RUNNING]
    assert len(set(started)) == 60
    moved = [trial for trial in events if trial.proposal.origin == "mutation"]
    assert len(moved) > 100
