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


def done(trial_id: int, x: int, y: int, loss: float, origin: str = "", cost: float = 0.0) -> Trial:
    proposal = Proposal(Candidate({"x": x, "y": y}), origin=origin)
    return Trial(trial_id, proposal, 0, Status.DONE, {"loss": loss, "cost": cost})


def parents_of_proposals(strategy: Any) -> set[tuple[int, ...]]:
    proposals = [strategy.ask(1, np.random.default_rng(seed))[0] for seed in range(20)]
    return {proposal.parents for proposal in proposals}


def test_it_starts_from_the_best_and_moves_to_better_neighbours() -> None:
    strategy = LocalSearch(n_startup_trials=3)(Problem(SPACE, [LOSS]))
    for trial_id, loss in enumerate([5.0, 3.0, 4.0]):
        strategy.tell(done(trial_id, trial_id, trial_id, loss, "random"))
    assert parents_of_proposals(strategy) == {(1,)}
    strategy.tell(done(3, 1, 2, 3.0, "mutation"))  # as good is not better
    assert parents_of_proposals(strategy) == {(1,)}
    strategy.tell(done(4, 1, 3, 2.0, "mutation"))
    assert parents_of_proposals(strategy) == {(4,)}


def test_neighbours_differ_in_one_decision_and_are_shuffled() -> None:
    strategy = LocalSearch(n_startup_trials=1)(Problem(SPACE, [LOSS]))
    strategy.tell(done(0, 4, 4, 1.0))
    proposals = strategy.ask(18, np.random.default_rng(0))
    assert len({proposal.candidate for proposal in proposals}) == 18
    for proposal in proposals:
        values = proposal.candidate.values
        assert (values["x"] == 4) != (values["y"] == 4)
    assert [a.candidate for a in strategy.ask(18, np.random.default_rng(1))] != [
        a.candidate for a in proposals
    ]


def test_it_restarts_at_a_local_optimum() -> None:
    """Two basins; the way out of the shallow one is a restart."""
    space = Space({"x": OneOf(*range(4)), "y": OneOf(*range(4))})
    deep = {"x": 3, "y": 3}

    def measure(candidate: Candidate) -> dict[str, float]:
        if dict(candidate.values) == deep:
            return {"loss": 0.0, "cost": 0.0}
        return {"loss": 1.0 + sum(map(float, candidate.values.values())), "cost": 0.0}  # type: ignore[arg-type]

    log = simulate(LocalSearch(n_startup_trials=1)(Problem(space, [LOSS])), measure, 16)
    assert any(trial.proposal.origin == "restart" for trial in log)
    assert min(trial.metrics["loss"] for trial in log if trial.metrics) == 0.0
    strategy = LocalSearch(n_startup_trials=1)(Problem(space, [LOSS]))
    for trial in log:
        strategy.tell(trial)
    assert strategy.ask(1, np.random.default_rng(0)) == []


def test_with_several_objectives_a_move_must_dominate() -> None:
    strategy = LocalSearch(n_startup_trials=1)(Problem(SPACE, [LOSS, COST]))
    strategy.tell(done(0, 4, 4, loss=2.0, cost=2.0))
    strategy.tell(done(1, 4, 5, loss=1.0, cost=3.0))
    assert parents_of_proposals(strategy) == {(0,)}
    strategy.tell(done(2, 4, 6, loss=1.0, cost=2.0))
    assert parents_of_proposals(strategy) == {(2,)}


def test_invalid_settings_are_errors() -> None:
    with pytest.raises(InputError, match="n_startup_trials must be at least 1, got 0"):
        LocalSearch(n_startup_trials=0)


def test_large_neighbourhoods_are_sampled() -> None:
    space = Space({"n": Integer(0, 10**15), "a": OneOf("x", "y", "z")})

    def measure(candidate: Candidate) -> Metrics:
        return {"loss": float(ord(str(candidate.values["a"])[0]))}

    events = simulate(LocalSearch(n_startup_trials=2)(Problem(space, (LOSS,))), measure, 60)
    started = [trial.candidate for trial in events if trial.status is Status.RUNNING]
    assert len(set(started)) == 60
    moved = [trial for trial in events if trial.proposal.origin == "mutation"]
    assert len(moved) > 100
